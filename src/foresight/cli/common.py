"""What the verbs share: the application, consoles, common options, output."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from foresight.errors import UserError

if TYPE_CHECKING:
    from http.server import HTTPServer

    from foresight.forecast import RunTable
    from foresight.inference.language_model import LanguageModel

app = typer.Typer(
    name="foresight",
    help="Train the model you predicted: a ladder of small runs, a registered forecast, "
    "the target, the verification.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console()
errors = Console(stderr=True)

Directory = Annotated[
    Path,
    typer.Argument(help="Experiment directory: recipe, corpus, ladder, targets, registrations."),
]
RecipeName = Annotated[
    str, typer.Option("--recipe", help="pocket, overnight, single-gpu, or a YAML file.")
]
Targets = Annotated[
    list[float] | None, typer.Option("--at", help="Target FLOPs; may be given several times.")
]
Group = Annotated[str | None, typer.Option(help="Column that tells recipes apart.")]
Loss = Annotated[str | None, typer.Option(help="Column of the predicted metric.")]
TargetFlops = Annotated[
    float | None,
    typer.Option("--compute", help="Target FLOPs; default: every target of the recipe."),
]
RecordSet = Annotated[Path, typer.Argument(help="records.jsonl, or a directory written by `eval`.")]
RunDirectory = Annotated[Path, typer.Argument(help="A run directory with a checkpoint.")]
Items = Annotated[
    int | None,
    typer.Option(help="Questions behind an accuracy: binomial standard errors where none stand."),
]
Model = Annotated[
    str, typer.Argument(help="Run directory or checkpoint, or api:NAME@URL of an endpoint.")
]
KeepEnd = Annotated[
    bool, typer.Option(help="Of a prompt longer than the context keep the end, as lm-eval does.")
]
Chat = Annotated[
    bool, typer.Option("--chat", help="Put every prompt as a user's message of a chat.")
]
System = Annotated[str, typer.Option(help="With --chat: the system message before it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Registry = Annotated[
    Path, typer.Option("--registry", help="Directory of registered predictions and outcomes.")
]
DEMO = Path("runs/demo")
PREDICTIONS = Path("predictions")


def emit(value: Any, as_json: bool, show: Callable[[], None]) -> None:
    """Print the value as JSON, or let `show` print it for people."""
    if as_json:
        sys.stdout.write(json.dumps(value, indent=2) + "\n")
    else:
        show()


def open_asked(model: str, keep_end: bool, chat: bool, system: str) -> LanguageModel:
    """A model; with `chat` its prompts are put as a user's message, after the system message."""
    from foresight.inference.open import open_model
    from foresight.posttrain.chat import ChatModel

    if system and not chat:
        raise UserError("--system: only a chat has a system message; give --chat too")
    opened = open_model(model, keep_end)
    return ChatModel(opened, system) if chat else opened


def six_n_d(params: float | None, tokens: float | None) -> float | None:
    """FLOPs of a planned run, if it was named by size and tokens."""
    if (params is None) != (tokens is None):
        raise UserError("--target-params and --target-tokens belong together: C = 6 N D")
    return None if params is None or tokens is None else 6.0 * params * tokens


def table_of(runs: Path, chosen: dict[str, str]) -> RunTable:
    """Runs from a file or any kind of folder."""
    from foresight.forecast import read_folder, read_table

    if not runs.is_dir():
        return read_table(runs, chosen)
    if "group" in chosen:
        raise UserError(f"--group names a column of a table; {runs} is a folder")
    if (runs / "recipe.yaml").exists():
        from foresight.experiment import Experiment

        return Experiment.open(runs).table()
    return read_folder(runs, chosen.get("loss"))


def columns(**chosen: str | None) -> dict[str, str]:
    """The columns that were named."""
    return {field: name for field, name in chosen.items() if name}


def end_refused(refused: bool) -> None:
    """Exit code 3 where the data cannot carry a forecast."""
    if refused:
        raise typer.Exit(3)


def serve_until_stopped(
    server: HTTPServer, value: Any, as_json: bool, show: Callable[[], None]
) -> None:
    """Say where pages are, and serve them until Ctrl-C."""
    with server:
        emit(value, as_json, show)
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


def folder_of(model: str, room: str) -> Path:
    """Where records of a model go if nobody says."""
    return Path("runs") / room / re.sub(r"[^\w.+-]+", "_", model)


def say(as_json: bool) -> Callable[[str], None]:
    """Prints a line of progress: not into the JSON."""
    target = errors if as_json else console
    return lambda line: target.print(f"[dim]{line}[/dim]")
