"""The command line as a subprocess."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


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
