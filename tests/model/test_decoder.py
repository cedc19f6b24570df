"""The decoder: documents in a row never meet, pictures matter, the mathematics is the plain one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from foresight.data.corpus import Corpus
from foresight.data.loader import Batch
from foresight.model import decoder
from foresight.model.decoder import Decoder
from foresight.recipe import Recipe


@pytest.fixture
def model(recipe: Recipe) -> Decoder:
    model = Decoder(recipe.at(1e10, seed=1))
    with torch.no_grad():  # the head starts at zero: give it something to say
        model.weight("lm_head").normal_(generator=torch.Generator().manual_seed(0))
    return model


@pytest.fixture
def batch(corpus: Corpus, recipe: Recipe) -> Batch:
    mixture = {"programs": 0.7, "pictures": 0.3}  # short documents: several to a row
    return corpus.train_loader(mixture, 96, seed=2).rows(0, 24)


def _alone(batch: Batch, row: int, segment: int) -> Batch:
    """A piece of a packed row as a row of its own."""
    here = batch.segments[row] == segment
    before = int((batch.inputs[:row] == 3).sum() + (batch.inputs[row][: here.argmax()] == 3).sum())
    pictures = int((batch.inputs[row][here] == 3).sum())
    cut = {
        key: getattr(batch, key)[row][here][None]
        for key in ("inputs", "targets", "weights", "positions", "sources")
    }
    return Batch(
        **cut,
        segments=np.zeros_like(cut["inputs"]),
        patches=batch.patches[before : before + pictures],
    )


def _packed_and_alone(model: Decoder, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    packed = model(model.inputs(batch))[1].view(batch.inputs.shape)
    both = []
    for row in range(len(batch.inputs)):
        for segment in range(batch.segments[row].max() + 1):
            inside = torch.from_numpy(batch.segments[row] == segment)
            alone = model(model.inputs(_alone(batch, row, segment)))[1]
            both.append((packed[row][inside], alone))
    return torch.cat([a for a, _ in both]), torch.cat([b for _, b in both])


@torch.no_grad()
def test_a_documents_loss_does_not_depend_on_its_neighbours(model: Decoder, batch: Batch) -> None:
    assert (batch.segments.max(1) > 0).sum() > 3, "the batch must hold packed rows"
    packed, alone = _packed_and_alone(model, batch)
    torch.testing.assert_close(packed, alone, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_neighbours_leak_without_the_mask(
    model: Decoder, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    masked = decoder.causal_mask
    monkeypatch.setattr(decoder, "causal_mask", lambda s: masked(torch.zeros_like(s)))
    packed, alone = _packed_and_alone(model, batch)
    assert (packed - alone).abs().max() > 0.01


@torch.no_grad()
def test_pictures_change_what_follows_them_and_nothing_before(model: Decoder, batch: Batch) -> None:
    row = int((batch.inputs == 3).sum(1).argmax())
    one = _alone(batch, row, int(batch.segments[row][(batch.inputs[row] == 3).argmax()]))
    other = replace(one, patches=255 - one.patches)
    first, second = (model(model.inputs(each))[1] for each in (one, other))
    start = int((one.inputs[0] == 3).argmax())
    torch.testing.assert_close(first[:start], second[:start])
    assert (first[start:] - second[start:]).abs().max() > 1e-3


@torch.no_grad()
def test_the_future_is_not_seen(model: Decoder, batch: Batch) -> None:
    one = _alone(batch, 0, 0)
    inputs = one.inputs.copy()
    inputs[0, 50:] = 70
    first = model(model.inputs(one))[1][:49]
    second = model(model.inputs(replace(one, inputs=inputs)))[1][:49]
    torch.testing.assert_close(first, second)


@torch.no_grad()
@pytest.mark.parametrize("qk_norm", [False, True])
def test_equals_the_plain_mathematics_in_double(
    recipe: Recipe, batch: Batch, qk_norm: bool
) -> None:
    spec = recipe.at(1e10, width=24).model_copy(update={"qk_norm": qk_norm})
    model = Decoder(spec)
    model.weight("lm_head").data.normal_()
    one = _alone(batch, 0, 0)
    torch.testing.assert_close(
        model.logits(model.inputs(one)).double(), _plain_logits(model, one), rtol=1e-3, atol=1e-4
    )


def test_bf16_products_stay_near_fp32(recipe: Recipe, batch: Batch) -> None:
    """Same weights: losses within 1 %, gradients within 5 % of their norm; not the same bits."""
    spec = recipe.at(1e10, width=32, seed=1)
    found = {}
    for precision in ("fp32", "bf16"):
        model = Decoder(spec.model_copy(update={"precision": precision}))
        model.weight("lm_head").data.normal_(generator=torch.Generator().manual_seed(0))
        loss, _ = model(model.inputs(batch))
        loss.backward()
        assert all(weight.dtype == torch.float32 for weight in model.parameters())
        found[precision] = (loss.item(), {name: model.weight(name).grad for name in model.rules})
    assert found["bf16"][0] == pytest.approx(found["fp32"][0], rel=0.01)
    assert found["bf16"][0] != found["fp32"][0]
    for name, exact in found["fp32"][1].items():
        assert exact is not None
        error = torch.linalg.norm(found["bf16"][1][name] - exact) / torch.linalg.norm(exact)
        assert error < 0.05, (name, float(error))


def _plain_logits(model: Decoder, batch: Batch) -> torch.Tensor:
    """The decoder written from its definition, text rows only, float64, no shared code."""
    spec, s = model.spec, model.spec.shape
    w = {name: model.weight(name).double() for name in model.rules}

    def norm(x: torch.Tensor) -> torch.Tensor:
        return x / (x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()

    x = w["embed_tokens"][torch.from_numpy(batch.inputs[0])]
    length = len(x)
    place = torch.arange(length, dtype=torch.float64)[:, None]
    pair = torch.arange(s.head_dim // 2, dtype=torch.float64)
    angle = place * spec.rope_theta ** (-2 * pair / s.head_dim)

    def turn(y: torch.Tensor) -> torch.Tensor:
        even, odd = y[..., 0::2], y[..., 1::2]
        out = torch.empty_like(y)
        out[..., 0::2] = even * angle.cos() - odd * angle.sin()
        out[..., 1::2] = even * angle.sin() + odd * angle.cos()
        return out

    branch = spec.base_depth / s.depth
    hidden = torch.ones(length, length, dtype=torch.bool).triu(1)
    for layer in range(s.depth):
        at = f"layers.{layer}."
        y = norm(x)
        q, k, v = (
            (y @ w[at + name].T).view(length, s.heads, s.head_dim).transpose(0, 1)
            for name in ("q_proj", "k_proj", "v_proj")
        )
        scale = s.head_dim**-0.5
        if spec.qk_norm:
            q, k, scale = norm(q), norm(k), 1.2 * scale
        scores = (turn(q) @ turn(k).mT * scale).masked_fill(hidden, -torch.inf)
        mixed = (scores.softmax(-1) @ v).transpose(0, 1).reshape(length, s.width)
        x = x + branch * mixed @ w[at + "o_proj"].T
        y = norm(x)
        gate = y @ w[at + "gate_proj"].T
        up = y @ w[at + "up_proj"].T
        x = x + branch * (gate * gate.sigmoid() * up) @ w[at + "down_proj"].T
    return norm(x) @ w["lm_head"].T * (spec.base_width / s.width)
