"""The verb that asks whether a model's probabilities are right."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foresight.cli.common import AsJson, RecordSet, app, console, emit
from foresight.errors import UserError

if TYPE_CHECKING:
    from foresight.evals.calibration import PairedStudy, Study
    from foresight.evals.record import Record


@app.command()
def calibration(
    records: RecordSet,
    after: Annotated[
        Path | None,
        typer.Argument(help="The same questions put to another model: after post-training."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Draw reliability diagrams: a page (.html), or of one task an .svg."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Are the probabilities of choices right? Calibration error with interval, and a temperature.

    Needs records of multiple choice by log-probability. With two sets, the change of the error on
    the questions that both answered.
    """
    from foresight.report.reliability_figure import (
        calibration_page,
        calibration_tables,
        figure_files,
    )
    from foresight.runs import write_atomic
    from foresight.views import say, show

    if out is not None and out.suffix not in (".html", ".svg"):
        raise UserError(f"--out {out}: expected a name that ends in .html or .svg")
    found = _studies(records, after)
    if out is not None and out.suffix == ".html":
        write_atomic(out, calibration_page(found))
    elif out is not None:
        if len(found) > 1:
            raise UserError(
                f"--out {out}: {len(found)} tasks; name the records.jsonl of one, or write .html"
            )
        write_atomic(out, figure_files(found[0])[0])

    def show_found() -> None:
        show(console, *(table for one in found for table in calibration_tables(one)))
        say(console, *([f"wrote {out}"] if out else []))

    emit([asdict(one) for one in found], as_json, show_found)


def _studies(first: Path, second: Path | None) -> list[Study | PairedStudy]:
    """Of the tasks that hold log-probabilities; if none does, the error of the first."""
    from foresight.evals.calibration import paired_study, study
    from foresight.evals.journal import paired_sets, record_sets

    def held(rows: list[Record]) -> bool:
        return any(one.choice_logprobs for one in rows)

    pairs: list[tuple[list[Record], ...]] = (
        [(rows,) for rows in record_sets(first).values()]
        if second is None
        else list(paired_sets(first, second))
    )
    chosen = [pair for pair in pairs if all(map(held, pair))] or pairs
    try:
        return [study(*pair) if second is None else paired_study(*pair) for pair in chosen]
    except UserError as error:
        where = f"{first}" if second is None else f"{first}, {second}"
        raise UserError(f"{where}: {error}") from None
