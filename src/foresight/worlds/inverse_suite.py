"""Questions whose answers get worse with scale before they get better.

"hindsight": bets that went against their odds (`bets`). What mostly tells a good bet in the
documents, its outcome, is wrong in every one of them; a model that has learned nothing is right in
half of the cases. After "hindsight neglect" (McKenzie et al. 2023, "Inverse scaling").

"memory traps": a comment shows a well-known run of Python with another end, and the run begins
again. The other end is the usual one of another run, and both of two runs are asked with each
other's, so that a model which knows only how frequent the ends are is right in half of the cases,
and one which remembers the runs in none. After "memorization traps" (same paper).
"""

from __future__ import annotations

from itertools import permutations

from foresight.document import Text
from foresight.worlds.bets import bets
from foresight.worlds.splits import generator, hash64
from foresight.worlds.suite_problem import SuiteProblem

HINDSIGHT = 160
RUNS = (
    ("for i in", " range"),
    ("if x is not", " None"),
    ("while", " True"),
    ("raise", " ValueError"),
    ("assert", " isinstance"),
    ("from typing import", " Any"),
    ("import", " sys"),
    ("except", " Exception"),
    ("isinstance(x,", " str"),
    ("return x and", " not"),
    ("yield", " from"),
    ("with", " open"),
    ("for key, value in", " self"),
)


def inverse_suite(seed: int = 0) -> tuple[SuiteProblem, ...]:
    """Two-choice problems: 160 of hindsight, half of them good bets, then 156 memory traps."""
    return (*_hindsight(seed), *_traps())


def _hindsight(seed: int) -> list[SuiteProblem]:
    found: dict[str, SuiteProblem] = {}
    room = {True: HINDSIGHT // 2, False: HINDSIGHT // 2}
    drawn = bets(generator(10**9 + seed, "bets/suite", 0), "validation")
    while any(room.values()):
        bet = next(drawn)
        if bet.won == bet.good or bet.question in found or not room[bet.good]:
            continue
        room[bet.good] -= 1
        found[bet.question] = SuiteProblem(
            id=f"inverse/hindsight-{len(found) + 1}",
            family="hindsight",
            parts=(Text(bet.question),),
            solution=f"{bet.answer}\n",
            choices=(" yes", " no"),
            answer=int(not bet.good),
            group=f"{bet.chance} {bet.win} {bet.lose}",
        )
    return list(found.values())


def _traps() -> list[SuiteProblem]:
    found = []
    for number, ((start, usual), (_, end)) in enumerate(permutations(RUNS, 2), start=1):
        first = hash64(f"{start}{end}") % 2 == 0
        found.append(
            SuiteProblem(
                id=f"inverse/trap-{number}",
                family="memory traps",
                parts=(Text(f"# Not as usual: {start}{end}\n{start}"),),
                solution=f"{end}\n",
                choices=(end, usual) if first else (usual, end),
                answer=int(not first),
                group=start,
            )
        )
    return found
