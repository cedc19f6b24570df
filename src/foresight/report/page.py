"""One self-contained HTML page of an experiment, and Figure 1 as files."""

from __future__ import annotations

from pathlib import Path

from foresight.forecast import Report
from foresight.report import sections
from foresight.report.blocks import render
from foresight.report.canvas import files
from foresight.report.card import disclosure
from foresight.report.evidence import gather
from foresight.report.exam_chapter import exam_chapter
from foresight.report.headline import headline, integrity
from foresight.report.posttraining_chapter import posttraining_chapter
from foresight.report.record_index import RecordIndex
from foresight.report.record_page import record_page
from foresight.report.reliability_figure import calibration_chapter
from foresight.report.suites import suite_chapters
from foresight.report.words import describe, short
from foresight.runs import write_atomic


def write_page(directory: Path, verification: Report | None = None) -> Path:
    """Write DIR/report/index.html (and its figures as SVG and PNG beside it); returns its path.

    `verification`: of these files, if it was made already. Whatever is not there yet is said in a
    sentence. The same files give the same bytes. Raises UserError if DIR holds no readable recipe
    or evaluations without a record, or cannot be written to.
    """
    evidence = gather(directory, verification)
    first, figure = sections.figure_one(evidence)
    suites = [
        *suite_chapters(directory, evidence.recipe.ladder.suites),
        calibration_chapter(evidence.evals),
        posttraining_chapter(directory),
    ]
    chapters = [
        headline(evidence),
        first,
        sections.backtest(evidence),
        sections.law_in_force(evidence),
        sections.curves(evidence),
        sections.sources(evidence),
        sections.transfer(evidence),
        sections.pictures(evidence),
        *(chapter for chapter, _, _ in suites),
        exam_chapter(directory, [one.run for one in (*evidence.rungs, *evidence.targets)]),
        disclosure(evidence),
        integrity(evidence),
    ]
    recipe = evidence.recipe
    html = render(
        f"Foresight: {recipe.name}",
        f"Recipe {recipe.name} ({short(recipe.sha256)}), repetition {recipe.seed}. "
        f"Metric: {describe(evidence.metric)}.",
        chapters,
    )
    folder = directory / "report"
    drawn = [("figure1", figure), *((name, drawing) for _, name, drawing in suites)]
    for name, drawing in drawn:
        if drawing is not None:
            svg, png = files(drawing, name)
            write_atomic(folder / f"{name}.svg", svg)
            write_atomic(folder / f"{name}.png", png)
    if any(evidence.evals.glob("*/records.jsonl")):
        index = RecordIndex.open([evidence.evals])
        write_atomic(
            folder / sections.RECORDS, record_page(index, f"{evidence.recipe.name}: every answer")
        )
    write_atomic(folder / "index.html", html)
    return folder / "index.html"
