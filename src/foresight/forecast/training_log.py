"""Training logs of any trainer: JSON lines with a step and a loss, read while they grow."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from foresight.errors import UserError
from foresight.forecast.draws import Array

FIELDS: dict[str, tuple[str, ...]] = {
    "step": ("step", "iter", "iteration", "global_step", "train_step", "_step", "update"),
    "loss": ("loss", "train_loss", "training_loss", "lm_loss", "train_lm_loss", "loss_train"),
    "tokens": ("tokens", "num_tokens", "tokens_seen", "train_tokens", "consumed_tokens"),
    "total": (
        "total_steps", "max_steps", "num_steps", "total_iters", "max_iters", "num_iterations",
        "train_iters", "max_train_steps",
    ),
}  # fmt: skip
"""Spellings of each field, the preferred first; compared in lower case, other signs as `_`."""


@dataclass
class TrainingLog:
    """The losses of one run as its file stands; `poll` reads what was appended since.

    A torn last line waits for its rest. A step that is logged again takes the place of the old
    one and of all that followed it (a run resumed from a checkpoint); a file that shrank or was
    replaced is read anew. Lines that are no JSON objects (a writer killed in mid-line) are
    skipped and counted. Lines without a step or loss are none of our business.
    """

    path: Path
    total: int | None = None
    """Steps of the whole run, from the caller or the records."""
    rows: dict[int, tuple[float, float | None]] = field(default_factory=dict)
    """Step -> (loss, tokens), in ascending order of steps. A loss may be NaN or infinite."""
    skipped: int = 0
    _offset: int = 0
    _inode: int = -1

    @classmethod
    def read(cls, path: Path, total: int | None = None) -> TrainingLog:
        """A whole file. Raises UserError naming it if there is no record with step and loss."""
        log = cls(path, total)
        log.poll()
        if not log.rows:
            raise UserError(
                f"{path}: no record with a step ({', '.join(FIELDS['step'][:4])}, ...) and a loss "
                f"({', '.join(FIELDS['loss'][:3])}, ...) among its complete lines"
            )
        return log

    def poll(self) -> bool:
        """Read on; True if records came. Raises UserError if the file cannot be read."""
        try:
            with self.path.open("rb") as stream:
                status = self.path.stat()
                if status.st_ino != self._inode or status.st_size < self._offset:
                    self._offset, self._inode, self.skipped = 0, status.st_ino, 0
                    self.rows.clear()
                stream.seek(self._offset)
                data = stream.read()
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read ({error.strerror})") from None
        complete = data.rfind(b"\n") + 1
        self._offset += complete
        before = len(self.rows), next(reversed(self.rows), None)
        for line in data[:complete].splitlines():
            if line.strip():
                self._add(line)
        return before != (len(self.rows), next(reversed(self.rows), None))

    def _add(self, line: bytes) -> None:
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            self.skipped += 1
            return
        plain = {re.sub(r"[^a-z0-9]+", "_", str(k).lower()): v for k, v in record.items()}
        found = {name: _number(plain, aliases) for name, aliases in FIELDS.items()}
        step, loss, total = found["step"], found["loss"], found["total"]
        if total is not None and math.isfinite(total) and self.total is None:
            self.total = int(total)
        if step is None or loss is None or not math.isfinite(step):
            return
        for later in reversed(list(self.rows) if next(reversed(self.rows), -1) >= step else []):
            if later < step:
                break
            del self.rows[later]
        self.rows[int(step)] = (loss, found["tokens"])

    @property
    def step(self) -> int:
        """The last logged step; 0 before the first."""
        return next(reversed(self.rows), 0)

    def curve(self, total: int | None = None) -> tuple[Array, Array]:
        """Fractions of the run and losses, up to the first loss that is no finite positive number.

        `total`: steps of the whole run; default: the last one logged (a finished run).
        """
        steps = np.array(list(self.rows), dtype=np.float64)
        losses = np.array([loss for loss, _ in self.rows.values()])
        bad = ~(np.isfinite(losses) & (losses > 0))
        stop = int(bad.argmax()) if bad.any() else len(steps)
        return steps[:stop] / (total or self.step or 1), losses[:stop]

    @property
    def broken_at(self) -> int | None:
        """The first step whose loss is NaN, infinite, or not above 0."""
        bad = (step for step, (loss, _) in self.rows.items() if not 0 < loss < math.inf)
        return next(bad, None)


def _number(record: dict[str, Any], aliases: tuple[str, ...]) -> float | None:
    """The first alias that holds a number ("nan" and "inf" are some; null is not)."""
    for alias in aliases:
        value = record.get(alias)
        if isinstance(value, (int, float, str)) and not isinstance(value, bool):
            try:
                return float(value)
            except ValueError:
                continue
    return None
