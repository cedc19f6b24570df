"""Verbs of examinations: eval, compare, categories."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from foresight.cli.common import (
    AsJson,
    Chat,
    KeepEnd,
    Model,
    RecordSet,
    System,
    app,
    console,
    emit,
    errors,
    folder_of,
    open_asked,
)
from foresight.errors import UserError

if TYPE_CHECKING:
    from foresight.evals.record import Record


@app.command("eval")
def evaluate(
    model: Model,
    tasks: Annotated[
        list[str],
        typer.Argument(help="SUITE[:SUBSET]@PATH (mmlu@DIR), a YAML file, or module:function."),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Where records go; default: runs/evals/MODEL.")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Attempts at every item.")] = 1,
    limit: Annotated[
        int | None, typer.Option(min=1, help="So many items, the same ones for every model.")
    ] = None,
    chat: Chat = False,
    system: System = "",
    keep_end: KeepEnd = False,
    as_json: AsJson = False,
) -> None:
    """Put tasks to a model: every answer a record, mean scores with intervals.

    Call again after an interruption to go on. `compare` tests differences between two models.
    """
    from foresight.evals.reading import read_task
    from foresight.evals.runner import check_samples, run
    from foresight.evals.summary import summarise
    from foresight.views.evals import running, show_evaluation, warnings

    read = [read_task(text) for text in tasks]
    names = [task.name for task in read]
    if len(set(names)) < len(names):
        raise UserError(f"two tasks have one name ({', '.join(names)}); give the YAML `name`")
    for task in read:
        check_samples(task, samples)
    opened = open_asked(model, keep_end, chat, system)
    folder = out or folder_of(opened.name, "evals")
    records: list[list[Record]] = []
    try:
        for task in read:
            with running(errors, task.name) as watch:
                records.append(run(task, opened, folder / task.name, samples, limit, watch))
    except UserError as error:
        raise UserError(f"task {read[len(records)].name}: {error}") from None
    found = [(task, summarise(rows)) for task, rows in zip(read, records, strict=True)]
    told = warnings(read, records)
    value = {
        "model": opened.name,
        "out": str(folder),
        "tasks": [{"sha256": task.hash, **asdict(one)} for task, one in found],
        "warnings": told,
    }
    emit(value, as_json, lambda: show_evaluation(console, found, told, folder))


@app.command()
def compare(
    first: RecordSet,
    second: Annotated[Path, typer.Argument(help="The same of another model (or another way).")],
    as_json: AsJson = False,
) -> None:
    """Is the difference real? Two sets of records, paired item by item."""
    from foresight.evals.compare import adjusted
    from foresight.evals.compare import compare as paired
    from foresight.evals.journal import paired_sets
    from foresight.views.evals import show_comparisons

    found = adjusted([paired(*pair) for pair in paired_sets(first, second)])
    emit([asdict(one) for one in found], as_json, lambda: show_comparisons(console, found))


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
    from foresight.evals.categories import graders_agree, read_series
    from foresight.report.canvas import write
    from foresight.report.category_figure import category_figure
    from foresight.views.categories import show_categories

    series = read_series(records, by, task or ())
    agreements = graders_agree(series)
    if figure is not None:
        write(category_figure(series, title), figure, figure.stem)
    value = {
        "series": [one.to_json() for one in series],
        "agreements": [asdict(one) for one in agreements],
        "figure": None if figure is None else str(figure),
    }
    emit(value, as_json, lambda: show_categories(console, series, agreements, title))
