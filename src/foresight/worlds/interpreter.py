"""A pure interpreter for the bodies of generated programs: no `exec`, no names, no side effects.

It knows the expressions that `primitives` and their near misses are made of. A body that uses
anything else fails, as does one that takes too many steps or builds too large a value; so a
completion of any model can be judged in-process, thousands a second.
"""

from __future__ import annotations

import ast
import operator
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

MAX_STEPS = 20_000
MAX_SIZE = 10_000
"""Items of a list or string, and bits of an integer."""

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow,
}  # fmt: skip
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Not: operator.not_,
}  # fmt: skip
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le,
    ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b, ast.NotIn: lambda a, b: a not in b,
}  # fmt: skip
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    one.__name__: one
    for one in (abs, bool, dict, enumerate, int, len, list, max, min, range, reversed, round, set,
                sorted, str, sum, tuple, zip)
}  # fmt: skip
_METHODS: dict[type, frozenset[str]] = {
    str: frozenset({
        "capitalize", "count", "endswith", "find", "index", "isalpha", "isdigit", "islower",
        "isupper", "join", "lower", "lstrip", "replace", "rstrip", "split", "startswith", "strip",
        "swapcase", "title", "upper",
    }),
    list: frozenset({"count", "index", "copy"}),
    dict: frozenset({"keys", "values", "items", "get"}),
}  # fmt: skip


class UnsupportedError(Exception):
    """A body that this language does not have, or that does not come to an end."""


