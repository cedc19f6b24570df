"""What must hold over width and depth for one set of rates to serve all - and its controls.

Each check is run under the standard parametrisation too, where it must fail: a test that
both pass has no power.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from foresight.data.corpus import Corpus
from foresight.data.loader import Batch
from foresight.model.decoder import Decoder
from foresight.model.parametrisation import multipliers, tensor_rules
from foresight.recipe import Recipe, RunSpec
from foresight.training.optimizer import Optimizer, orthogonalise, schedule

GOLDEN = Path(__file__).parent / "golden_groups.json"
WIDTHS = (32, 64, 128, 256)
DEPTHS = (2, 4, 8, 16)


def _spec(width: int = 64, depth: int = 2, **changes: Any) -> RunSpec:
    recipe = Recipe.named("pocket")
    spec = recipe.at(1e12, width=width)
    shape = spec.shape.model_copy(update={"depth": depth, "context": 96, "vocab": 512})
    # The same rates at every size: what differs is the parametrisation alone.
    update = {
        "shape": shape,
        "steps": 400,
        "warmup_steps": 1,
        "batch_rows": 8,
        "matrix_lr": 0.0625,
        "embedding_lr": 0.5,
        "head_lr": 0.08,
        "weight_decay": 0.1,
    }
    return RunSpec.model_validate(spec.model_dump() | update | changes)


ARMS: dict[str, dict[str, Any]] = {
    "muon": {},
    "adamw": {"matrix": "adamw", "matrix_lr": 2.0**-7},
}
STANDARD = {"parametrisation": "standard", "matrix": "adamw", "matrix_lr": 2.0**-7}


def _slope(sizes: tuple[int, ...], values: list[float]) -> float:
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def _batch(corpus: Corpus, seed: int) -> Batch:
    return corpus.train_loader({"code": 0.8, "pictures": 0.2}, 96, seed).rows(0, 8)


def _train(spec: RunSpec, corpus: Corpus, steps: int) -> Decoder:
    model = Decoder(spec)
    optimizer = Optimizer(spec, model.rules, {name: model.weight(name) for name in model.rules})
    for step in range(steps):
        batch = _batch(corpus, 100 + step)
        for weight in model.parameters():
            weight.grad = None
        loss, _ = model(model.inputs(batch))
        (loss / batch.weights.sum()).backward()
        optimizer.step(step, schedule(spec, step))
    return model


@torch.no_grad()
def _sizes(model: Decoder, batch: Batch) -> dict[str, float]:
    """Mean |x| of the residual stream after the blocks and of the logits."""
    inputs = model.inputs(batch)
    x = model.embed(inputs)
    for layer in range(model.spec.shape.depth):
        x = model.block(x, inputs, layer)
    return {"residual": float(x.abs().mean()), "logits": float(model.logits(inputs).abs().mean())}


def _growth(
    corpus: Corpus, sizes: tuple[int, ...], key: str, steps: int, **changes: Any
) -> dict[str, float]:
    """Log-log slope of activations over width or depth after `steps`, mean of two seeds."""
    found: dict[str, list[float]] = {"residual": [], "logits": []}
    for size in sizes:
        each = [
            _sizes(
                _train(_spec(**{key: size}, seed=seed, **changes), corpus, steps), _batch(corpus, 0)
            )
            for seed in (0, 1)
        ]
        for name, values in found.items():
            values.append(float(np.mean([one[name] for one in each])))
    return {name: _slope(sizes, values) for name, values in found.items()}


@pytest.mark.parametrize("arm", ARMS)
def test_coordinates_do_not_grow_with_width(corpus: Corpus, arm: str) -> None:
    slopes = _growth(corpus, WIDTHS, "width", 10, **ARMS[arm])
    assert max(map(abs, slopes.values())) < 0.2, slopes


def test_coordinates_grow_under_the_standard_parametrisation(corpus: Corpus) -> None:
    slopes = _growth(corpus, WIDTHS, "width", 10, **STANDARD)
    assert max(slopes.values()) > 0.5, slopes


@pytest.mark.parametrize("arm", ARMS)
def test_coordinates_do_not_grow_with_depth(corpus: Corpus, arm: str) -> None:
    slopes = _growth(corpus, DEPTHS, "depth", 6, **ARMS[arm])
    assert max(map(abs, slopes.values())) < 0.2, slopes


def test_the_residual_grows_with_depth_without_its_multiplier(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "foresight.model.decoder.multipliers",
        lambda spec: multipliers(spec).__class__(residual=1.0, logits=multipliers(spec).logits),
    )
    assert _growth(corpus, DEPTHS, "depth", 6)["residual"] > 0.2


def _one_step_change(corpus: Corpus, spec: RunSpec) -> float:
    """RMS over hidden matrices of |dW| / sqrt(fan_out / fan_in), spectral norm, after one step."""
    before = Decoder(spec)
    after = _train(spec, corpus, 2)  # the head starts at zero: gradients reach the blocks at step 2
    changes = []
    for name, rule in before.rules.items():
        if rule.role == "hidden" and name.startswith("layers."):
            change = after.weight(name).detach() - before.weight(name).detach()
            # The direction a gradient step moves most is what activations will meet.
            norm = torch.linalg.matrix_norm(change, 2)
            fan_out, fan_in = rule.shape
            changes.append(float(norm / (fan_out / fan_in) ** 0.5))
    return float(np.sqrt(np.mean(np.square(changes))))


@pytest.mark.parametrize("arm", ARMS)
def test_one_update_moves_features_alike_at_every_width(corpus: Corpus, arm: str) -> None:
    moved = [_one_step_change(corpus, _spec(width=width, **ARMS[arm])) for width in WIDTHS]
    assert abs(_slope(WIDTHS, moved)) < 0.2, moved


def test_one_update_moves_features_more_the_wider_under_standard(corpus: Corpus) -> None:
    moved = [_one_step_change(corpus, _spec(width=width, **STANDARD)) for width in WIDTHS]
    assert _slope(WIDTHS, moved) > 0.5, moved


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1, 24, 24), (2, 16, 64), (1, 48, 96)])
def test_orthogonalised_matrices_have_unit_singular_values(
    shape: tuple[int, int, int], dtype: torch.dtype
) -> None:
    stack = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(stack, dtype).float())
    assert values.min() > 0.7 and values.max() < 1.2
    # Scale of the gradient must not matter.
    torch.testing.assert_close(
        orthogonalise(stack * 1e-6), orthogonalise(stack), rtol=1e-3, atol=1e-3
    )


def test_orthogonalising_low_rank_and_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    low = torch.randn(1, 24, 2, generator=generator) @ torch.randn(1, 2, 24, generator=generator)
    values = torch.linalg.svdvals(orthogonalise(low))[0]
    assert (values[:2] > 0.7).all() and values.max() < 1.2
    assert orthogonalise(torch.zeros(1, 8, 8)).abs().max() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rank", [1, 2, 8])
def test_no_singular_value_runs_away(rank: int, dtype: torch.dtype) -> None:
    """Nearly low rank, as gradients are: the largest value lies at the end of the interval."""
    generator = torch.Generator().manual_seed(rank)
    for rows, columns in ((8, 8), (8, 192), (64, 192)):
        stack = torch.randn(100, rows, rank, generator=generator) @ torch.randn(
            100, rank, columns, generator=generator
        )
        stack += 1e-3 * torch.randn(stack.shape, generator=generator)
        assert torch.linalg.matrix_norm(orthogonalise(stack, dtype).float(), 2).max() < 1.25


def test_muon_updates_have_the_spectral_norm_of_their_rule(corpus: Corpus) -> None:
    spec = _spec(width=64, weight_decay=0.0)
    # The head starts at zero, so the first step moves only the head and the second the rest.
    before, after = Decoder(spec), _train(spec, corpus, 2)
    for name, rule in before.rules.items():
        if rule.optimizer != "muon":
            continue
        change = after.weight(name).detach() - before.weight(name).detach()
        norm = float(torch.linalg.matrix_norm(change, 2))
        share = sum(schedule(spec, step) for step in range(2))
        assert norm < 1.2 * share * rule.lr, name


@pytest.mark.parametrize("matrix", ["muon", "adamw"])
def test_at_the_base_shape_scaling_changes_nothing(corpus: Corpus, matrix: str) -> None:
    """At base width and depth every factor is exactly one: bit for bit the unscaled model."""
    spec = _spec(width=64, depth=2, matrix=matrix, matrix_lr=2.0**-5)
    assert asdict(multipliers(spec)) == {"residual": 1.0, "logits": 1.0}
    for name, rule in tensor_rules(spec).items():
        fan_out, fan_in = rule.shape
        if rule.optimizer == "muon":
            assert rule.lr == spec.matrix_lr * (fan_out / fan_in) ** 0.5, name
        elif rule.role == "hidden":
            assert (rule.lr, rule.weight_decay) == (spec.matrix_lr, spec.weight_decay), name
        if rule.optimizer == "adamw":
            assert rule.epsilon == spec.epsilon, name
    scaled = _train(spec, corpus, 3)
    moved = spec.model_copy(update={"base_width": 32, "base_depth": 1})
    other = _train(moved, corpus, 3)
    plain = _train(spec, corpus, 3)
    for name in scaled.rules:
        assert torch.equal(scaled.weight(name), plain.weight(name)), name
    assert not torch.equal(scaled.weight("lm_head"), other.weight("lm_head")), "control"


def _groups() -> dict[str, Any]:
    found = {}
    for width, depth in ((32, 2), (64, 2), (128, 4)):
        for arm, changes in (ARMS | {"standard": STANDARD}).items():
            spec = _spec(width=width, depth=depth, **changes)
            found[f"d{width}-L{depth}-{arm}"] = {
                "multipliers": asdict(multipliers(spec)),
                "tensors": {name: asdict(rule) for name, rule in tensor_rules(spec).items()},
            }
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def test_every_tensor_is_in_its_golden_group() -> None:
    """Rewrite after a deliberate change: python tests/model/test_parametrisation.py"""
    assert _groups() == json.loads(GOLDEN.read_text())


def test_every_weight_has_one_rule_and_no_two_share_storage() -> None:
    model = Decoder(_spec())
    names = {name.replace("/", ".") for name in model.weights}
    assert names == set(model.rules)
    assert len({w.data_ptr() for w in model.weights.values()}) == len(names)


@pytest.mark.parametrize("matrix", ["muon", "adamw"])
def test_updates_do_not_depend_on_the_scale_of_gradients(matrix: str) -> None:
    spec = _spec(matrix=matrix, matrix_lr=2.0**-5, weight_decay=0.0)
    moved = []
    for scale in (1.0, 1e-6):
        model = Decoder(spec)
        weights = {name: model.weight(name) for name in model.rules}
        optimizer = Optimizer(spec, model.rules, weights)
        generator = torch.Generator().manual_seed(1)
        for weight in weights.values():
            # No element near zero: there epsilon is meant to act.
            gradient = torch.randn(weight.shape, generator=generator)
            weight.grad = (gradient + 0.5 * gradient.sign()) * scale
        optimizer.step(0, 1.0)
        moved.append({name: weight.detach().clone() for name, weight in weights.items()})
    for name in moved[0]:
        start = Decoder(spec).weight(name).detach()
        change = moved[0][name] - start
        error = (moved[1][name] - start - change).abs().max() / change.abs().max()
        assert error < 1e-3, name


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(_groups(), indent=1) + "\n")
