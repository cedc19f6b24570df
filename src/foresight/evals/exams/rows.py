"""Rows of a CSV file, each with the place where it stands."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from foresight.errors import UserError
from foresight.evals.files import read_text


@dataclass(frozen=True)
class Row:
    """`where`: "FILE, line N"."""

    where: str
    fields: dict[str, str]

    def text(self, name: str) -> str:
        """Raises UserError if the field is empty."""
        if not self.fields[name]:
            raise UserError(f"{self.where}, field {name}: empty")
        return self.fields[name]

    def number(self, name: str) -> float:
        """Raises UserError if the field is no finite number."""
        try:
            value = float(self.fields[name])
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise UserError(f"{self.where}, field {name}: {self.fields[name]!r} is no number")
        return value


def rows_of(path: Path, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> Iterator[Row]:
    """Rows under a header; empty lines are left out.

    Raises UserError naming file and line: no UTF-8, a column missing or unknown, a row with more
    or fewer fields than the header.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""))
    header = [name.strip() for name in next(reader, [])]
    for name in required:
        if name not in header:
            raise UserError(f"{path}, line 1: no column {name}; expected {', '.join(required)}")
    for name in header:
        if name not in (*required, *optional) or header.count(name) > 1:
            raise UserError(
                f"{path}, line 1: column {name!r} is unknown or stands twice; expected "
                f"{', '.join((*required, *optional))}"
            )
    for fields in reader:
        if not fields:
            continue
        where = f"{path}, line {reader.line_num}"
        if len(fields) != len(header):
            raise UserError(f"{where}: {len(fields)} fields under {len(header)} columns")
        yield Row(where, dict(zip(header, (one.strip() for one in fields), strict=True)))
