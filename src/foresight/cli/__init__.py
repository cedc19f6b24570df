"""The command line: one verb per job. Each parses, calls one function, prints."""

from __future__ import annotations

import sys
from typing import NoReturn

# Imported in the order in which `foresight --help` lists the verbs.
from foresight.cli import ladders, forecasts, registry, evals, exams, contamination  # isort: skip
from foresight.cli import posttrain, rubric, redteam  # isort: skip
from foresight.cli import calibration, people, translate  # isort: skip
from foresight.cli import interop, sandbox  # isort: skip
from foresight.cli import serve, view  # isort: skip
from foresight.cli.common import app, errors
from foresight.errors import UserError

__all__ = [
    "app",
    "calibration",
    "contamination",
    "evals",
    "exams",
    "forecasts",
    "interop",
    "ladders",
    "main",
    "people",
    "posttrain",
    "redteam",
    "registry",
    "rubric",
    "sandbox",
    "serve",
    "translate",
    "view",
]


def main() -> NoReturn:
    """Entry point: a user's mistake is one message and exit code 2, Ctrl-C is 130."""
    try:
        # `--json -` (to standard output) is accepted beside `--json`.
        words = sys.argv[1:]
        app([word for at, word in enumerate(words) if word != "-" or words[at - 1] != "--json"])
    except UserError as error:
        _fail(str(error))
    except SystemExit as done:
        if done.code == 130:
            errors.print("interrupted: everything finished is kept, call again to go on")
        raise
    sys.exit(0)


def _fail(message: str) -> NoReturn:
    errors.print(f"[bold red]error:[/bold red] {message}", highlight=False, soft_wrap=True)
    sys.exit(2)
