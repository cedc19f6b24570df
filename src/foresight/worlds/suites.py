"""The suites by name."""

from __future__ import annotations

from collections.abc import Callable

from foresight.errors import UserError
from foresight.worlds.inverse_suite import inverse_suite
from foresight.worlds.picture_suite import picture_suite
from foresight.worlds.program_suite import program_suite
from foresight.worlds.suite_problem import SuiteProblem

SUITES: dict[str, Callable[[int], tuple[SuiteProblem, ...]]] = {
    "programs": program_suite,
    "pictures": picture_suite,
    "inverse": inverse_suite,
}


def suite(name: str, seed: int = 0) -> tuple[SuiteProblem, ...]:
    """The problems of a suite; same name and seed, same problems. Raises UserError for a name
    that is none."""
    if name not in SUITES:
        raise UserError(f"suite {name!r}: there are {', '.join(SUITES)}")
    return SUITES[name](seed)
