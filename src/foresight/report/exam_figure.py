"""Figure 4 of the GPT-4 report: exams beside each other as percentiles among their takers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from foresight.errors import UserError
from foresight.evals.categories import Series
from foresight.evals.exams.outcome import Outcome
from foresight.evals.exams.published import percentile_range
from foresight.evals.statistics import Estimate
from foresight.report.canvas import write
from foresight.report.category_figure import category_figure

_TITLE = "Exam results: lower end of the percentile range"


def exam_series(found: Sequence[Outcome]) -> list[Series]:
    """A series for the model and, where exams name a row of the report, for GPT-4 and GPT-3.5.

    A bar is the lower end of the percentile range, as in the report; the line on it reaches from
    the range's lower to its upper end (of the model: over its 95 % interval). Exams without
    percentiles are left out. Raises UserError if none is left.
    """
    ours: dict[str, Estimate] = {}
    for one in found:
        score = one.result.score
        rank = score.percentiles[0] if score and score.percentiles else None
        if score and rank and rank.lower is not None:
            low, high = (None if end is None else end / 100 for end in (rank.low, rank.high))
            ours[one.exam] = Estimate(rank.lower / 100, None, low, high, score.n, score.n, "none")
    if not ours:
        raise UserError("no exam of these has a percentile: its folder needs a percentiles.csv")
    rows = {one.exam: one.published for one in found if one.published}
    published = [
        ("GPT-4", {name: row.gpt4_percentile for name, row in rows.items()}),
        ("GPT-3.5", {name: row.gpt35_percentile for name, row in rows.items()}),
    ]
    series = [(found[0].model, ours), *((name, _ranges(some)) for name, some in published)]
    return [Series(name, means, 0, None, ()) for name, means in series if means]


def _ranges(printed: Mapping[str, str]) -> dict[str, Estimate]:
    read = {name: percentile_range(text) for name, text in printed.items()}
    return {
        name: Estimate(ends[0] / 100, None, ends[0] / 100, ends[1] / 100, 1, 1, "none")
        for name, ends in read.items()
        if ends is not None
    }


def write_exam_figure(found: Sequence[Outcome], path: Path) -> None:
    """Draw it into an .svg or .png file. Raises UserError for any other, or for nothing to draw."""
    figure = category_figure(exam_series(found), _TITLE, "percentile among test takers")
    write(figure, path, path.stem)
