"""The verb that puts a task into another language."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import MofNCompleteColumn, TimeElapsedColumn

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
    from foresight.views import counting, say

    if (file is None) == (model is None):
        raise UserError("who translates? give either --model or --file")
    source = open_model(model) if model else file
    assert source is not None, "one of them is given"
    with counting(errors, f"texts in {to}", MofNCompleteColumn(), TimeElapsedColumn()) as watch:
        found = translated(read_task(task), to, source, out, watch)
    emit(found.to_json(), as_json, lambda: say(console, found.told()))
