"""CSV files of an exam."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from foresight.errors import UserError


def read_table(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Pairs of (where, row); lines that start with # are left out.

    Raises UserError if the file cannot be read or its header is not exactly these columns.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    header: list[str] | None = None
    for at, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        cells = next(csv.reader(io.StringIO(line)))
        where = f"{path}, line {at}"
        if header is None:
            header = cells
            if sorted(header) != sorted(columns):
                raise UserError(f"{where}: expected the columns {', '.join(columns)}")
            continue
        if len(cells) != len(header):
            raise UserError(f"{where}: {len(cells)} cells under {len(header)} columns")
        yield where, dict(zip(header, cells, strict=True))


def number(where: str, row: dict[str, str], field: str) -> float:
    """A finite number of a row. Raises UserError."""
    try:
        value = float(row[field])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{where}, field {field}: {row[field]!r} is no number")
    return value
