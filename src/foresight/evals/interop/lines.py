"""Files of one JSON object a line, as other frameworks write them."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from foresight.errors import UserError

POINTER = b"version https://git-lfs"


def read_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Pairs of ("FILE, line N", object) of a .jsonl or .jsonl.gz file; empty lines are left out.

    Unlike a log of ours such a file was written in one go: a torn last line is an error, for
    what it lost cannot be known. Raises UserError naming file and line.
    """
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    if data.startswith(POINTER):
        raise UserError(f"{path}: a Git LFS pointer, not the data; fetch it with git lfs pull")
    # Not splitlines: JSON strings may hold U+2028 and other signs that it takes for line ends.
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            value = json.loads(line)
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise UserError(f"{where}: not valid JSON ({error})") from None
        if not isinstance(value, dict):
            raise UserError(f"{where}: expected an object, found {type(value).__name__}")
        yield where, value
