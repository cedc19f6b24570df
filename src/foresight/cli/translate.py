"""Verbs of tasks in many languages and categories: translate, categories."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from foresight.cli.common import AsJson, app, console, emit, errors
from foresight.errors import UserError


@app.command()
def translate(
    task: Annotated[
        str, typer.Argument(help="A multiple-choice task as `eval` takes it: mmlu_language@DIR.")
    ],
    to: Annotated[str, typer.Option("--to", help="The language, in English: German.")],
    out: Annotated[Path, typer.Option(help="Directory of the new task; task.yaml is for `eval`.")],
    model: Annotated[
        str | None, typer.Option(help="Who translates: a run directory, or api:NAME@URL.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="Translations: JSONL of text and translation.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Put a multiple-choice task into another language; `Answer` and the letters stay.

    Call again after an interruption to go on. What could not be translated is named and listed, and
    the task is written when nothing is left.
    """
    from foresight.evals.reading import read_task
    from foresight.evals.translation import translate as translated
    from foresight.inference.open import open_model
    from foresight.views.suites import asking

    if (file is None) == (model is None):
        raise UserError("who translates? give either --model or --file")
    source = open_model(model) if model else file
    assert source is not None, "one of them is given"
    try:
        with asking(errors, f"texts in {to}") as watch:
            found = translated(read_task(task), to, source, out, watch)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    emit(
        found.to_json(),
        as_json,
        lambda: console.print(found.told(), markup=False, highlight=False, soft_wrap=True),
    )


@app.command()
def categories(
    records: Annotated[
        list[Path],
        typer.Argument(help="Directories that `eval` wrote, or record files: a model each."),
    ],
    by: Annotated[
        Literal["category", "task"],
        typer.Option(help="What makes a row: an item's category (MGSM: language), or the task."),
    ] = "category",
    task: Annotated[
        list[str] | None, typer.Option(help="Only records of this task; may be given again.")
    ] = None,
    title: Annotated[str, typer.Option(help="Of table and figure.")] = "Score by category",
    figure: Annotated[Path | None, typer.Option(help="Draw it: an .svg or .png file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Scores by category with intervals, models side by side: languages, kinds of question.

    Where two record sets grade the same responses (a model and people), their agreement is shown.
    """
    from dataclasses import asdict

    from foresight.evals.categories import graders_agree, read_series
    from foresight.report.category_figure import write_figure
    from foresight.views.categories import show_categories

    series = read_series(records, by, task or ())
    agreements = graders_agree(series)
    if figure is not None:
        write_figure(series, title, figure)
    value = {
        "series": [one.to_json() for one in series],
        "agreements": [
            {"graders": [first, second], **asdict(found)} for first, second, found in agreements
        ],
        "figure": None if figure is None else str(figure),
    }
    emit(value, as_json, lambda: show_categories(console, series, agreements, title))
