"""The command line as a subprocess."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

from foresight.cli import main


def foresight(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`foresight ARGUMENTS`, one thread, no colours, wide lines."""
    return subprocess.run(
        [sys.executable, "-m", "foresight", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"NO_COLOR": "1", "COLUMNS": "200", "OMP_NUM_THREADS": "1"},
    )


def typed(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The same inside this process, a second faster: for commands that read and write files."""
    words, out, err = ["foresight", *map(str, arguments)], io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", words),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as done:
            code = done.code if isinstance(done.code, int) else 0
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())
