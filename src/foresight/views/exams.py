"""What `exam` shows on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from foresight.evals.exams.exam import Exam
from foresight.evals.exams.holdout import HoldoutRun
from foresight.evals.exams.ladder import Mark
from foresight.evals.exams.percentiles import Standing
from foresight.evals.exams.published import SOURCE, Published, published
from foresight.evals.exams.result import ExamResult, Score
from foresight.views import _table

Line = tuple[Exam, str, ExamResult, HoldoutRun | None]
"""Exam, arm, result, and its place among the holdout's runs."""


def show_exams(console: Console, lines: Sequence[Line]) -> None:
    """A table after the report's table 1, and what must be known to read it."""
    rows = []
    told = []
    for exam, arm, result, run in lines:
        one = result.reported
        beside = published().get(exam.file.published)
        rows.append([
            exam.file.title,
            arm + (f" ({run.mark})" if run and run.mark else ""),
            f"{one.value:.4g}",
            f"{one.low:.4g} to {one.high:.4g}",
            _range(one.percentile),
            _clean(result),
            _beside(beside),
        ])  # fmt: skip
        told += _notes(exam, arm, result)
        if beside:
            told.append(f"GPT-4, GPT-3.5: {SOURCE}")
    header = [
        "exam", "half", "score", "95 %", "percentile", "clean", "GPT-4 / GPT-3.5",
    ]  # fmt: skip
    _table(console, "Exams", header, rows)
    for line in dict.fromkeys(told):
        console.print(f"  [dim]{line}[/dim]")
    sections = [
        [exam.name, arm, part.name, str(part.questions), f"{100 * part.share:.1f} %",
         str(part.unscored or "")]
        for exam, arm, result, _ in lines
        for part in result.full.sections
    ]  # fmt: skip
    names = ["exam", "half", "section", "questions", "points", "without a score"]
    _table(console, "Sections", names, sections)


def _range(standing: Standing | None) -> str:
    return "" if standing is None else f"{standing.lower:g} - {standing.upper:g}"


def _clean(result: ExamResult) -> str:
    if result.contaminated is None:
        return "not checked"
    score: Score | None = result.clean
    value = "none left" if score is None else f"{score.value:.4g}"
    return f"{value} ({result.contaminated} left out)"


def _beside(row: Published | None) -> str:
    if row is None:
        return ""
    return " / ".join(
        f"{score} ({percentile})" if percentile else score
        for score, percentile in (
            (row.gpt4, row.gpt4_percentile),
            (row.gpt35, row.gpt35_percentile),
        )
    )


def _notes(exam: Exam, arm: str, result: ExamResult) -> list[str]:
    told = []
    if exam.percentiles is None:
        told.append(f"{exam.name}: no percentiles, for its folder has none")
    elif result.reported.percentile:
        populations = "; ".join(result.reported.percentile.populations)
        told.append(f"{exam.name}: percentiles among {populations}")
    if exam.file.images == "required" and "no-images" in arm:
        told.append(f"{exam.name}: its pictures are required, and were not shown")
    if any(part.unscored for part in result.full.sections):
        told.append(f"{exam.name}: answers without a score are left out, not counted as wrong")
    return told


def show_marks(console: Console, marks: Sequence[Mark]) -> None:
    """The embedded exam along a ladder."""
    rows = [[
        one.run, one.arm + (f" ({one.mark})" if one.mark else ""),
        f"{one.score:.1f} [{one.low:.1f}, {one.high:.1f}]", f"{one.chance:.1f}",
        "" if one.percentile is None else f"{one.percentile[0]:.0f} - {one.percentile[1]:.0f}",
        *(f"{100 * share:.0f} %" for share in one.sections.values()),
    ] for one in marks]  # fmt: skip
    if marks:
        names = ["run", "half", "score [95 %]", "chance", "percentile", *marks[0].sections]
        _table(console, "The exam on Python's library; percentiles among the ladder's models",
               names, rows)  # fmt: skip
