from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foresight.errors import UserError
from foresight.forecast.training_log import TrainingLog


def write(path: Path, *records: object) -> None:
    with path.open("a") as stream:
        stream.writelines(json.dumps(record) + "\n" for record in records)


@pytest.mark.parametrize(
    "record",
    [
        {"step": 3, "loss": 2.5, "tokens": 30, "total_steps": 9},
        {"iter": 3, "train/loss": 2.5, "consumed_tokens": 30, "train_iters": 9},
        {"global_step": "3", "Train Loss": "2.5", "tokens_seen": 30.0, "max_steps": 9},
        {"_step": 3.0, "lm loss": 2.5, "val/loss": 9.0, "num_tokens": 30, "num_iterations": 9},
    ],
)
def test_fields_are_recognised(tmp_path: Path, record: dict[str, object]) -> None:
    write(tmp_path / "log", record)
    log = TrainingLog.read(tmp_path / "log")
    assert log.rows == {3: (2.5, 30.0)} and log.total == 9


def test_a_log_without_training_losses_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "log", {"step": 1, "val/loss": 3.0}, {"step": 2, "loss": None})
    with pytest.raises(UserError, match="no record with a step"):
        TrainingLog.read(tmp_path / "log")
    with pytest.raises(UserError, match=r"absent.*cannot be read"):
        TrainingLog.read(tmp_path / "absent")


def test_torn_lines_wait_or_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "log"
    write(path, {"step": 1, "loss": 3.0})
    with path.open("a") as stream:
        stream.write('{"step": 2, "lo')
    log = TrainingLog.read(path)
    assert list(log.rows) == [1] and log.skipped == 0 and not log.poll()
    with path.open("a") as stream:
        stream.write('ss": 2.9}\n{"step": 3, "lo\n{"step": 3, "loss": 2.8}\n[1]\n')
    assert log.poll() and list(log.rows) == [1, 2, 3] and log.skipped == 2


def test_a_resumed_run_takes_back_its_later_steps(tmp_path: Path) -> None:
    path = tmp_path / "log"
    write(path, *({"step": s, "loss": 4.0 - s / 10} for s in range(1, 9)))
    log = TrainingLog.read(path)
    write(path, {"step": 5, "loss": 9.0}, {"step": 6, "loss": 8.0})
    assert log.poll()
    assert list(log.rows) == [1, 2, 3, 4, 5, 6] and log.rows[5][0] == 9.0 and log.step == 6


def test_a_file_that_shrank_or_was_replaced_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "log"
    write(path, *({"step": s, "loss": 3.0} for s in range(1, 9)))
    log = TrainingLog.read(path)
    path.write_text('{"step": 1, "loss": 5.0}\n')
    assert log.poll() and log.rows == {1: (5.0, None)}
    other = tmp_path / "other"
    write(other, *({"step": s, "loss": 7.0} for s in range(1, 99)))
    other.replace(path)
    assert log.poll() and log.step == 98 and log.rows[1][0] == 7.0


@pytest.mark.parametrize("bad", ["NaN", "Infinity", '"nan"', "-1.0"])
def test_a_loss_that_is_no_number_ends_the_curve(tmp_path: Path, bad: str) -> None:
    path = tmp_path / "log"
    write(path, {"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.9})
    with path.open("a") as stream:
        stream.write(f'{{"step": 3, "loss": {bad}}}\n')
    log = TrainingLog.read(path, 10)
    assert log.broken_at == 3
    fractions, losses = log.curve(10)
    np.testing.assert_allclose(fractions, [0.1, 0.2])
    assert losses.tolist() == [3.0, 2.9]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=60), st.data())
def test_reading_in_pieces_is_reading_at_once(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("pieces")
    text = "".join(f'{{"step": {s}, "loss": {1 + n}}}\n' for n, s in enumerate(steps)).encode()
    (folder / "whole").write_bytes(text)
    whole = TrainingLog.read(folder / "whole")
    cut = data.draw(st.integers(0, len(text)))
    (folder / "parts").write_bytes(text[:cut])
    parts = TrainingLog(folder / "parts")
    parts.poll()
    with (folder / "parts").open("ab") as stream:
        stream.write(text[cut:])
    parts.poll()
    assert parts.rows == whole.rows
    assert list(whole.rows) == sorted(whole.rows) and whole.step == steps[-1]
    assert all(math.isfinite(loss) for loss, _ in whole.rows.values())
