"""Verbs of the red team: redteam MODEL, and redteam replay, export, attack."""

from __future__ import annotations

import contextlib
import secrets
import sys
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from foresight.cli.common import AsJson, Model, app, console, emit, errors
from foresight.errors import UserError

if TYPE_CHECKING:
    from foresight.posttrain.red_team import Exercise


class _Verbs(TyperGroup):
    """`redteam MODEL` is `redteam ask MODEL`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] != "--help":
            args = ["ask", *args]
        return list(super().parse_args(ctx, args))


redteam = typer.Typer(
    cls=_Verbs, no_args_is_help=True, help="Experts look for what a model should not say."
)
app.add_typer(redteam, name="redteam")

Asked = Annotated[Path, typer.Argument(help="Directory of an exercise.")]


class To(StrEnum):
    """What an exercise becomes."""

    SFT = "sft"
    PROMPTS = "prompts"
    ITEMS = "items"


@redteam.command("ask")
def ask(
    model: Model,
    out: Annotated[Path, typer.Option(help="Directory of the exercise; given again it goes on.")],
    expert: Annotated[str, typer.Option(help="Who judges.")] = "expert",
    seed: Annotated[int, typer.Option(help="Of answers.")] = 0,
    system: Annotated[str, typer.Option(help="System message.")] = "",
    temperature: Annotated[float, typer.Option(min=0)] = 0.6,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of an answer.")] = 512,
    categories: Annotated[
        Path | None, typer.Option(help="Categories, one a line; default: the system card's.")
    ] = None,
    terminal: Annotated[bool, typer.Option("--terminal", help="Here instead of a page.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")] = 8424,
    host: Annotated[str, typer.Option(help="IPv4 address to serve at.")] = "127.0.0.1",
    as_json: AsJson = False,
) -> None:
    """Put prompts to a model and judge its answers, on a page or here, until Ctrl-C.

    `redteam MODEL` is the same. Answers and judgements are lines of DIR/entries.jsonl before they
    are shown as saved.
    """
    from foresight.inference.open import open_model
    from foresight.posttrain.red_team import CATEGORIES, Exercise, Settings
    from foresight.report.red_team_server import serve_red_team
    from foresight.runs import locked

    settings = Settings(
        system=system, temperature=temperature, max_tokens=max_tokens, seed=seed,
        categories=_lines(categories) if categories else CATEGORIES,
    )  # fmt: skip
    with locked(out), Exercise(out, open_model(model), settings, expert) as exercise:
        if terminal:
            with contextlib.suppress(KeyboardInterrupt, EOFError):
                while True:
                    _turn(exercise)
            return console.print(f"\n{len(exercise.entries)} answers in {out}", highlight=False)
        server, url = serve_red_team(exercise, out, port, host)
        with server:
            told = f"{expert}: {url}\nCtrl-C ends, everything said is kept"
            value = {"expert": expert, "url": url, "asked": len(exercise.entries)}
            emit(value, as_json, lambda: console.print(told, highlight=False, soft_wrap=True))
            sys.stdout.flush()
            with contextlib.suppress(KeyboardInterrupt):
                server.serve_forever()


def _lines(path: Path) -> tuple[str, ...]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    if found := tuple(dict.fromkeys(line for line in lines if line)):
        return found
    raise UserError(f"{path}: no category in it; write one a line")


def _turn(exercise: Exercise) -> None:
    """One prompt, its answer, one judgement; what was wrong is told and asked again."""
    from rich.prompt import IntPrompt, Prompt

    from foresight.posttrain.red_team import SEVEREST, VERDICTS

    said: dict[str, Any] = {}
    try:
        entry = exercise.ask(secrets.token_hex(8), Prompt.ask("[bold]prompt[/bold]"))
    except UserError as error:
        return console.print(f"[red]{error}[/red]")
    console.print(entry.asked.answer or "(no text)", markup=False, highlight=False)
    categories = exercise.settings.categories
    menu = ", ".join(f"{at} {name}" for at, name in enumerate(categories, start=1))
    verdict = IntPrompt.ask(
        "verdict: " + ", ".join(f"{at} {name}" for at, name in enumerate(VERDICTS, start=1)),
        choices=[str(at + 1) for at in range(len(VERDICTS))], show_choices=False,
    )  # fmt: skip
    said["verdict"] = VERDICTS[verdict - 1]
    levels = [str(at) for at in range(SEVEREST + 1)]
    said["severity"] = IntPrompt.ask("severity", choices=levels, default=0)
    places = [str(at + 1) for at in range(len(categories))]
    at = IntPrompt.ask(f"category: {menu}", choices=places, show_choices=False)
    said["category"] = categories[at - 1]
    said["note"] = Prompt.ask("note", default="", show_default=False)
    said["ideal"] = Prompt.ask("what it should have said", default="", show_default=False)
    exercise.judge(entry.asked.id, said)
    return console.print("[dim]saved; Ctrl-C ends[/dim]")


@redteam.command()
def replay(
    directory: Asked,
    model: Model,
    out: Annotated[Path | None, typer.Option(help="JSONL: every entry and its answer now.")] = None,
    as_json: AsJson = False,
) -> None:
    """Ask everything of an exercise again: what changed? The same model answers the same."""
    import json

    from foresight.inference.open import open_model
    from foresight.posttrain.red_team import replay as asked_again
    from foresight.runs import write_atomic
    from foresight.views.red_team import show_replay

    opened = open_model(model)
    found = asked_again(directory, opened)
    rows = [one.to_json() for one in found]
    if out is not None:
        write_atomic(out, "".join(json.dumps(row) + "\n" for row in rows))
    changed = sum(not one.same for one in found)
    value = {"model": opened.name, "entries": rows, "changed": changed}
    emit(value, as_json, lambda: show_replay(console, opened.name, found))


@redteam.command()
def export(
    directory: Asked,
    out: Annotated[Path, typer.Argument(help="The JSONL file to write.")],
    to: Annotated[To, typer.Option(help="Demonstrations, prompts for rules, or items for `eval`.")],
    as_json: AsJson = False,
) -> None:
    """What an exercise teaches: experts' own answers, prompts by set, evaluation items."""
    import json

    from foresight.posttrain import red_team
    from foresight.posttrain.conversations import row_of
    from foresight.runs import write_atomic

    _, settings, entries = red_team.read_exercise(directory)
    if to is To.ITEMS:
        rows = red_team.items(entries)
    elif to is To.SFT:
        rows = [row_of(one) for one in red_team.demonstrations(entries, settings.system)]
    else:
        rows = [row_of(one) for one in red_team.prompts(entries, settings.system)]
    if not rows:
        raise UserError(f"{directory}: nothing to write as {to.value}; `sft` takes answers that an "
                        f"expert wrote, the others judged entries")  # fmt: skip
    write_atomic(out, "".join(json.dumps(row) + "\n" for row in rows))
    value = {"out": str(out), "written": len(rows), "left_out": len(entries) - len(rows)}
    told = f"{value['written']} of {len(entries)} entries in {out}"
    emit(value, as_json, lambda: console.print(told, highlight=False, soft_wrap=True))


