"""Written whole or not at all; a changed byte is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from foresight.errors import UserError
from foresight.training.checkpoint import Checkpoint, restore

WEIGHTS = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(4)}


def _write(directory: Path, step: int) -> Checkpoint:
    return Checkpoint.write(directory, step, WEIGHTS, {"first/a": torch.zeros(2, 3)})


def test_a_checkpoint_comes_back_and_two_are_kept(tmp_path: Path) -> None:
    for step in (5, 10, 15):
        _write(tmp_path, step)
    assert [one.step for one in Checkpoint.all(tmp_path)] == [10, 15]
    latest = Checkpoint.latest(tmp_path)
    assert latest is not None
    loaded = latest.load("weights")
    assert all(torch.equal(loaded[name], WEIGHTS[name]) for name in WEIGHTS)


def test_an_unmarked_checkpoint_does_not_exist(tmp_path: Path) -> None:
    _write(tmp_path, 5)
    _write(tmp_path, 10).mark.unlink()
    latest = Checkpoint.latest(tmp_path)
    assert latest is not None and latest.step == 5


@given(st.data())
def test_any_flipped_bit_is_named(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    checkpoint = _write(tmp_path_factory.mktemp("c"), 5)
    path = checkpoint.path / "weights.safetensors"
    raw = bytearray(path.read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(raw)
    with pytest.raises(UserError, match=r"weights\.safetensors: its bytes are not"):
        checkpoint.load("weights")


def test_a_truncated_checkpoint_is_named(tmp_path: Path) -> None:
    checkpoint = _write(tmp_path, 5)
    path = checkpoint.path / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(UserError, match=r"delete .* to resume from the checkpoint before"):
        checkpoint.load("weights")


def test_other_shapes_are_named(tmp_path: Path) -> None:
    checkpoint = _write(tmp_path, 5)
    with pytest.raises(UserError, match=r"tensor 'a' should be \(3, 3\), is \(2, 3\)"):
        restore({"a": torch.zeros(3, 3)}, checkpoint.load("weights"), checkpoint.path)
    with pytest.raises(UserError, match=r"tensor 'c' should be .* is nothing"):
        restore({"c": torch.zeros(1)}, checkpoint.load("weights"), checkpoint.path)
