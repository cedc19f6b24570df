"""Conditions over yes-no propositions: `apology and inability and not (complies or preaches)`.

Read by a parser of our own: a rubric is a file from anywhere, and is never evaluated as code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foresight.errors import UserError

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
WORDS = frozenset({"and", "or", "not", "true", "false"})
"""No proposition can be called so."""
DEEPEST = 50
"""Parentheses and negations within each other."""
_TOKEN = re.compile(r"\s*([A-Za-z_]\w*|[()])")


@dataclass(frozen=True)
class Name:
    """A proposition."""

    name: str


@dataclass(frozen=True)
class Not:
    """A negation."""

    of: Condition


@dataclass(frozen=True)
class Joined:
    """All of the parts (`every`), or at least one of them."""

    every: bool
    parts: tuple[Condition, ...]


Condition = bool | Name | Not | Joined


def parse(text: str) -> Condition:
    """`not` binds closer than `and`, `and` closer than `or`. Raises UserError saying where."""
    tokens, at = [], 0
    while text[at:].strip():
        if (found := _TOKEN.match(text, at)) is None:
            raise UserError(
                f"{text[at:].strip()[:20]!r} in {text!r}: expected names, and, or, not, ( )"
            )
        tokens.append(found[1])
        at = found.end()
    reader = _Reader(text, tokens)
    condition = reader.joined(0)
    if reader.rest:
        raise UserError(f"{reader.rest[0]!r} in {text!r}: expected `and`, `or` or the end")
    return condition


class _Reader:
    """Recursive descent over the tokens that are left."""

    def __init__(self, text: str, tokens: list[str]) -> None:
        self.text, self.rest = text, tokens

    def joined(self, depth: int, word: str = "or") -> Condition:
        parts = []
        while True:
            parts.append(self.joined(depth, "and") if word == "or" else self.unit(depth))
            if not self.rest or self.rest[0] != word:
                return _joined(word == "and", parts)
            self.rest.pop(0)

    def unit(self, depth: int) -> Condition:
        if depth > DEEPEST:
            raise UserError(f"{self.text[:40]!r}...: more than {DEEPEST} levels deep")
        token = self.rest.pop(0) if self.rest else "the end"
        if token == "not":
            return _negated(self.unit(depth + 1))
        if token == "(":
            inner = self.joined(depth + 1)
            if not self.rest or self.rest.pop(0) != ")":
                raise UserError(f"{self.text!r}: a parenthesis is not closed")
            return inner
        if token in ("true", "false"):
            return token == "true"
        if token in WORDS | {")", "the end"}:
            raise UserError(f"{token!r} in {self.text!r}: expected a proposition")
        return Name(token)


def _negated(one: Condition) -> Condition:
    if isinstance(one, bool):
        return not one
    return one.of if isinstance(one, Not) else Not(one)


def _joined(every: bool, parts: list[Condition]) -> Condition:
    """Without what changes nothing; a constant or a part alone where that is all it is."""
    kept: dict[Condition, None] = {}
    for part in parts:
        if isinstance(part, bool):
            if part is not every:
                return part
        elif isinstance(part, Joined) and part.every is every:
            kept |= dict.fromkeys(part.parts)
        else:
            kept[part] = None
    if len(kept) < 2:
        return next(iter(kept), every)
    return Joined(every, tuple(kept))


def names(condition: Condition) -> tuple[str, ...]:
    """Propositions that occur, each once, in the order in which they do."""
    match condition:
        case Name(name):
            return (name,)
        case Not(of):
            return names(of)
        case Joined(_, parts):
            return tuple(dict.fromkeys(name for part in parts for name in names(part)))
    return ()


def holds(condition: Condition, facts: Mapping[str, Bools]) -> Bools:
    """Whether it holds, elementwise over arrays (n,) of facts."""
    match condition:
        case Name(name):
            return facts[name]
        case Not(of):
            return ~holds(of, facts)
        case Joined(every, parts):
            some = [holds(part, facts) for part in parts]
            together: Bools = (np.logical_and if every else np.logical_or).reduce(some)
            return together
    size = len(next(iter(facts.values()))) if facts else 1
    return np.full(size, condition is True)


def assume(condition: Condition, name: str, value: bool) -> Condition:
    """What is left of it once a proposition is known."""
    match condition:
        case Name(known) if known == name:
            return value
        case Not(of):
            return _negated(assume(of, name, value))
        case Joined(every, parts):
            return _joined(every, [assume(part, name, value) for part in parts])
    return condition


def probability(
    condition: Condition, yes: Mapping[str, Floats], known: dict[Condition, Floats] | None = None
) -> Floats:
    """Chance (n,) that it holds if the propositions are independent with chances `yes` (n,).

    Exact, by Shannon's expansion P(c) = p P(c | x) + (1 - p) P(c | not x), each remainder once:
    a conjunction costs as many products as it has parts. `known`: remainders computed before.
    """
    if isinstance(condition, bool):
        size = len(next(iter(yes.values()))) if yes else 1
        return np.full(size, float(condition))
    known = {} if known is None else known
    if condition not in known:
        name = names(condition)[0]
        p = yes[name]
        known[condition] = p * probability(assume(condition, name, True), yes, known) + (
            1.0 - p
        ) * probability(assume(condition, name, False), yes, known)
    return known[condition]
