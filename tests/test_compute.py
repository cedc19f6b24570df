"""The documented FLOP count is what torch multiplies."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from foresight.compute import Shape
from foresight.data.corpus import Corpus
from foresight.model import decoder
from foresight.model.decoder import Decoder
from foresight.recipe import Recipe


def _plain_cross_entropy(x, head, targets, weights):  # type: ignore[no-untyped-def]
    nats = torch.nn.functional.cross_entropy(x @ head.T, targets, reduction="none")
    return (nats * weights).sum(), nats


@pytest.mark.parametrize("width", [16, 48])
def test_flops_equal_torchs_counter(
    recipe: Recipe, corpus: Corpus, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plain head stands in for the fused one, which hides its backward from the counter."""
    monkeypatch.setattr(decoder, "linear_cross_entropy", _plain_cross_entropy)
    spec = recipe.at(1e10, width=width)
    model = Decoder(spec)
    batch = corpus.train_loader(spec.mixture, spec.shape.context, 0).rows(0, 8)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        loss, _ = model(model.inputs(batch))
        loss.backward()
    positions = batch.inputs.size
    share = len(batch.patches) / positions
    assert share > 0, "the batch must hold pictures for the image path to count"
    # The gradients of pixels are never made: 2 instead of 4 backward FLOPs per weight there.
    skipped = 2 * 3 * spec.shape.patch**2 * width * len(batch.patches)
    ours = positions * spec.shape.flops_per_token(share) - skipped
    assert counter.get_total_flops() == pytest.approx(ours, rel=1e-9)
    assert counter.get_total_flops() == pytest.approx(ours + skipped, rel=0.01)


def test_params_are_the_models(recipe: Recipe) -> None:
    spec = recipe.at(1e10)
    assert sum(w.numel() for w in Decoder(spec).parameters()) == spec.shape.params


def test_no_overflow_at_any_size() -> None:
    shape = Shape(
        width=2**17, depth=2**9, head_dim=128, ffn=2**19, vocab=2**18, context=2**20, patch=14
    )
    flops = shape.flops_per_token() * float(np.float64(1e16))
    assert flops > 2.0**63 and np.isfinite(flops)
