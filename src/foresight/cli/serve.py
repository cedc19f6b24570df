"""Verbs of the service: serve, key, improve."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from foresight.cli.common import AsJson, app, console, emit
from foresight.errors import UserError


@app.command()
def serve(
    what: Annotated[
        list[Path], typer.Argument(help="Settings (YAML), or run directories to be served.")
    ],
    host: Annotated[str | None, typer.Option(help="Address; default: this machine alone.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535)] = None,
    keys: Annotated[
        Path | None, typer.Option(help="File of keys; `foresight key` adds one.")
    ] = None,
) -> None:
    """Serve models behind OpenAI's API, with a chat page, until Ctrl-C.

    A run is called what its directory is called.
    """
    from foresight.serve.app import log_to_stderr
    from foresight.serve.app import serve as run
    from foresight.serve.settings import ServiceSettings

    if len(what) == 1 and what[0].suffix in (".yaml", ".yml"):
        settings = ServiceSettings.read(what[0])
    else:
        if len({one.resolve().name for one in what}) < len(what):
            raise UserError("two runs have one name; give them names in a file of settings")
        models = {one.resolve().name: str(one) for one in what}
        settings = ServiceSettings(models=models).beside(Path.cwd())
    given = {"host": host, "port": port, "keys": keys}
    settings = settings.model_copy(
        update={name: value for name, value in given.items() if value is not None}
    )
    log_to_stderr()
    console.print(
        f"serving {', '.join(settings.models)} at http://{settings.host}:{settings.port}/ "
        f"({'with keys' if settings.keys else 'without keys: this machine alone'}); "
        f"the API is below /v1"
    )
    run(settings)


@app.command()
def key(
    file: Annotated[Path, typer.Argument(help="File of keys, made if it is not there.")],
    name: Annotated[str, typer.Argument(help="Whose key.")],
    role: Annotated[str, typer.Option(help="user, reviewer or admin.")] = "user",
    as_json: AsJson = False,
) -> None:
    """Make a key. It is told this once; the file holds its hash."""
    from foresight.serve.keys import RANK, add_key

    if role not in RANK:
        raise UserError(f"--role {role}: one of {', '.join(RANK)}")
    secret = add_key(file, name, role)
    emit(
        {"name": name, "role": role, "key": secret},
        as_json,
        lambda: console.print(f"{name} ({role}): {secret}", highlight=False, soft_wrap=True),
    )


@app.command()
def improve(
    policy: Annotated[Path, typer.Argument(help="The policy in use (YAML).")],
    to: Annotated[Path, typer.Option(help="Folder of the new policy and its classifier.")],
    database: Annotated[
        str, typer.Option(help="The audit log: sqlite:///FILE or postgresql+psycopg://...")
    ] = "sqlite:///audit.db",
    rows: Annotated[
        Path | None, typer.Option(help="Rows of an earlier classifier, to be learned from too.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """From reviewed cases: train the classifier anew, set thresholds, judge old and new policy by
    cases that neither was made from.

    The new policy is written whatever comes out; `POST /admin/policy` puts it into use.
    """
    from foresight.serve.audit import AuditLog
    from foresight.serve.improve import improve as run
    from foresight.views.service import show_improvement

    log = AuditLog(database)
    try:
        found = run(log, policy, to, rows)
    finally:
        log.close()
    told = {**asdict(found), "better": found.is_better, "policy": str(to / "policy.yaml")}
    emit(told, as_json, lambda: show_improvement(console, found, to))