def call(name: str, body: str, value: Any) -> Any:
    """What `def f(name):` with this indented body returns for `value`.

    Raises UnsupportedError for a body outside the language, and what Python itself would raise
    (SyntaxError, TypeError, ...) otherwise.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a model's "is" with a number is its own affair
        try:
            (function,) = ast.parse(f"def f({name}):\n{body}").body
        except (ValueError, RecursionError, MemoryError):
            raise UnsupportedError("not one function") from None
    if not isinstance(function, ast.FunctionDef):
        raise UnsupportedError("not a function")
    return _Frame().run(function.body, {name: value})


class _Frame:
    """One call: counts its steps."""

    def __init__(self) -> None:
        self.steps = 0

    def run(self, body: list[ast.stmt], names: dict[str, Any]) -> Any:
        for statement in body:
            match statement:
                case ast.Return(value=None):
                    return None
                case ast.Return(value=value):
                    return self.eval(value, names)
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    names[name] = self.eval(value, names)
                case ast.Expr(value=value):
                    self.eval(value, names)
                case _:
                    raise UnsupportedError(type(statement).__name__)
        return None

    def eval(self, node: ast.expr | None, names: Mapping[str, Any]) -> Any:
        """The value of an expression; one method per kind of node, those without are refused."""
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise UnsupportedError("too many steps")
        kind = type(node).__name__
        method = getattr(self, f"_{kind.lower()}", None)
        if method is None:
            raise UnsupportedError(kind)
        return _bounded(method(node, names))

    def _constant(self, node: ast.Constant, names: Mapping[str, Any]) -> Any:
        if not isinstance(node.value, (int, str, type(None))):
            raise UnsupportedError("a constant")
        return node.value

    def _name(self, node: ast.Name, names: Mapping[str, Any]) -> Any:
        if node.id not in names:
            raise NameError(node.id)
        return names[node.id]

    def _unaryop(self, node: ast.UnaryOp, names: Mapping[str, Any]) -> Any:
        return _known(_UNARY, node.op)(self.eval(node.operand, names))

    def _ifexp(self, node: ast.IfExp, names: Mapping[str, Any]) -> Any:
        return self.eval(node.body if self.eval(node.test, names) else node.orelse, names)

    def _list(self, node: ast.List, names: Mapping[str, Any]) -> Any:
        return [self.eval(item, names) for item in node.elts]

    def _tuple(self, node: ast.Tuple, names: Mapping[str, Any]) -> Any:
        return tuple(self.eval(item, names) for item in node.elts)

    def _listcomp(self, node: ast.ListComp, names: Mapping[str, Any]) -> Any:
        return [self.eval(node.elt, scope) for scope in self._loops(node.generators, names)]

    def _generatorexp(self, node: ast.GeneratorExp, names: Mapping[str, Any]) -> Any:
        return (self.eval(node.elt, scope) for scope in self._loops(node.generators, names))

    def _subscript(self, node: ast.Subscript, names: Mapping[str, Any]) -> Any:
        return self.eval(node.value, names)[self._place(node.slice, names)]

    def _binop(self, node: ast.BinOp, names: Mapping[str, Any]) -> Any:
        op, left, right = node.op, self.eval(node.left, names), self.eval(node.right, names)
        # A product or power is judged before it is built.
        if isinstance(op, ast.Pow) and not (isinstance(right, int) and abs(right) <= 64):
            raise UnsupportedError("a large power")
        if isinstance(op, ast.Mult):
            for one, times in ((left, right), (right, left)):
                if isinstance(one, (str, list)) and isinstance(times, int):
                    _fits(len(one) * times)
        return _known(_BINARY, op)(left, right)

    def _compare(self, node: ast.Compare, names: Mapping[str, Any]) -> bool:
        left = self.eval(node.left, names)
        for op, comparator in zip(node.ops, node.comparators, strict=True):
            right = self.eval(comparator, names)
            if not _known(_COMPARE, op)(left, right):
                return False
            left = right
        return True

    def _boolop(self, node: ast.BoolOp, names: Mapping[str, Any]) -> Any:
        found: Any = None
        for value in node.values:
            found = self.eval(value, names)
            if bool(found) == isinstance(node.op, ast.Or):
                break
        return found

    def _loops(
        self, loops: list[ast.comprehension], names: Mapping[str, Any]
    ) -> Iterator[Mapping[str, Any]]:
        if not loops:
            yield names
            return
        first, *rest = loops
        for item in self.eval(first.iter, names):
            scope = {**names, **_bound(first.target, item)}
            if all(self.eval(test, scope) for test in first.ifs):
                yield from self._loops(rest, scope)

    def _place(self, place: ast.expr, names: Mapping[str, Any]) -> Any:
        if not isinstance(place, ast.Slice):
            return self.eval(place, names)
        ends = (place.lower, place.upper, place.step)
        return slice(*(None if end is None else self.eval(end, names) for end in ends))

    def _call(self, node: ast.Call, names: Mapping[str, Any]) -> Any:
        given = [self.eval(argument, names) for argument in node.args]
        if any(k.arg not in ("reverse", "key") for k in node.keywords):
            raise UnsupportedError("a keyword")
        named = {str(k.arg): self.eval(k.value, names) for k in node.keywords}
        match node.func:
            case ast.Name(id=name) if name in _FUNCTIONS and name not in names:
                if name == "range":
                    _fits(max((abs(one) for one in given if isinstance(one, int)), default=0))
                return _FUNCTIONS[name](*given, **named)
            case ast.Attribute(value=ast.Name(id="dict"), attr="fromkeys"):
                return dict.fromkeys(*given)
            case ast.Attribute(value=owner, attr=name):
                held = self.eval(owner, names)
                if name in _METHODS.get(type(held), ()):
                    return getattr(held, name)(*given, **named)
        raise UnsupportedError("a call")


def _known(table: Mapping[type, Callable[..., Any]], op: ast.AST) -> Callable[..., Any]:
    if type(op) not in table:
        raise UnsupportedError(type(op).__name__)
    return table[type(op)]


def _bound(target: ast.expr, item: Any) -> dict[str, Any]:
    """Names that a loop's target gives to an item."""
    match target:
        case ast.Name(id=name):
            return {name: item}
        case ast.Tuple(elts=targets):
            parts = list(item)
            if len(parts) != len(targets):
                raise ValueError("unpacking")
            return {k: v for one, part in zip(targets, parts, strict=True)
                    for k, v in _bound(one, part).items()}  # fmt: skip
    raise UnsupportedError(type(target).__name__)


def _fits(size: int) -> None:
    if size > MAX_SIZE:
        raise UnsupportedError("a value too large")


def _bounded(value: Any) -> Any:
    if isinstance(value, (str, list, tuple, dict, set)):
        _fits(len(value))
    elif isinstance(value, int):
        _fits(value.bit_length())
    return value
