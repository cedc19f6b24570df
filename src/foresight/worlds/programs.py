"""Programs: Python functions written from their docstrings, composed of k = 1..6 steps.

The pass rate of a model on held-out compositions, by number of steps, is what the
capability law predicts. "Held out" is syntactic: the ordered tuple of steps was never
trained on; another tuple that computes the same may have been.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from foresight.document import Document, Text
from foresight.errors import UserError
from foresight.worlds.primitives import (
    NUMBER_PRIMITIVES,
    PRIMITIVES,
    VARIABLES,
    Argument,
    Kind,
    Primitive,
    Value,
)
from foresight.worlds.splits import Split, generator, held_out, pick, pick_weighted, zipf

MAX_STEPS = 6
HELD_OUT_SHARE = 0.1
# There are only some 150 one-step programs: a tenth of them would be too few to measure on.
HELD_OUT_SHARE_ONE_STEP = 0.25
EXAMPLE_SHARE = 0.5
# An example is longer than the body of such a function, and nothing in it can be foreseen.
NUMBER_EXAMPLE_SHARE = 0.2
# Leans to few steps: at small compute only one- and two-step programs are ever solved.
DEFAULT_STEP_SHARES = (0.35, 0.25, 0.16, 0.11, 0.08, 0.05)

_WORD_LIST = (
    "ant apple Bear blue Cat cold day Dog east egg fish Fox gold green Hat house ink Iron jam "
    "king lake Leaf moon Nest north oak open Pen quiet rain Red river Sand sea stone Sun tall "
    "Tree under valley warm Water west wind Yard year young zebra"
)
WORDS = tuple(_WORD_LIST.split())


@dataclass(frozen=True)
class Step:
    """A primitive by name, with its argument."""

    name: str
    argument: Argument = None

    @property
    def primitive(self) -> Primitive:
        return PRIMITIVES[self.name]

    def phrase(self, wording: int) -> str:
        phrases = self.primitive.phrases
        shown = repr(self.argument) if isinstance(self.argument, str) else str(self.argument)
        return phrases[wording % len(phrases)].format(n=shown)

    def code(self, variable: str) -> str:
        return self.primitive.code.format(x=variable, n=repr(self.argument))


@dataclass(frozen=True)
class Program:
    """A composed function: its prompt, the body that solves it, and tests of any other body.

    `prompt` is the signature and the docstring, `tests` are (input, output) pairs.
    """

    steps: tuple[Step, ...]
    prompt: str
    tests: tuple[tuple[Value, Value], ...]

    @property
    def composition(self) -> str:
        """What is held out: the steps' names; for a single step its name and argument."""
        return composition(self.steps)

    @property
    def solution(self) -> str:
        """The body of the function, one indented line per step."""
        lines = []
        for number, step in enumerate(self.steps, start=1):
            left = f"{VARIABLES[step.primitive.gives]} =" if number < len(self.steps) else "return"
            lines.append(f"    {left} {step.code(VARIABLES[step.primitive.takes])}\n")
        return "".join(lines)

    def reference(self, value: Value) -> Value:
        """What the function must return for `value`, computed without its source text."""
        return _trace(self.steps, value)[-1]


def composition(steps: Sequence[Step]) -> str:
    if len(steps) == 1:
        return f"{steps[0].name}({steps[0].argument!r})"
    return " > ".join(step.name for step in steps)


def split_of(steps: Sequence[Step]) -> Split:
    """The split that a composition belongs to, for every seed.

    A single step without an argument is always trained on: held out, the primitive would
    never be seen alone.
    """
    if len(steps) == 1:
        if steps[0].argument is None:
            return "train"
        out = held_out(composition(steps), HELD_OUT_SHARE_ONE_STEP)
    else:
        out = held_out(composition(steps), HELD_OUT_SHARE)
    return "validation" if out else "train"


def programs(
    seed: int,
    count: int,
    split: Split,
    step_shares: Sequence[float] = DEFAULT_STEP_SHARES,
    kind: Kind | None = None,
) -> Iterator[Program]:
    """`count` programs; `step_shares[k - 1]` is the share of programs of k steps.

    `kind`: what they take; by default lists of integers, or text. Program i depends on (seed,
    split, kind, i) alone. Raises UserError if the shares are no distribution over 1..6 steps.
    """
    if not 1 <= len(step_shares) <= MAX_STEPS or min(step_shares) < 0 or sum(step_shares) <= 0:
        raise UserError(
            f"step_shares must be 1 to {MAX_STEPS} shares, none negative and not all zero, "
            f"got {tuple(step_shares)}"
        )
    bounds = np.cumsum(step_shares) / sum(step_shares)
    for index in range(count):
        rng = generator(seed, f"{kind or 'programs'}/{split}", index)
        step_count = 1 + int(np.searchsorted(bounds, rng.random(), side="right"))
        yield _program(rng, step_count, split, kind)


