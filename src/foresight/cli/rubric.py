"""Verbs about rubrics: rubric check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foresight.cli.common import AsJson, app, console, emit
from foresight.errors import UserError

if TYPE_CHECKING:
    from foresight.posttrain.gold import Gold
    from foresight.posttrain.rubric import Rubric

rubric = typer.Typer(help="Rubrics of rule-based rewards.", no_args_is_help=True)
app.add_typer(rubric, name="rubric")


@rubric.callback()
def group() -> None:
    """Rubrics of rule-based rewards."""


@rubric.command()
def check(
    file: Annotated[
        str, typer.Argument(metavar="RUBRIC", help="YAML file, or `refusal`, which is shipped.")
    ],
    gold: Annotated[
        Path | None,
        typer.Option(help="JSONL of answers that people judged: id, set, messages, response, "
                     "class and/or propositions."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Grader to be held against them: run directory or checkpoint, "
                     "api:NAME@URL, or the folder of a trained grader."),
    ] = None,
    chat: Annotated[bool, typer.Option(help="The model answers chats (checkpoints).")] = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Check a rubric's file, and a grader against gold: confusion matrix, propositions."""
    from foresight.posttrain.gold import read_gold
    from foresight.posttrain.rubric import read_rubric
    from foresight.views.rubric import rubric_json, show_rubric

    read = read_rubric(file)
    if model and not gold:
        raise UserError("--model: give --gold, too: answers for the grader to be held against")
    rows = read_gold(gold, read) if gold else ()
    checked = _checked(read, rows, model, chat) if model else {}
    value = rubric_json(read, rows, **checked)
    emit(value, as_json, lambda: show_rubric(console, read, rows, **checked))


def _checked(read: Rubric, rows: tuple[Gold, ...], model: str, chat: bool) -> dict[str, Any]:
    """Confusion matrices by grader, and accuracy by proposition."""
    from foresight.inference.open import open_model
    from foresight.posttrain.gold import grader_confusion, proposition_accuracy
    from foresight.posttrain.graders import LabelGrader, PropositionGrader, TrainedGrader

    samples, truth = [one.answered for one in rows], [one.label for one in rows]
    prompts = [one.messages for one in samples]
    if (Path(model) / "classifier.json").exists():
        trained = TrainedGrader.load(Path(model), read)
        found = grader_confusion(read, trained.grade(samples), truth, prompts)
        return {"confusions": {trained.name: found}}
    opened, written = open_model(model), model.startswith("api:")
    by_letter = LabelGrader(opened, read, chat, written)
    graded = {by_letter.name: by_letter.grade(samples)}
    accuracy = {}
    if read.propositions:
        asker = PropositionGrader(opened, read, chat, written)
        yes = asker.propositions(samples)
        accuracy = proposition_accuracy(read, yes, rows)
        if read.used:
            graded[asker.name] = asker.classes(yes)
    confusions = {name: grader_confusion(read, one, truth, prompts) for name, one in graded.items()}
    return {"confusions": confusions, "propositions": accuracy}
