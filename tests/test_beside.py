"""Post-training in the background: its result, its errors, and an end when the demo ends."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

import pytest
from rich.console import Console

from foresight.beside import Beside
from foresight.errors import UserError
from foresight.posttrain.chain import ChainSettings, Outcome
from foresight.posttrain.ppo import PPOSettings
from foresight.posttrain.sft import SFTSettings
from foresight.recipe import Recipe

SETTINGS = ChainSettings(
    demonstrations=1000, compared=300, labelled=100, asked=16, control_updates=0,
    question_betas=(), sft=SFTSettings(epochs=4, lr=5e-3),
    ppo=PPOSettings(updates=2, prompts=8, max_tokens=24),
)  # fmt: skip


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    raw = Recipe.named("ledger").model_dump(mode="json")
    raw["corpus"] |= {"generated_documents": 1500}
    raw["ladder"] |= {"targets": [2e9], "rungs": [1e9], "seeds": [1]}
    return Recipe.model_validate(raw)


def test_it_is_done_beside_and_once(recipe: Recipe, tmp_path: Path) -> None:
    with Beside(tmp_path / "ledger", recipe, SETTINGS) as beside:
        found = beside.result(Console(quiet=True))
    assert Outcome.read(tmp_path / "ledger" / "posttrain") == found
    assert [one.name for one in found.arms] == ["base", "sft", "ppo-rules-0.05"]
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "ledger").rglob("*.json*")}
    with Beside(tmp_path / "ledger", recipe, SETTINGS) as beside:
        assert beside.result(Console(quiet=True)) == found
    assert len(written) > 10
    for path, at in written.items():
        assert path.stat().st_mtime_ns == at, f"what is finished is not done again: {path}"


def test_its_errors_are_told(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger" / "recipe.yaml").write_text("name: other\n")
    with (
        Beside(tmp_path / "ledger", recipe, SETTINGS) as beside,
        pytest.raises(UserError, match="differs from recipe"),
    ):
        beside.result(Console(quiet=True))


def test_it_ends_with_what_it_is_beside(recipe: Recipe, tmp_path: Path) -> None:
    before = set(multiprocessing.active_children())
    with pytest.raises(KeyboardInterrupt), Beside(tmp_path / "ledger", recipe, SETTINGS):
        raise KeyboardInterrupt
    ends = time.monotonic() + 10
    while set(multiprocessing.active_children()) - before and time.monotonic() < ends:
        time.sleep(0.05)
    assert not set(multiprocessing.active_children()) - before
