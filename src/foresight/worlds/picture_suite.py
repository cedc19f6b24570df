"""The picture world's held-out suite: questions about pictures whose like was never shown.

Six kinds of 30 problems, and 15 of reading, which are set aside as the hardest. A problem is
passed by writing the right answer after "A:"; with `choices` it can also be scored by
log-probability, and without its pictures it is answered by chance alone.
"""

from __future__ import annotations

from foresight.worlds.pictures import questions
from foresight.worlds.suite_problem import SuiteProblem

VERSION = 1
FAMILIES = ("colour", "relation", "several", "shape", "count", "chart")
HARDEST = "read"
PER_BUCKET, ASIDE = 30, 15


def picture_suite(seed: int = 0) -> tuple[SuiteProblem, ...]:
    """195 problems: 6 families of 30, then 15 that are set aside."""
    found: list[SuiteProblem] = []
    for bucket, family in enumerate(FAMILIES):
        found += _problems(seed, family, PER_BUCKET, bucket)
    return tuple(found + _problems(seed, HARDEST, ASIDE, None))


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
