"""Fine-tuning: what is learned from, and marks that a model has never seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from foresight.data.tokenizer import BOS, Tokenizer
from foresight.document import IM_END, IM_START
from foresight.errors import UserError
from foresight.model.decoder import Decoder
from foresight.posttrain.chat import Message, user
from foresight.posttrain.conversations import Demonstration
from foresight.posttrain.sequences import padded, target_logprobs
from foresight.posttrain.sft import SFT, SFTSettings, encode_demonstrations, introduce_marks
from foresight.recipe import Recipe

ANSWERS = {"a": "one", "b": "two", "c": "three"}
DEMONSTRATIONS = [
    Demonstration(f"{question}{n}", (*user(question), Message.of("assistant", answer)))
    for n in range(40) for question, answer in ANSWERS.items()
]  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(["user\nassistant\none two three a b c\n"] * 9, 320)


@pytest.fixture
def model() -> Decoder:
    recipe = Recipe.named("ledger")
    corpus = recipe.corpus.model_copy(update={"vocab_size": 320})
    return Decoder(recipe.model_copy(update={"corpus": corpus}).at(1e10, 0, width=16))


def test_it_answers_and_learns_nothing_of_the_questions(
    model: Decoder, tokenizer: Tokenizer
) -> None:
    encoded = encode_demonstrations(DEMONSTRATIONS, tokenizer, 8, 96)
    stage = SFT(model, encoded, SFTSettings(epochs=20, rows=4, lr=3e-3))
    rows = [stage.update() for _ in range(stage.steps)]
    assert rows[-1]["loss"] < 0.05 < rows[0]["loss"]
    batch = padded(encoded[:3], 96)
    with torch.no_grad():
        answers, _ = target_logprobs(model, batch)
        everything = batch.weights.copy()
        everything[:] = 1.0
        whole, _ = target_logprobs(model, padded([
            type(one)(one.tokens, np.ones_like(one.weights), one.patches) for one in encoded[:3]
        ], 96))  # fmt: skip
    learned = torch.from_numpy(batch.weights).ne(0)
    assert float(answers[learned].mean()) > -0.05
    assert float(whole[~learned & whole.ne(0)].mean()) < -2.0, "questions are context alone"
    supervised = sum(int((one.weights > 0).sum()) for one in encoded)
    assert sum(row["supervised_tokens"] for row in rows) == pytest.approx(20 * supervised, rel=0.02)


def test_what_cannot_be_learned_from_is_named(tokenizer: Tokenizer) -> None:
    nothing = Demonstration("empty", (*user("?"),))
    with pytest.raises(UserError, match="demonstration empty: no token of the assistant"):
        encode_demonstrations([nothing], tokenizer, 8, 96)
    long = Demonstration("long", (*user("a" * 300), Message.of("assistant", "one")))
    with pytest.raises(UserError, match=r"demonstration long: .* do not fit the context of 96"):
        encode_demonstrations([long], tokenizer, 8, 96)


def test_marks_that_were_never_seen_start_at_the_mean(model: Decoder) -> None:
    embedding, head = model.weight("embed_tokens"), model.weight("lm_head")
    start = embedding.detach().clone()
    introduce_marks(model)
    assert torch.equal(embedding, start), "a fresh model has seen nothing: nothing to go by"
    with torch.no_grad():
        embedding[100:200] += 1.0
        head[100:200] = 0.5
        embedding[IM_END] += 0.25
    introduce_marks(model)
    torch.testing.assert_close(embedding[IM_START], torch.cat(
        [embedding[100:200], embedding[IM_END : IM_END + 1]]).mean(dim=0))  # fmt: skip
    assert torch.equal(embedding[IM_END], start[IM_END] + 0.25), "seen in pre-training: kept"
    assert torch.equal(embedding[BOS], start[BOS])
