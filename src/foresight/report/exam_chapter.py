"""The chapter of the embedded exam: a table after the GPT-4 report's table 1."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from foresight.errors import UserError
from foresight.evals.exams.ladder import Mark, read_marks
from foresight.report.blocks import Note, Section, Table
from foresight.report.words import flops
from foresight.runs import Run

_ANCHOR, _TITLE = "exam", "The exam on Python's library"


def exam_chapter(directory: Path, runs: Sequence[Run]) -> Section:
    """Shares of points of every run that took it; what is not readable is said in a sentence."""
    try:
        marks = read_marks(directory, runs)
    except UserError as error:
        return Section(_ANCHOR, _TITLE, [Note(str(error), "bad")])
    if not marks:
        return Section(_ANCHOR, _TITLE, [Note("Not taken yet.", "open")])
    told = (
        "Questions about the library of the interpreter that made them, a part of whose facts the "
        "corpus tells in other words; the holdout half, taken once by each run, with its pictures "
        f"and with a placeholder for each. Percent of points with 95 % intervals over questions "
        f"like these; guessing brings {100 * marks[0].guessed:.0f} %."
    )
    blocks: list[Note | Table] = [Note(told)]
    rank = marks[0].percentile
    if rank is not None:
        blocks.append(Note(f"Percentiles are among {rank.population}; no people took it.", "small"))
    again = [one.run for one in marks if one.repeated > 1]
    if again:
        names = ", ".join(dict.fromkeys(again))
        blocks.append(Note(f"Took the holdout more than once: {names}.", "bad"))
    columns = ["Run", "FLOPs", "Pictures", "Score", "95 %", "Percentile", *marks[0].sections]
    rows = [_row(one) for one in marks]
    return Section(_ANCHOR, _TITLE, [*blocks, Table("Percent of points.", columns, rows)])


def _row(one: Mark) -> list[str]:
    low_high = [one.low, one.high]
    interval = " to ".join(f"{100 * side:.1f}" for side in low_high if side is not None)
    rank = one.percentile
    return [
        one.run,
        flops(one.compute_flops),
        "yes" if one.images else "no",
        f"{100 * one.score:.1f}" + (f" (run {one.repeated})" if one.repeated > 1 else ""),
        interval,
        "" if rank is None else f"{rank.lower:.0f}-{rank.upper:.0f}",
        *(f"{100 * share:.0f}" for share in one.sections.values()),
    ]
