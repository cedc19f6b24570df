"""Verbs of exams: exam, exam-import."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from foresight.cli.common import AsJson, app, console, emit, errors
from foresight.errors import UserError


@app.command()
def exam(
    model: Annotated[
        str, typer.Argument(help="Run directory or checkpoint, or api:NAME@URL of an endpoint.")
    ],
    folders: Annotated[list[Path], typer.Argument(help="Folders with an exam.yaml.")],
    half: Annotated[
        Literal["development", "holdout"],
        typer.Option(help="holdout: once per model and method; every run is entered in a ledger."),
    ] = "development",
    no_images: Annotated[
        bool, typer.Option("--no-images", help="A placeholder for every picture.")
    ] = False,
    choices: Annotated[
        Literal["generate", "logprob"],
        typer.Option(help="The report's way, or by log-probability (base models)."),
    ] = "generate",
    grader: Annotated[
        str | None, typer.Option(help="Model that grades free responses by their rubrics.")
    ] = None,
    contaminated: Annotated[
        Path | None,
        typer.Option(help="Ids of contaminated questions, a line each; the lower score counts."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where records go; default: runs/exams/MODEL.")
    ] = None,
    ledger: Annotated[
        Path | None, typer.Option(help="Of holdout runs; default: beside the exam's folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Put exams to a model: score with interval, percentile range, holdout on record."""
    from foresight.evals.exams.examination import Arm, paper, sit
    from foresight.evals.exams.holdout import open_holdout
    from foresight.evals.exams.reading import read_exam
    from foresight.evals.exams.result import examined
    from foresight.evals.model_grader import RubricPoints
    from foresight.inference.open import open_model
    from foresight.views.evals import running
    from foresight.views.exams import Line, show_exams

    exams = [read_exam(folder) for folder in folders]
    dropped = _ids(contaminated) if contaminated else None
    rubric = RubricPoints(model=open_model(grader)) if grader else None
    arm = Arm(half, not no_images, choices, rubric)
    sheets = [paper(one, arm) for one in exams]
    opened = open_model(model)
    here = out or Path("runs/exams") / re.sub(r"[^\w.+-]+", "_", opened.name)
    lines: list[Line] = []
    for sheet in sheets:
        folder = here / sheet.exam.name / sheet.name
        book = ledger or sheet.exam.folder.parent / "holdout-runs.jsonl"
        run = open_holdout(sheet, opened.name, folder, book) if half == "holdout" else None
        with running(errors, sheet.exam.name) as watch:
            records = sit(sheet, opened, folder, watch)
        try:
            result = examined(sheet.exam, opened.name, records, dropped)
        except ValueError:
            raise UserError(f"{folder}: a section has no answer with a score; see its records "
                            f"(`foresight view {folder}`)") from None  # fmt: skip
        lines.append((sheet.exam, sheet.name, result, run))
    value = [
        {
            "exam_sha256": sheet.exam.sha256,
            "arm": sheet.name,
            "method": sheet.method,
            **result.to_json(),
            "holdout_run": run.number if run else None,
            "holdout_methods": run.methods if run else None,
        }
        for sheet, (_, _, result, run) in zip(sheets, lines, strict=True)
    ]
    emit(value, as_json, lambda: show_exams(console, lines))


def _ids(path: Path) -> set[str]:
    try:
        return {line.strip() for line in path.read_text(encoding="utf-8").splitlines()} - {""}
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None


@app.command("exam-import")
def exam_import(
    kind: Annotated[
        Literal["library", "agieval"],
        typer.Argument(help="library: the embedded exam; agieval: from AGIEval's files."),
    ],
    folder: Annotated[Path, typer.Argument(help="Where the exam's folder goes.")],
    source: Annotated[Path | None, typer.Option(help="AGIEval's files.")] = None,
    subset: Annotated[str, typer.Option(help="Which of AGIEval's exams (lsat-ar, ...).")] = "",
    seed: Annotated[int, typer.Option(min=0, help="Of the embedded exam's questions.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Write an exam's folder: the embedded one, or one of AGIEval's."""
    from foresight.evals.exams.folder import import_agieval, write_library_exam
    from foresight.evals.exams.reading import read_exam

    if kind == "agieval":
        if source is None or not subset:
            raise UserError("exam-import agieval: give --source DIR and --subset NAME")
        import_agieval(source, subset, folder)
    else:
        write_library_exam(folder, seed)
    made = read_exam(folder)
    counts = {
        part.name: {half: len(items) for half, items in part.items.items()}
        for part in made.sections
    }
    value = {"folder": str(folder), "name": made.name, "sha256": made.sha256, "sections": counts}
    emit(value, as_json, lambda: console.print(f"wrote {folder}: {made.file.title}, {counts}"))
