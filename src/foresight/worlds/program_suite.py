"""The program worlds' held-out suite: functions to be written from their docstrings.

Every problem's composition is held out for all seeds (`programs.split_of`), so that neither it
nor its body is in any training document; its steps, and shorter or longer runs of them, are. Six
kinds from one short line to two list expressions, 30 problems each, and 15 of three steps on
lists, which are set aside as the hardest, as the GPT-4 report does (section 3.2).
"""

from __future__ import annotations

from dataclasses import dataclass

from foresight.document import Text
from foresight.worlds.primitives import VARIABLES, Kind
from foresight.worlds.programs import Program, programs
from foresight.worlds.suite_problem import SuiteProblem

VERSION = 1
PER_BUCKET, ASIDE = 30, 15
LONGEST = 230
"""Characters of prompt and solution: so much fits the context of the smallest recipe."""
PER_COMPOSITION = 3
"""Problems of one composition, in other words or with other arguments."""


@dataclass(frozen=True)
class _Family:
    """A kind of problem: what the functions take (None: lists or text), steps, arguments."""

    name: str
    takes: Kind | None
    steps: int
    arguments: bool | None = None


_FAMILIES = (
    _Family("two short lines", "number", 2, arguments=False),
    _Family("one short line, an argument", "number", 1),
    _Family("three short lines", "number", 3, arguments=False),
    _Family("two short lines, arguments", "number", 2, arguments=True),
    _Family("three short lines, arguments", "number", 3, arguments=True),
    _Family("one line on lists or text", None, 1),
)
_HARDEST = _Family("two lines on lists or text", None, 2)


def program_suite(seed: int = 0) -> tuple[SuiteProblem, ...]:
    """195 problems: 6 families of 30, then 15 that are set aside."""
    found: list[SuiteProblem] = []
    for bucket, family in enumerate(_FAMILIES):
        found += _problems(seed, family, PER_BUCKET, bucket)
    return tuple(found + _problems(seed, _HARDEST, ASIDE, None))


def _problems(seed: int, family: _Family, count: int, bucket: int | None) -> list[SuiteProblem]:
    shares = [0.0] * (family.steps - 1) + [1.0]
    times: dict[str, int] = {}
    prompts: set[str] = set()
    found: list[SuiteProblem] = []
    for program in programs(10**9 + seed, 10**9, "validation", shares, family.takes):
        if len(found) == count:
            break
        often = times.get(program.composition, 0)
        if often == PER_COMPOSITION or program.prompt in prompts or not _suits(program, family):
            continue
        times[program.composition] = often + 1
        prompts.add(program.prompt)
        found.append(_problem(program, family, f"{family.name} {len(found) + 1}", bucket))
    return found


def _suits(program: Program, family: _Family) -> bool:
    with_argument = any(step.argument is not None for step in program.steps)
    short = len(program.prompt) + len(program.solution) <= LONGEST
    return short and family.arguments in (None, with_argument)


def _problem(program: Program, family: _Family, name: str, bucket: int | None) -> SuiteProblem:
    return SuiteProblem(
        id=f"programs/{name.replace(', ', '-').replace(' ', '-')}",
        family=family.name,
        parts=(Text(program.prompt),),
        solution=program.solution,
        variable=VARIABLES[program.steps[0].primitive.takes],
        tests=program.tests,
        bucket=bucket,
        group=program.composition,
    )
