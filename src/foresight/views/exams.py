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
from foresight.views import between, say, show_rows
from foresight.views.people import show_grading


def show_exams(console: Console, found: Sequence[Outcome], folder: Path) -> None:
    """A table like the report's Table 1, then sections and notes of each exam."""
    reference = any(one.published for one in found)
    rows = [row for one in found for row in _rows(one, reference)]
    first = found[0]
    how = first.half + ("" if first.images else ", pictures removed")
    # Many exams have no percentiles, no pictures: columns without anything take room from others.
    full = [name for name in rows[0] if name in ("exam", "score") or any(row[name] for row in rows)]
    cells = [{name: row[name] for name in full} for row in rows]
    show_rows(console, f"Exams of {first.model} ({how})", cells)
    for one in found:
        hashes = f"exam SHA-256 {one.exam_sha256}, method {one.method_sha256}"
        say(console, *(f"  {one.exam}: {line}" for line in (hashes, *_details(one), *one.notes)))
        if one.grading and one.grading.graded:
            show_grading(console, one.grading)
    means = [s.accuracy.mean for one in found for s in one.result.sections if s.accuracy]
    if len(found) > 1 and means:
        say(console, f"mean accuracy over {len(means)} sections: {100 * fmean(means):.1f} %")
    if reference:
        say(console, f"GPT-4, GPT-3.5: {SOURCE}")
    say(console, f"records in {folder}")


def _rows(one: Outcome, reference: bool) -> list[dict[str, str]]:
    """A row, and one more for every further percentile table."""
    score, published = one.result.score, one.published
    again = one.run.number if one.run else 1
    ranks = score.percentiles if score else ()
    row = {
        "exam": one.exam + (f" ({_ordinal(again)} run)" if again > 1 else ""),
        **_score(score),
        **_percentiles(ranks[0] if ranks else None),
        "pictures" if not one.images else "no pictures": (
            "" if one.other_arm is None else f"{one.other_arm:.4g}"
        ),
    }
    if reference:
        names = ("GPT-4", "GPT-4 no vision", "GPT-3.5")
        row |= dict.fromkeys(names, "") if published is None else {
            name: f"{value} ({rank})" if rank else value
            for name, value, rank in zip(
                names,
                (published.gpt4, published.gpt4_no_vision, published.gpt35),
                (published.gpt4_percentile, published.gpt4_no_vision_percentile,
                 published.gpt35_percentile),
                strict=True,
            )
        }  # fmt: skip
    return [row, *(dict.fromkeys(row, "") | _percentiles(rank) for rank in ranks[1:])]


def _score(score: Score | None) -> dict[str, str]:
    if score is None:
        return {"score": "", "95 %": ""}
    return {"score": f"{score.score:.4g}", "95 %": between(score.low, score.high, ".4g")}


def _percentiles(rank: Standing | None) -> dict[str, str]:
    if rank is None:
        return {"percentiles": "", "test takers": ""}
    point = "beyond the table" if rank.lower is None else f"{rank.lower:g}-{rank.upper:g}"
    low, high = ("?" if end is None else f"{end:g}" for end in (rank.low, rank.high))
    who = f"{rank.population}, {rank.date}"
    return {"percentiles": f"{point} (95 %: {low}-{high})", "test takers": who}


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
    interval = between(one.accuracy.low, one.accuracy.high)
    interval = f", 95 % {interval}" if interval else ""
    bad = f", {one.bad_format} of bad format" if one.bad_format else ""
    return f"{text}, accuracy {one.accuracy.mean:.4f}{interval}{bad}"


def _ordinal(number: int) -> str:
    return {2: "2nd", 3: "3rd"}.get(number, f"{number}th")


def show_imported(console: Console, found: Sequence[Imported]) -> None:
    rows = [
        {
            "exam": one.folder,
            "development": str(one.development),
            "holdout": str(one.holdout),
            "left out (no answer, or twice)": str(one.left_out),
        }
        for one in found
    ]
    show_rows(console, "Exams written", rows)


def show_marks(console: Console, marks: Sequence[Mark]) -> None:
    """The embedded exam along a ladder; percentages of points."""
    if not marks:
        return
    blind = {one.run: one.score for one in marks if not one.images}
    seen = [one for one in marks if one.images]
    sections = "/".join(name[:4] for name in seen[0].sections)
    rows = [
        {
            "run": one.run + (f" ({_ordinal(one.repeated)} run)" if one.repeated > 1 else ""),
            "score": f"{100 * one.score:.1f}",
            "95 %": between(one.low, one.high, ".1f", 100, "-"),
            "no pictures": f"{100 * blind[one.run]:.1f}" if one.run in blind else "",
            "percentile": (
                f"{one.percentile.lower:.0f}-{one.percentile.upper:.0f}" if one.percentile else ""
            ),
            sections: "/".join(f"{100 * share:.0f}" for share in one.sections.values()),
        }
        for one in seen
    ]
    show_rows(console, "The exam on Python's library, percent of points", rows)
    say(console, f"guessing brings {100 * seen[0].guessed:.1f} %")
    if (rank := seen[-1].percentile) is not None:
        say(console, f"percentiles among {rank.population}, no people")
