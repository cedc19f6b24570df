"""`--chat` where a model is examined or exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from foresight.data.corpus import Corpus
from foresight.evals.journal import read_records
from foresight.model.decoder import Decoder
from foresight.posttrain.chat import CHAT_TEMPLATE
from foresight.recipe import Recipe
from foresight.runs import read_json
from tests.command import typed
from tests.evals.models import Written


def test_eval_puts_prompts_as_a_users_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def write(prompt: str, request: Any) -> str:
        asked.append(prompt)
        return "two"

    monkeypatch.setattr(
        "foresight.inference.open.open_model",
        lambda name, keep_end=False: Written(write, name=name),
    )
    (tmp_path / "items.jsonl").write_text(json.dumps({"question": "1 + 1 =", "target": "two"}))
    (tmp_path / "sums.yaml").write_text("items: items.jsonl\nprotocol: free_response\n")
    found = {}
    for name, words in (
        ("plain", ()),
        ("chat", ("--chat",)),
        ("system", ("--chat", "--system", "Be brief.")),
    ):
        out = tmp_path / name
        done = typed("eval", "m", tmp_path / "sums.yaml", *words, "--out", out, "--json")
        assert done.returncode == 0, done.stderr
        [found[name]] = read_records(out / "sums")
    assert asked == [
        "1 + 1 =",
        "<|im_start|>user\n1 + 1 =<|im_end|>\n<|im_start|>assistant\n",
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\n1 + 1 =<|im_end|>\n<|im_start|>assistant\n",
    ]
    assert (
        len({one.model for one in found.values()}) == len({one.key for one in found.values()}) == 3
    )
    assert {one.score for one in found.values()} == {1.0}
    done = typed("eval", "m", tmp_path / "sums.yaml", "--system", "Be brief.")
    assert done.returncode == 2 and "give --chat too" in done.stderr


def test_an_exported_chat_model_has_the_template(
    recipe: Recipe, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Decoder(recipe.at(1e10, seed=1))
    monkeypatch.setattr(
        "foresight.inference.checkpoints.load_model", lambda run: (model, corpus.tokenizer, "m")
    )
    for name, words in (("base", ()), ("chat", ("--chat",))):
        done = typed("export", tmp_path, "--to", tmp_path / name, *words)
        assert done.returncode == 0, done.stderr
        held = read_json(tmp_path / name / "tokenizer_config.json")
        assert held.get("chat_template") == (CHAT_TEMPLATE if words else None)
