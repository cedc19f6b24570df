"""One dial: everything follows from compute, and bad recipes are named."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from foresight.errors import UserError
from foresight.recipe import Recipe

SHIPPED = ["pocket", "overnight", "single-gpu"]


@pytest.mark.parametrize("name", SHIPPED)
def test_size_and_data_grow_with_compute(name: str) -> None:
    recipe = Recipe.named(name)
    runs = [recipe.at(compute) for compute in sorted(recipe.ladder.rungs + recipe.ladder.targets)]
    for smaller, larger in pairwise(runs):
        assert larger.shape.active_params >= smaller.shape.active_params
        planned = [s.tokens * s.shape.flops_per_token() for s in (smaller, larger)]
        assert planned[0] < planned[1]


@pytest.mark.parametrize("name", SHIPPED)
def test_the_compute_asked_for_is_spent(name: str) -> None:
    recipe = Recipe.named(name)
    for compute in recipe.ladder.rungs + recipe.ladder.targets:
        spec = recipe.at(compute)
        assert spec.tokens * spec.shape.flops_per_token() == pytest.approx(compute, rel=0.01)


@pytest.mark.parametrize("name", SHIPPED)
def test_timescales_are_fixed_shares_of_the_run(name: str) -> None:
    recipe = Recipe.named(name)
    for compute in recipe.ladder.rungs + recipe.ladder.targets:
        spec = recipe.at(compute)
        if recipe.optimizer.decay_timescale:
            decay = spec.matrix_lr * spec.weight_decay * spec.steps
            assert decay == pytest.approx(1 / recipe.optimizer.decay_timescale)
        if 20 < spec.warmup_steps < spec.steps // 2:
            share = spec.warmup_steps / spec.steps
            assert share == pytest.approx(recipe.optimizer.warmup_share, abs=1 / spec.steps)
        averaged = (1 - spec.beta2) * spec.steps
        if 1e-4 < 1 - spec.beta2 < 0.05:
            assert averaged == pytest.approx(recipe.optimizer.beta2_steps)


@given(st.floats(min_value=1e10, max_value=1e22))
def test_every_compute_resolves(compute: float) -> None:
    spec = Recipe.named("pocket").at(compute)
    assert spec.shape.width % spec.shape.head_dim == 0
    assert spec.tokens * spec.shape.flops_per_token() == pytest.approx(compute, rel=0.02)


def test_the_same_recipe_resolves_to_the_same_hash() -> None:
    first, second = (Recipe.named("pocket").at(1e11, seed=3) for _ in range(2))
    assert first.sha256 == second.sha256
    assert first.sha256 != Recipe.named("pocket").at(1e11, seed=4).sha256


def _written(path: Path, **changes: object) -> Path:
    raw = yaml.safe_load(Recipe.named("pocket").text)
    for key, value in changes.items():
        section, _, field = key.partition("__")
        if field:
            raw[section][field] = value
        else:
            raw[section] = value
    path.write_text(yaml.safe_dump(raw))
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"optimizer__matrx_lr": 0.1},
            "'optimizer.matrx_lr' is not a recipe field; known fields: matrix",
        ),
        ({"optimizer__matrix_lr": -1}, "'optimizer.matrix_lr'.*greater than 0, got -1"),
        ({"corpus__vocab_size": 1000}, "'corpus.vocab_size'.*multiple of 64, got 1000"),
        ({"ladder__seeds": [1]}, "ladder.seeds has 1 entries for"),
        ({"name": "No Spaces"}, "'name'"),
        ({"ladder__targets": [1.53e12, 1.5e12]}, "ladder.targets: two are equal"),
        ({"ladder__trained_targets": 4}, "ladder.trained_targets is 4 of 2 targets"),
        (
            {"corpus__mixture": {"code": 1.0}, "ladder__metric": "losses/programs"},
            "ladder.metric is 'losses/programs'; this mixture has bits_per_byte/code, losses/code",
        ),
        ({"transfer": {"widths": [20, 80]}}, r"transfer.widths \(20, 80\) must be multiples of"),
    ],
)
def test_a_bad_field_is_named(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    path = _written(tmp_path / "bad.yaml", **changes)
    with pytest.raises(UserError, match=message) as caught:
        Recipe.load(path)
    assert str(path) in str(caught.value)


def test_a_saved_recipe_is_the_recipe(tmp_path: Path) -> None:
    recipe = Recipe.named("pocket")
    recipe.save(tmp_path / "recipe.yaml")
    assert Recipe.load(tmp_path / "recipe.yaml") == recipe
    _written(tmp_path / "other.yaml", seed=5)
    assert Recipe.load(tmp_path / "other.yaml").sha256 != recipe.sha256


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [", ""])
def test_a_file_that_is_no_recipe(tmp_path: Path, text: str) -> None:
    path = tmp_path / "no.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=str(path)):
        Recipe.load(path)


def test_too_little_compute_is_refused() -> None:
    with pytest.raises(UserError, match="fewer than 50"):
        Recipe.named("pocket").at(1e8)
    with pytest.raises(UserError, match="must be a positive number"):
        Recipe.named("pocket").at(float("nan"))


def test_an_unknown_recipe_lists_the_known() -> None:
    with pytest.raises(UserError, match="overnight, pocket, single-gpu"):
        Recipe.named("pockett")
