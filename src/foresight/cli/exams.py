"""Verbs of exams: exam, import-exams."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from foresight.cli.common import (
    AsJson,
    Chat,
    KeepEnd,
    Model,
    System,
    app,
    console,
    emit,
    errors,
    folder_of,
    open_asked,
)
from foresight.errors import UserError


@app.command()
def exam(
    model: Model,
    folders: Annotated[list[Path], typer.Argument(help="Exams: folders with an exam.yaml.")],
    half: Annotated[
        Literal["development", "holdout"],
        typer.Option(help="The holdout is for one run per model and method."),
    ] = "development",
    images: Annotated[
        bool, typer.Option("--images/--no-images", help="Show pictures, or placeholders.")
    ] = True,
    choices: Annotated[
        Literal["generate", "logprob"],
        typer.Option(help="Explanation and letter, or the letter's log-probability."),
    ] = "generate",
    contaminated: Annotated[
        Path | None,
        typer.Option(help="Ids of questions that training data hold, one a line: the score without "
                     "them is reported if it is lower."),
    ] = None,
    grader: Annotated[
        str | None, typer.Option(help="Model that grades free responses; default: people do.")
    ] = None,
    grades: Annotated[
        Path | None, typer.Option(help="grades.jsonl of people (`foresight grade`).")
    ] = None,
    ledger: Annotated[
        Path | None, typer.Option(help="Of holdout runs; default: holdout.jsonl of each folder.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where records go; default: runs/exams/MODEL.")
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(help="Draw percentiles into an .svg or .png file (Figure 4).")
    ] = None,
    chat: Chat = False,
    system: System = "",
    keep_end: KeepEnd = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Put exams to a model: score on the exam's scale, interval, percentile range.

    Call again after an interruption to go on. Answers wait for people: `foresight grade`.
    """
    from foresight.evals.exams.outcome import read_ids, take
    from foresight.evals.exams.reading import read_exam
    from foresight.evals.exams.sitting import Arm
    from foresight.evals.model_grader import RubricPoints
    from foresight.evals.people.grades import read_grades
    from foresight.inference.open import open_model
    from foresight.report.exam_figure import write_exam_figure
    from foresight.views.evals import running
    from foresight.views.exams import show_exams

    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        raise UserError(f"two folders have one name ({', '.join(names)}); rename one")
    read = [read_exam(folder) for folder in folders]
    ids = read_ids(contaminated, read) if contaminated else None
    given = read_grades(grades) if grades else None
    judge = {"grader": RubricPoints(model=open_model(grader))} if grader else {}
    arm = Arm(half, images, choices, **judge)
    opened = open_asked(model, keep_end, chat, system)
    folder = out or folder_of(opened.name, "exams")
    found = [
        take(one, arm, opened, folder / name, lambda title: running(errors, title),
             ledger, ids, given)
        for one, name in zip(read, names, strict=True)
    ]  # fmt: skip
    if figure:
        write_exam_figure(found, figure)
    value = {"model": opened.name, "out": str(folder), "exams": [one.to_json() for one in found]}
    emit(value, as_json, lambda: show_exams(console, found, folder))


@app.command()
def import_exams(
    source: Annotated[str, typer.Argument(help="agieval@PATH: its folder or tar archive.")],
    to: Annotated[Path, typer.Option(help="The folder below which exams are written.")],
    as_json: AsJson = False,
) -> None:
    """Exam folders from a public set, split into a development and a holdout half."""
    from foresight.evals.exams.agieval import import_agieval
    from foresight.views.exams import show_imported

    suite, _, path = source.partition("@")
    if suite != "agieval" or not path:
        raise UserError(f"{source}: expected agieval@PATH")
    found = import_agieval(Path(path), to)
    emit([vars(one) for one in found], as_json, lambda: show_imported(console, found))