@redteam.command()
def attack(
    prompts: Annotated[Path, typer.Argument(help="JSONL: prompt or messages, prompt_set, id.")],
    model: Model,
    out: Annotated[Path, typer.Option(help="Directory; records in attack-NAME below it.")],
    attack: Annotated[
        list[str] | None, typer.Option("--attack", help="May be given again; default: all.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of attacks that draw.")] = 0,
    system: Annotated[str, typer.Option(help="System message.")] = "",
    temperature: Annotated[float, typer.Option(min=0)] = 0.6,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of an answer.")] = 512,
    as_json: AsJson = False,
) -> None:
    """Put prompts in published ways that get round rules; records to be graded, one set each.

    Call again after an interruption to go on; `foresight grade` has people grade the records.
    """
    from foresight.cli.common import open_asked
    from foresight.evals.protocols import FreeResponse
    from foresight.evals.runner import run
    from foresight.posttrain.attacks import ATTACKS, attack_task
    from foresight.posttrain.conversations import read_prompts
    from foresight.views.evals import running

    protocol = FreeResponse(temperature=temperature, max_tokens=max_tokens)
    read, names = read_prompts(prompts), dict.fromkeys(attack or ATTACKS)
    tasks = [attack_task(read, name, seed, protocol) for name in names]
    opened, rows = open_asked(model, False, True, system), []
    try:
        for task, name in zip(tasks, names, strict=True):
            with running(errors, task.name) as watch:
                records = run(task, opened, out / task.name, on_progress=watch)
            reasons = Counter(one.reason.value for one in records)
            rows.append({"attack": name, "source": ATTACKS[name].source, "sha256": task.hash,
                         "records": len(records), "reasons": dict(reasons)})  # fmt: skip
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    value = {"model": opened.name, "out": str(out), "attacks": rows}
    lines = "\n".join(
        f"{row['attack']}: {row['records']} records ({row['source']})" for row in rows
    )
    emit(value, as_json, lambda: console.print(lines, highlight=False, soft_wrap=True))
