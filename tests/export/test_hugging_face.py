"""The exported folder is the same model, logit for logit, to those who read such folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from foresight.data.corpus import Corpus
from foresight.data.loader import Batch
from foresight.data.tokenizer import BOS, SPECIAL_TOKENS, Tokenizer
from foresight.errors import UserError
from foresight.export import hugging_face
from foresight.export.hugging_face import export_hugging_face, tokenizer_json
from foresight.model.decoder import Decoder
from foresight.recipe import Recipe
from foresight.runs import read_json


def transformers() -> Any:
    return pytest.importorskip(
        "transformers", reason="parity is tested against transformers: pip install '.[hf]'"
    )


def decoder(recipe: Recipe, parametrisation: str, qk_norm: bool) -> Decoder:
    """Every multiplier differs from one, no tensor is zero, and scores are far from flat."""
    spec = recipe.at(1e10, seed=3).model_copy(
        update={
            "parametrisation": parametrisation, "qk_norm": qk_norm, "precision": "fp32",
            "base_width": 4, "base_depth": 1, "rope_theta": 500.0,
        }
    )  # fmt: skip
    model = Decoder(spec)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name in model.rules:
            model.weight(name).normal_(std=0.5, generator=generator)
    return model


@torch.no_grad()
def ours(model: Decoder, ids: np.ndarray) -> torch.Tensor:
    """Logits, (B, T, V)."""
    zeros = np.zeros_like(ids)
    batch = Batch(
        inputs=ids, targets=zeros, weights=np.zeros(ids.shape, np.float32),
        positions=np.broadcast_to(np.arange(ids.shape[1]), ids.shape).copy(), segments=zeros,
        patches=np.zeros((0, 3 * model.spec.shape.patch**2), np.uint8), sources=zeros,
    )  # fmt: skip
    return model.logits(model.inputs(batch)).view(*ids.shape, -1)


@torch.no_grad()
def theirs(folder: Path, ids: np.ndarray) -> torch.Tensor:
    loaded = transformers().AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    logits: torch.Tensor = loaded.eval()(torch.from_numpy(ids)).logits
    return logits


@pytest.fixture
def ids(recipe: Recipe) -> np.ndarray:
    return np.random.default_rng(0).integers(64, 512, (3, recipe.architecture.context))


@pytest.mark.parametrize("qk_norm", [False, True], ids=["llama", "qwen3"])
@pytest.mark.parametrize("parametrisation", ["complete", "standard"])
def test_logits_equal_those_of_transformers(
    recipe: Recipe, corpus: Corpus, tmp_path: Path, ids: np.ndarray,
    parametrisation: str, qk_norm: bool,
) -> None:  # fmt: skip
    model = decoder(recipe, parametrisation, qk_norm)
    assert (1.0 in vars(model.multipliers).values()) == (parametrisation == "standard")
    export_hugging_face(model, corpus.tokenizer, tmp_path / "out")
    expected, found = ours(model, ids), theirs(tmp_path / "out", ids)
    assert expected.std() > 0.5
    assert (expected - found).abs().max() < 1e-4
    assert read_json(tmp_path / "out" / "config.json")["model_type"] == (
        "qwen3" if qk_norm else "llama"
    )


@pytest.mark.parametrize("broken", ["_halves", "_ATTENTION_GAIN", "rope", "residual", "logits"])
def test_each_thing_that_is_folded_matters(
    recipe: Recipe, corpus: Corpus, tmp_path: Path, ids: np.ndarray, broken: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    model = decoder(recipe, "complete", qk_norm=True)
    expected, rope = ours(model, ids), hugging_face.config
    if broken == "_halves":
        monkeypatch.setattr(hugging_face, "_halves", lambda weight, head_dim: weight)
    elif broken == "_ATTENTION_GAIN":
        monkeypatch.setattr(hugging_face, "_ATTENTION_GAIN", 1.0)
    elif broken == "rope":
        monkeypatch.setattr(
            hugging_face, "config", lambda spec: rope(spec.model_copy(update={"rope_theta": 1e4}))
        )
    else:
        model.multipliers = type(model.multipliers)(**(vars(model.multipliers) | {broken: 1.0}))
    export_hugging_face(model, corpus.tokenizer, tmp_path / "out")
    assert (expected - theirs(tmp_path / "out", ids)).abs().max() > 1e-3


@pytest.fixture(scope="module")
def exported(recipe: Recipe, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "out"
    export_hugging_face(decoder(recipe, "complete", qk_norm=False), corpus.tokenizer, folder)
    return folder


TEXTS = st.text() | st.lists(
    st.sampled_from(["def ", "\n    ", "x1", "  ", "日本", "é", "🎉", "'re", "return", "\r\n"])
).map("".join)


def test_token_ids_equal_ours_in_transformers(corpus: Corpus, exported: Path) -> None:
    loaded = transformers().AutoTokenizer.from_pretrained(exported)
    assert (loaded.bos_token_id, loaded.eos_token_id, loaded.pad_token_id) == (0, 1, 2)

    @settings(max_examples=200, deadline=None)
    @given(TEXTS)
    def same(text: str) -> None:
        own = corpus.tokenizer.encode(text)
        assert loaded(text, split_special_tokens=True)["input_ids"] == [BOS, *own]
        assert loaded.decode(own) == corpus.tokenizer.decode(own)

    same()


@settings(max_examples=200, deadline=None)
@given(text=TEXTS)
def test_token_ids_equal_ours_in_tokenizers(corpus: Corpus, exported: Path, text: str) -> None:
    fast = Tokenizer.load(exported / "tokenizer.json").fast
    if not any(special in text for special in SPECIAL_TOKENS):
        assert fast.encode(text).ids == [BOS, *corpus.tokenizer.encode(text)]


def test_a_folder_is_written_whole_or_not_at_all(
    recipe: Recipe, corpus: Corpus, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = decoder(recipe, "complete", qk_norm=False)
    names = {path.name for path in exported.iterdir()}
    assert names == {
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json",
    }  # fmt: skip
    weights = load_file(exported / "model.safetensors")
    assert len(weights) == 3 + 9 * model.spec.shape.depth
    assert not any("image" in name for name in weights)
    with pytest.raises(UserError, match="exists already"):
        export_hugging_face(model, corpus.tokenizer, exported)
    monkeypatch.setattr(hugging_face, "tokenizer_json", lambda tokenizer: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_hugging_face(model, corpus.tokenizer, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_the_begin_mark_is_added(corpus: Corpus) -> None:
    made = tokenizer_json(corpus.tokenizer)
    assert made["post_processor"]["special_tokens"]["<|bos|>"]["ids"] == [BOS]
    assert made["model"] == json.loads(corpus.tokenizer.fast.to_str())["model"]
