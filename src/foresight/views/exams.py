"""What `exam` and `import-exams` show on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from rich.console import Console

from foresight.evals.exams.agieval import Imported
from foresight.evals.exams.ladder import Mark
from foresight.evals.exams.outcome import Outcome
from foresight.evals.exams.published import SOURCE
from foresight.evals.exams.result import Score, SectionResult, Standing
from foresight.views import _table
from foresight.views.people import show_grading


def show_exams(console: Console, found: Sequence[Outcome], folder: Path) -> None:
    """A table like the report's Table 1, then sections and notes of each exam."""
    columns = ["exam", "score", "95 %", "percentiles", "test takers"]
    columns.append("no pictures" if found[0].images else "pictures")
    reference = any(one.published for one in found)
    columns += ["GPT-4", "GPT-4 no vision", "GPT-3.5"] if reference else []
    rows = [row for one in found for row in _rows(one, reference)]
    first = found[0]
    how = first.half + ("" if first.images else ", pictures removed")
    # Many exams have no percentiles, no pictures: columns without anything take room from others.
    full = [at for at in range(len(columns)) if at < 2 or any(row[at] for row in rows)]
    cells = [[row[at] for at in full] for row in rows]
    _table(console, f"Exams of {first.model} ({how})", [columns[at] for at in full], cells)
    for one in found:
        _say(console, f"  {one.exam}: exam SHA-256 {one.exam_sha256}, method {one.method_sha256}")
        for line in (*_details(one), *one.notes):
            _say(console, f"  {one.exam}: {line}")
        if one.grading and one.grading.graded:
            show_grading(console, one.grading)
    means = [s.accuracy.mean for one in found for s in one.result.sections if s.accuracy]
    if len(found) > 1 and means:
        _say(console, f"mean accuracy over {len(means)} sections: {100 * fmean(means):.1f} %")
    if reference:
        _say(console, f"GPT-4, GPT-3.5: {SOURCE}")
    _say(console, f"records in {folder}")


def _rows(one: Outcome, reference: bool) -> list[list[str]]:
    score, published = one.result.score, one.published
    name = one.exam
    if one.run and one.run.number > 1:
        name += f" ({_ordinal(one.run.number)} run)"
    other = "" if one.other_arm is None else f"{one.other_arm:.4g}"
    ranks = score.percentiles if score else ()
    row = [name, *_score(score), *_percentiles(ranks[0] if ranks else None), other]
    if reference:
        row += ["", "", ""] if published is None else [
            f"{value} ({rank})" if rank else value
            for value, rank in (
                (published.gpt4, published.gpt4_percentile),
                (published.gpt4_no_vision, published.gpt4_no_vision_percentile),
                (published.gpt35, published.gpt35_percentile),
            )
        ]  # fmt: skip
    blank = [""] * (len(row) - 5)
    return [row, *(["", "", "", *_percentiles(rank), *blank] for rank in ranks[1:])]


def _score(score: Score | None) -> list[str]:
    if score is None:
        return ["", ""]
    interval = "" if score.low is None else f"{score.low:.4g} to {score.high:.4g}"
    return [f"{score.score:.4g}", interval]


def _percentiles(rank: Standing | None) -> list[str]:
    if rank is None:
        return ["", ""]
    point = "beyond the table" if rank.lower is None else f"{rank.lower:g}-{rank.upper:g}"
    low, high = ("?" if end is None else f"{end:g}" for end in (rank.low, rank.high))
    return [f"{point} (95 %: {low}-{high})", f"{rank.population}, {rank.date}"]


def _details(one: Outcome) -> list[str]:
    lines = [_section(section) for section in one.result.sections]
    full, clean = one.result.full, one.result.clean
    if full and clean:
        change = "" if one.result.degradation is None else f" ({one.result.degradation:+.2%})"
        lines.append(
            f"{one.result.contaminated} questions contaminated: full {full.score:.4g}, clean "
            f"{clean.score:.4g}, of all points {full.share:.3f} and {clean.share:.3f}{change}; "
            f"{one.result.reported} is reported"
        )
    return lines


def _section(one: SectionResult) -> str:
    text = f"section {one.name} ({one.format}, {one.examples} examples): {one.questions} questions"
    if one.accuracy is None:
        return text
    interval = ""
    if one.accuracy.low is not None:
        interval = f", 95 % {one.accuracy.low:.3f} to {one.accuracy.high:.3f}"
    bad = f", {one.bad_format} of bad format" if one.bad_format else ""
    return f"{text}, accuracy {one.accuracy.mean:.4f}{interval}{bad}"


def _ordinal(number: int) -> str:
    return {2: "2nd", 3: "3rd"}.get(number, f"{number}th")


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def show_imported(console: Console, found: Sequence[Imported]) -> None:
    rows = [
        [one.folder, str(one.development), str(one.holdout), str(one.left_out)] for one in found
    ]
    columns = ["exam", "development", "holdout", "left out (no answer, or twice)"]
    _table(console, "Exams written", columns, rows)


def show_marks(console: Console, marks: Sequence[Mark]) -> None:
    """The embedded exam along a ladder; percentages of points."""
    if not marks:
        return
    blind = {one.run: one.score for one in marks if not one.images}
    seen = [one for one in marks if one.images]
    sections = "/".join(name[:4] for name in seen[0].sections)
    columns = ["run", "score", "95 %", "no pictures", "percentile", sections]
    rows = [
        [
            one.run + (f" ({_ordinal(one.repeated)} run)" if one.repeated > 1 else ""),
            f"{100 * one.score:.1f}",
            _interval(one),
            f"{100 * blind[one.run]:.1f}" if one.run in blind else "",
            f"{one.percentile.lower:.0f}-{one.percentile.upper:.0f}" if one.percentile else "",
            "/".join(f"{100 * share:.0f}" for share in one.sections.values()),
        ]
        for one in seen
    ]
    _table(console, "The exam on Python's library, percent of points", columns, rows)
    _say(console, f"guessing brings {100 * seen[0].guessed:.1f} %")
    if (rank := seen[-1].percentile) is not None:
        _say(console, f"percentiles among {rank.population}, no people")


def _interval(one: Mark) -> str:
    if one.low is None or one.high is None:
        return ""
    return f"{100 * one.low:.1f}-{100 * one.high:.1f}"
