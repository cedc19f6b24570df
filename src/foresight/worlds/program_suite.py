"""The program worlds' held-out suite: functions to be written from their docstrings.

Every problem's composition is held out for all seeds (`programs.split_of`), so that neither it
nor its body is in any training document; its steps, and shorter or longer runs of them, are. 180
problems from two of the shortest lines to one list expression, in six buckets of 30, and 15 of two
lines on lists, set aside as the hardest (GPT-4 report, section 3.2). Most are in reach of models of
1e11 to 1e13 training FLOPs.
"""

from __future__ import annotations

from dataclasses import dataclass

from foresight.document import Text
from foresight.worlds.primitives import VARIABLES, Kind
from foresight.worlds.programs import Program, programs
from foresight.worlds.suite_problem import SuiteProblem

PER_BUCKET, ASIDE = 30, 15
LONGEST = 230
"""Characters of prompt and solution: so much fits the context of the smallest recipe."""
PER_COMPOSITION = 3
"""Problems of one composition, in other words or with other arguments."""


@dataclass(frozen=True)
class _Family:
    """A kind of problem: how many, what the functions take (None: lists or text), steps, and
    whether some step has an argument (None: either)."""

    name: str
    count: int
    takes: Kind | None
    steps: int
    arguments: bool | None = None


_FAMILIES = (
    _Family("two short lines", 72, "number", 2, arguments=False),
    _Family("three short lines", 60, "number", 3, arguments=False),
    _Family("one short line, an argument", 24, "number", 1),
    _Family("two short lines, arguments", 15, "number", 2, arguments=True),
    _Family("one line on lists or text", 9, None, 1),
)
_HARDEST = _Family("two lines on lists or text", ASIDE, None, 2)


def program_suite(seed: int = 0) -> tuple[SuiteProblem, ...]:
    """195 problems: six buckets of 30 by the order of their families, then 15 set aside."""
    drawn = [pair for family in _FAMILIES for pair in _drawn(seed, family)]
    found = [_problem(*pair, at // PER_BUCKET) for at, pair in enumerate(drawn)]
    return tuple(found + [_problem(*pair, None) for pair in _drawn(seed, _HARDEST)])


def _drawn(seed: int, family: _Family) -> list[tuple[str, Program]]:
    """Programs of a family with their names, no prompt twice."""
    shares = [0.0] * (family.steps - 1) + [1.0]
    times: dict[str, int] = {}
    prompts: set[str] = set()
    found: list[tuple[str, Program]] = []
    for program in programs(10**9 + seed, 10**9, "validation", shares, family.takes):
        if len(found) == family.count:
            break
        often = times.get(program.composition, 0)
        if often == PER_COMPOSITION or program.prompt in prompts or not _suits(program, family):
            continue
        times[program.composition] = often + 1
        prompts.add(program.prompt)
        found.append((f"{family.name} {len(found) + 1}", program))
    return found


def _suits(program: Program, family: _Family) -> bool:
    """Whether a program belongs to a family, fits the context and does something."""
    if all(value == output for value, output in program.tests):
        return False  # ten up, then ten down
    with_argument = any(step.argument is not None for step in program.steps)
    short = len(program.prompt) + len(program.solution) <= LONGEST
    return short and family.arguments in (None, with_argument)


def _problem(name: str, program: Program, bucket: int | None) -> SuiteProblem:
    return SuiteProblem(
        id=f"programs/{name.replace(', ', '-').replace(' ', '-')}",
        family=name.rpartition(" ")[0],
        parts=(Text(program.prompt),),
        solution=program.solution,
        variable=VARIABLES[program.steps[0].primitive.takes],
        tests=program.tests,
        bucket=bucket,
        group=program.composition,
    )
