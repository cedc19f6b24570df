"""Verbs of predictions written down: register, watch, observe, verify, show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foresight.cli.common import (
    DEMO,
    PREDICTIONS,
    AsJson,
    Directory,
    Registry,
    app,
    console,
    emit,
    errors,
    six_n_d,
    table_of,
)
from foresight.errors import UserError

Interval = Annotated[
    tuple[float, float] | None, typer.Option(metavar="LOW HIGH", help="Of the value.")
]


@app.command()
def register(
    name: Annotated[str, typer.Option(help="What the prediction is called, once and for all.")],
    runs: Annotated[
        Path | None, typer.Argument(help="Table or folder of runs to fit (as for `fit`).")
    ] = None,
    registry: Registry = PREDICTIONS,
    at: Annotated[float | None, typer.Option(help="FLOPs of the predicted run.")] = None,
    metric: Annotated[
        str | None, typer.Option("--metric", "--loss", help="Column, or what --value is of.")
    ] = None,
    value: Annotated[
        float | None, typer.Option(help="A stated prediction, fitted elsewhere.")
    ] = None,
    interval50: Interval = None,
    interval80: Interval = None,
    interval95: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="LOW HIGH", help="Of the value: required with --value."),
    ] = None,
    target: Annotated[str | None, typer.Option(help="The predicted run; default: NAME.")] = None,
    target_params: Annotated[float | None, typer.Option(help="Its parameters.")] = None,
    target_tokens: Annotated[float | None, typer.Option(help="Its tokens.")] = None,
    target_steps: Annotated[int | None, typer.Option(help="Its optimizer steps.")] = None,
    log: Annotated[
        Path | None, typer.Option(help="Where it will log; refused if a step is there.")
    ] = None,
    backcast: Annotated[
        bool, typer.Option("--backcast", help="The outcome is known: counted apart.")
    ] = False,
    timestamp: Annotated[
        str | None, typer.Option(help="URL of an RFC 3161 time-stamping authority to ask.")
    ] = None,
    git: Annotated[bool, typer.Option("--git", help="Commit it in the repository around.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a prediction of any metric down, hashed and chained, before its run.

    Either RUNS and --at: the table is kept, fitted and forecast. Or --metric, --value and
    --interval95: a number stated by hand or by another method. `observe` seals the outcome,
    `verify` checks and scores, `scoreboard` shows all.
    """
    from foresight.forecast import Subject, Witnesses, register_fit, register_stated
    from foresight.views.forecasts import show_registration

    if (runs is None) == (value is None):
        raise UserError("register either RUNS --at FLOPS, or --metric NAME --value V")
    compute = at if at is not None else six_n_d(target_params, target_tokens)
    subject = Subject(target or name, compute, target_params, target_tokens, target_steps, log)
    witnesses = Witnesses(timestamp, git)
    if runs is not None:
        chosen = {"loss": metric} if metric else {}
        table = table_of(runs, chosen) if runs.is_dir() else runs
        made = register_fit(
            registry, name, subject, table, chosen, backcast=backcast, witnesses=witnesses
        )
    else:
        assert value is not None, "one of the two is given"
        if metric is None:
            raise UserError("--value needs --metric NAME: what is it a prediction of?")
        pairs = {"50": interval50, "80": interval80, "95": interval95}
        stated = {level: pair for level, pair in pairs.items() if pair}
        made = register_stated(
            registry, name, subject, metric, value, stated, backcast=backcast, witnesses=witnesses
        )
    shown = {"path": str(made.path), **made.record}
    emit(shown, as_json, lambda: show_registration(console, made))


@app.command()
def watch(
    run: Annotated[Path, typer.Argument(help="A run directory, or the JSONL log of any trainer.")],
    against: Annotated[
        Path | None,
        typer.Option(help="Registration; default: the one whose target the run directory is."),
    ] = None,
    like: Annotated[
        list[Path] | None,
        typer.Option(help="Finished smaller run (directory or log); at least 4, with --final."),
    ] = None,
    final: Annotated[
        tuple[float, float, float] | None,
        typer.Option(help="Forecast of the final training loss: POINT LOW HIGH, at 95 %."),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Steps of the whole run, if the log has no such field."),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the run ends.")] = False,
    register: Annotated[
        bool, typer.Option("--register", help="Write the forecast in flight down, chained.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the curve in its band: a .svg or .png file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """A running loss curve against the predicted one: alarms, and the end forecast in flight.

    Exit code 0: no alarm. 1: an alarm, named. Under 1 % of clean runs raise one. Log fields:
    step (or iter, global_step, ...), loss (or train_loss, ...), total_steps (or max_steps, ...).
    """
    from foresight.forecast.in_flight import register_in_flight
    from foresight.forecast.watch import Reference, Watch, log_path
    from foresight.runs import Run
    from foresight.views.watch import draw, follow_run, show_look

    if (like is not None) != (final is not None) or (like and (against or register)):
        raise UserError("--like and --final belong together, and replace --against and --register")
    if like and final:
        reference = Reference.like(like, final)
    else:
        reference = Reference.registered(against or Reference.registration_of(run).path)
    if register:
        register_in_flight(run.resolve().parents[1], Run(run))
    look = follow_run(errors, Watch(reference), log_path(run), steps, follow)
    if plot:
        draw(look, plot)
    emit(look.to_json(), as_json, lambda: show_look(console, look))
    if look.alarms:
        raise typer.Exit(1)


@app.command()
def observe(
    name: Annotated[str, typer.Argument(help="Name of a registered prediction.")],
    value: Annotated[float, typer.Option(help="What came out.")],
    registry: Registry = PREDICTIONS,
    file: Annotated[
        Path | None, typer.Option(help="The result it was read from: kept with its hash.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Seal the outcome of a registered prediction; once, for an outcome stands."""
    from foresight.forecast import observe as seal

    outcome = seal(registry, name, value, file)
    emit(outcome, as_json, lambda: console.print(f"sealed {name}: {outcome['value']:g}"))


@app.command()
def verify(directory: Directory = DEMO, as_json: AsJson = False) -> None:
    """Recompute every registration of an experiment directory or a registry from the files alone,
    find any edit, score the forecasts.

    Exit code 0: all holds. 1: something does not, and is named.
    """
    from foresight.forecast import verify as check
    from foresight.views.forecasts import show_verification

    report = check(directory)
    emit(report.to_json(), as_json, lambda: show_verification(console, report))
    if not report.holds:
        raise typer.Exit(1)


@app.command()
def scoreboard(
    directories: Annotated[
        list[Path] | None, typer.Argument(help="Registries and experiment directories.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("scoreboard.html"),
    as_json: AsJson = False,
) -> None:
    """One page of all predictions: intervals, outcomes, scores, coverage; pending ones included."""
    from foresight.report.scoreboard import write_scoreboard
    from foresight.views.forecasts import show_board

    board = write_scoreboard(directories or [PREDICTIONS], out)
    emit({"page": str(out), **board}, as_json, lambda: show_board(console, board, out))
