"""Verbs about the sandbox for generated code."""

from __future__ import annotations

from dataclasses import asdict

import typer

from foresight.cli.common import AsJson, app, console, emit

sandbox = typer.Typer(help="The sandbox for generated code.", no_args_is_help=True)
app.add_typer(sandbox, name="sandbox")


@sandbox.callback()
def group() -> None:
    """The sandbox for generated code."""


@sandbox.command()
def check(as_json: AsJson = False) -> None:
    """What confines generated code on this machine, tried out. Exit code 2 if something lacks."""
    from foresight.evals.sandbox import check as check_sandbox
    from foresight.views import show_rows

    report = check_sandbox()
    rows = [
        {"mechanism": name, "in force": "yes" if held else "[bold red]no[/bold red]"}
        for name, held in report.mechanisms.items()
    ]
    value = asdict(report) | {"usable": report.missing is None}
    emit(value, as_json, lambda: show_rows(console, "Sandbox", rows))
    report.require()