def documents(
    seed: int,
    count: int,
    split: Split,
    step_shares: Sequence[float] = DEFAULT_STEP_SHARES,
    kind: Kind | None = None,
) -> Iterator[Document]:
    """`count` documents of one program each: two text parts, prompt and solution."""
    for index, program in enumerate(programs(seed, count, split, step_shares, kind)):
        yield Document(
            id=f"programs-{split}-{seed}-{index}",
            parts=(Text(program.prompt), Text(program.solution)),
            source="programs",
            group=program.composition,
        )


def _program(
    rng: np.random.Generator, step_count: int, split: Split, given: Kind | None
) -> Program:
    """Draw until the composition is in the split and no step of it is idle."""
    while True:
        kind: Kind = given or ("ints" if rng.random() < 0.65 else "text")
        steps = _steps(rng, kind, step_count)
        if steps is None or split_of(steps) != split:
            continue
        inputs = _inputs(rng, kind)
        traces = [_trace(steps, value) for value in inputs]
        if _is_degenerate(traces):
            continue
        tests = tuple((value, trace[-1]) for value, trace in zip(inputs, traces, strict=True))
        return Program(steps, _prompt(rng, steps, kind), tests)


def _steps(rng: np.random.Generator, kind: Kind, step_count: int) -> tuple[Step, ...] | None:
    """A chain of distinct primitives whose kinds fit, or None if this draw ran into a dead end."""
    steps: list[Step] = []
    for number in range(step_count):
        last = number == step_count - 1
        used = {step.name for step in steps}
        options = [p for p in _ACCEPTING[kind] if p.name not in used]
        if not last and kind != "number":
            options = [p for p in options if p.gives != "number"]
        if not options:
            return None
        if kind == "number":
            primitive = pick_weighted(rng, options, [_WEIGHTS[p.name] for p in options])
        else:
            primitive = pick(rng, options)
        steps.append(Step(primitive.name, pick(rng, primitive.arguments)))
        kind = primitive.gives
    return tuple(steps)


_ACCEPTING: dict[Kind, tuple[Primitive, ...]] = {
    kind: tuple(p for p in PRIMITIVES.values() if p.takes == kind) for kind in VARIABLES
}


# Steps on numbers are of uneven frequency, so that a model learns one after the other as it grows.
_WEIGHTS: dict[str, float] = {
    p.name: weight
    for p, weight in zip(NUMBER_PRIMITIVES, zipf(len(NUMBER_PRIMITIVES)), strict=True)
}


def _trace(steps: Sequence[Step], value: Value) -> list[Value]:
    """The input and the value after each step."""
    values = [value]
    for step in steps:
        values.append(step.primitive.run(values[-1], step.argument))
    return values


def _is_degenerate(traces: Sequence[Sequence[Value]]) -> bool:
    """Whether some step never changes anything, or the answer is the same for every input.

    Such a program would count as k steps while a shorter one, or a constant, passes its tests.
    """
    idle = any(
        all(trace[at] == trace[at + 1] for trace in traces) for at in range(len(traces[0]) - 1)
    )
    return idle or all(trace[-1] == traces[0][-1] for trace in traces)


def _inputs(rng: np.random.Generator, kind: Kind) -> list[Value]:
    """Eight inputs: the empty one, a short one, a long one with repetitions, and five others."""
    if kind == "number":
        return [0, 7, -3, 10, *rng.integers(-99, 1000, size=4).tolist()]
    if kind == "ints":
        return [_ints(rng, length) for length in (0, 1, 8, 4, 5, 6, 7, 9)]
    return [_sentence(rng, length) for length in (0, 1, 5, 2, 3, 3, 4, 4)]


def _ints(rng: np.random.Generator, length: int) -> list[int]:
    values: list[int] = rng.integers(-4, 15, size=length).tolist()
    if length >= 4:
        # Without repetitions nothing would tell `unique` from the identity.
        values[int(rng.integers(1, length))] = values[0]
    return values


def _sentence(rng: np.random.Generator, length: int) -> str:
    return " ".join(pick(rng, WORDS) for _ in range(length))


def _shown(rng: np.random.Generator, kind: Kind) -> Value:
    """The input of a docstring's example."""
    if kind == "number":
        return int(rng.integers(-20, 100))
    return _ints(rng, 4 + int(rng.integers(3))) if kind == "ints" else _sentence(rng, 3)


def _prompt(rng: np.random.Generator, steps: Sequence[Step], kind: Kind) -> str:
    phrases = [step.phrase(int(rng.integers(6))) for step in steps]
    text = pick(rng, (", then ", ". Then ")).join(phrases)
    lines = [f"def f({VARIABLES[kind]}):", f'    """{text[0].upper()}{text[1:]}.']
    if rng.random() < (NUMBER_EXAMPLE_SHARE if kind == "number" else EXAMPLE_SHARE):
        value = _shown(rng, kind)
        output = _trace(steps, value)[-1]
        lines += ["", f"    >>> f({value!r})", f"    {output!r}", '    """']
    else:
        lines[-1] += '"""'
    return "\n".join(lines) + "\n"
