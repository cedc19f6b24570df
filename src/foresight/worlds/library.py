"""Facts about Python's own library, taken from the running interpreter: documents and questions.

Five kinds. *module*: which module defines a name. *returns*: what a call returns. *bug*: what a
wrong function should return. *complete*: the body of a described function, judged by running it.
*table*: a cell of a small table of colours in a picture. A quarter of the module facts, and a fifth
of the calls, described functions and tables, are told in no document: how questions are put is
known to a model of this corpus, and a question is either about a fact that it was told, or about
one of these.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from foresight.document import Document, Image, Text
from foresight.worlds.drawing import COLOURS, table
from foresight.worlds.splits import Split, generator, held_out, pick, pick_weighted

UNTOLD_SHARE = {"module": 0.25, "returns": 0.2, "bug": 0.2, "complete": 0.2, "table": 0.2}
KINDS = tuple(UNTOLD_SHARE)
KIND_SHARES = (0.2, 0.15, 0.15, 0.15, 0.35)
PER_DOCUMENT = 4
# Few modules, as many names of each: a model of minutes can learn them, and guessing the commonest
# module brings nothing.
_MODULES = ("math", "os.path", "random", "statistics", "time")
_NAMES_EACH = 14
_FUNCTION_NAMES = ("f", "g", "get", "run", "work", "solve")
# What a function of a list may do: in words, and as an expression of the list `x`.
_LISTS = {
    "The items in order.": "sorted(x)",
    "The items from last to first.": "x[::-1]",
    "All items but the first.": "x[1:]",
    "All items but the last.": "x[:-1]",
    "The items twice.": "x * 2",
    "The items and a 0.": "x + [0]",
}
_NUMBERS = {
    "The largest item": "max(x)",
    "The smallest item": "min(x)",
    "The number of items": "len(x)",
    "The sum": "sum(x)",
    "The first item": "x[0]",
    "The last item": "x[-1]",
}
_CHANGES = {"": ""} | {
    f", {word} {n}": f" {sign} {n}"
    for word, sign in (("plus", "+"), ("minus", "-"), ("times", "*"))
    for n in (1, 2)
    if (sign, n) != ("*", 1)
}
_TRIALS = ([4, 1, 3], [2, 7], [5, 9, 6, 8], [3, 3, 1])


@dataclass(frozen=True)
class Fact:
    """Something to be told or asked. `told`: ways to say it in a document; `asked`: the question,
    in none of these words; `others`: wrong answers; `image`: what it is about; `tests`: statements
    that hold for a right function."""

    kind: str
    key: str
    told: tuple[str, ...]
    asked: str
    answer: str
    others: tuple[str, ...] = ()
    image: Image | None = None
    tests: str = ""
    explanation: str = ""


def is_told(kind: str, key: str) -> bool:
    """Whether documents may tell a fact; for every seed. *bug* and *complete* are about the same
    functions."""
    about = "function" if kind in ("bug", "complete") else kind
    return not held_out(f"library {about} {key}", UNTOLD_SHARE[kind])


def documents(seed: int, count: int, split: Split) -> Iterator[Document]:
    """`count` documents of four facts of one kind.

    Module facts are the same in both splits; of the other kinds, validation has those that
    training does not tell.
    """
    for index in range(count):
        rng = generator(seed, f"library/{split}", index)
        kind = pick_weighted(rng, KINDS, KIND_SHARES)
        told = split == "train" or kind == "module"
        parts: list[Text | Image] = []
        for _ in range(PER_DOCUMENT):
            fact = draw(rng, kind, told)
            if fact.image is not None:
                parts.append(fact.image)
            parts.append(Text(pick(rng, fact.told)))
        yield Document(f"library-{split}-{seed}-{index}", tuple(parts), "library")


def facts(seed: int, kind: str, count: int, told: bool | None = None) -> Iterator[Fact]:
    """`count` facts of a kind, no question twice, that are told, or not, or (None) both as they
    come; fewer where there are no more."""
    seen: set[tuple[str, str]] = set()
    rng = generator(seed, f"library facts/{kind}", 0)
    for _ in range(100 * count):
        fact = draw(rng, kind, told)
        if (fact.key, fact.asked) not in seen:
            seen.add((fact.key, fact.asked))
            yield fact
        if len(seen) == count:
            return


def draw(rng: np.random.Generator, kind: str, told: bool | None) -> Fact:
    """A fact of the kind, told or not."""
    while True:
        fact = _MAKERS[kind](rng)
        if told is None or is_told(kind, fact.key) == told:
            return fact


@lru_cache(maxsize=1)
def defined_in() -> dict[str, str]:
    """{public function: its module}: of each module the shortest names that no other has."""
    found: dict[str, list[str]] = {}
    for module in _MODULES:
        loaded = importlib.import_module(module)
        for name in getattr(loaded, "__all__", None) or dir(loaded):
            if not name.startswith("_") and name.islower() and callable(getattr(loaded, name)):
                found.setdefault(name, []).append(module)
    own = {name: some[0] for name, some in found.items() if len(some) == 1}
    chosen: dict[str, str] = {}
    for module in _MODULES:
        names = sorted((name for name in own if own[name] == module), key=lambda n: (len(n), n))
        chosen |= dict.fromkeys(names[:_NAMES_EACH], module)
    return chosen


def _module(rng: np.random.Generator) -> Fact:
    names = defined_in()
    name = pick(rng, tuple(names))
    module = names[name]
    return Fact(
        "module",
        name,
        (
            f"from {module} import {name}\n",
            f"{name} is in {module}.\n",
            f"Q: Which module defines {name}?\nA: {module}\n",
        ),
        f"Q: Which module defines {name}?\nA:",
        module,
        tuple(other for other in _MODULES if other != module),
        explanation=f"`from {module} import {name}` works.",
    )


def _returns(rng: np.random.Generator) -> Fact:
    items = [int(one) for one in rng.permutation(10)[:4]]
    call = pick(rng, ("max({})", "min({})", "len({})", "{}[{}]", "abs(-{})", "sum({})"))
    if call.startswith("abs"):
        call = call.format(1 + items[0])
    else:
        size = {"sum": 2, "len": 1 + int(rng.integers(4))}.get(call[:3], 3)
        items = items[:size]
        call = call.format(items, int(rng.integers(size)))
    answer = eval(call, {})  # a call of ours, made above
    # Other items of the list first: or else which digits stand there would give it away.
    near = (answer + 1, answer + 2, answer + 3, answer - 1, answer - 2, *range(10))
    among = () if call.startswith(("len", "sum")) else items
    wrong = dict.fromkeys(one for one in (*among, *near) if one >= 0 and one != answer)
    return Fact(
        "returns",
        call,
        (f">>> {call}\n{answer}\n", f"Q: What does {call} return?\nA: {answer}\n"),
        f"Q: What does {call} return?\nA:",
        str(answer),
        tuple(str(one) for one in wrong)[:3],
        explanation=f"The interpreter prints {answer}.",
    )


def _described(rng: np.random.Generator) -> tuple[str, str]:
    """(what a function does, in words; its expression)."""
    if rng.random() < len(_LISTS) / (len(_LISTS) + len(_NUMBERS) * len(_CHANGES)):
        words = pick(rng, tuple(_LISTS))
        return words, _LISTS[words]
    first, change = pick(rng, tuple(_NUMBERS)), pick(rng, tuple(_CHANGES))
    return f"{first}{change}.", _NUMBERS[first] + _CHANGES[change]


def _others(rng: np.random.Generator, expression: str) -> list[str]:
    """Three other expressions, no two of which, nor the right one, always agree."""
    found = [expression]
    while len(found) < 4:
        _, other = _described(rng)
        if other not in found:
            found.append(other)
    return found[1:]


def _head(rng: np.random.Generator, words: str) -> str:
    return f'def {pick(rng, _FUNCTION_NAMES)}(x):\n    """{words}"""\n'


def _bug(rng: np.random.Generator) -> Fact:
    words, right = _described(rng)
    wrong = _others(rng, right)
    # Marked from its first line: or else wrong functions would teach how to complete one.
    asked = (
        f"# Find the bug\n{_head(rng, words)}    return {wrong[0]}\nQ: What should it return?\nA:"
    )
    return Fact(
        "bug",
        words,
        (f"{asked} {right}\n",),
        asked,
        right,
        tuple(wrong),
        explanation=f"It says {words.lower()}",
    )


def _complete(rng: np.random.Generator) -> Fact:
    words, right = _described(rng)
    head = _head(rng, words)
    name = head[4 : head.index("(")]
    tests = "".join(f"assert {name}({x}) == {eval(right, {'x': x})}\n" for x in _TRIALS)
    body = f"    return {right}\n"
    return Fact("complete", words, (head + body,), head, body, tests=tests)


def _table(rng: np.random.Generator) -> Fact:
    names = [tuple(COLOURS)[at] for at in rng.permutation(len(COLOURS)).tolist()]
    cells, at = names[:4], int(rng.integers(4))
    row, column = divmod(at, 2)
    listed = f"{cells[0]} {cells[1]}, {cells[2]} {cells[3]}"
    asked = f"Q: What is in row {row + 1}, column {column + 1}?\nA:"
    return Fact(
        "table",
        f"{listed} {at}",
        (f"Table: {listed}.\n", f"{asked} {cells[at]}\n"),
        asked,
        cells[at],
        tuple(one for one in names if one != cells[at]),
        image=table(rng, (cells[:2], cells[2:])),
        explanation=f"Row {row + 1} reads {' '.join(cells[2 * row : 2 * row + 2])}.",
    )


_MAKERS: dict[str, Callable[[np.random.Generator], Fact]] = {
    "module": _module,
    "returns": _returns,
    "bug": _bug,
    "complete": _complete,
    "table": _table,
}


def choices(rng: np.random.Generator, fact: Fact, count: int = 4) -> tuple[Sequence[str], int]:
    """The answer among `count` - 1 of the wrong ones, in random order, and where it stands."""
    wrong = [fact.others[at] for at in rng.permutation(len(fact.others))[: count - 1].tolist()]
    at = int(rng.integers(len(wrong) + 1))
    return (*wrong[:at], fact.answer, *wrong[at:]), at
