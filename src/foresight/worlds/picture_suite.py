"""The picture worlds' held-out suite: flags and pictures whose like was never shown.

180 problems from flags of two stripes to pictures told apart by their colours, and 15 of reading,
which are set aside as the hardest. A problem is passed by writing the right answer after "A:"; with
`choices` it can also be scored by log-probability, and without its pictures it is answered by
chance alone.
"""

from __future__ import annotations

from collections import Counter

from foresight.document import Text
from foresight.worlds.flags import QUESTION, flags
from foresight.worlds.pictures import questions
from foresight.worlds.splits import generator
from foresight.worlds.suite_problem import SuiteProblem

STRIPES = {2: 30, 3: 48, 4: 42}
"""How many flags of so many stripes."""
FAMILIES = {"colour": 30, "several": 30}
HARDEST = "read"
PER_BUCKET, ASIDE = 30, 15
PER_SEQUENCE = 3
"""Flags of one sequence of colours, in other shades."""


def picture_suite(seed: int = 0) -> tuple[SuiteProblem, ...]:
    """195 problems: six buckets of 30 by the order of their families, then 15 set aside."""
    found: list[SuiteProblem] = []
    for stripes, count in STRIPES.items():
        found += _flags(seed, stripes, count, len(found))
    for family, count in FAMILIES.items():
        found += _problems(seed, family, count, len(found) // PER_BUCKET)
    return tuple(found + _problems(seed, HARDEST, ASIDE, None))


def _flags(seed: int, stripes: int, count: int, before: int) -> list[SuiteProblem]:
    drawn = flags(generator(10**9 + seed, "flags/suite", stripes), "validation", stripes)
    times: Counter[tuple[str, ...]] = Counter()
    found: list[SuiteProblem] = []
    while len(found) < count:
        flag = next(drawn)
        times[flag.colours] += 1
        if times[flag.colours] > PER_SEQUENCE:
            continue
        found.append(
            SuiteProblem(
                id=f"pictures/{stripes}-stripes-{len(found) + 1}",
                family=f"{stripes} stripes",
                parts=(flag.image, Text(QUESTION)),
                solution=flag.answer,
                bucket=(before + len(found)) // PER_BUCKET,
                group=" ".join(flag.colours),
            )
        )
    return found


def _problems(seed: int, family: str, count: int, bucket: int | None) -> list[SuiteProblem]:
    asked = questions(10**9 + seed, count, "validation", [family])
    return [
        SuiteProblem(
            id=f"pictures/{family}-{number}",
            family=family,
            parts=question.parts,
            solution=f"{question.choices[question.answer]}\n",
            choices=question.choices,
            answer=question.answer,
            bucket=bucket,
            group=f"{family}-{number}",
        )
        for number, question in enumerate(asked, start=1)
    ]
