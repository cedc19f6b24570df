"""The engine against the plain forward pass, which has no cache and no neighbours."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foresight.data.corpus import Corpus
from foresight.data.loader import Batch
from foresight.data.tokenizer import BOS, EOS, IMG, Tokenizer
from foresight.document import Image, Text
from foresight.errors import UserError
from foresight.inference.engine import ENDS, FORBIDDEN, Engine
from foresight.inference.language_model import (
    Completion,
    GenerateRequest,
    Parts,
    Sampling,
    ScoreRequest,
)
from foresight.inference.prompt import Prompt, encode_prompt
from foresight.model.decoder import Decoder
from foresight.recipe import Recipe

GREEDY = Sampling(temperature=0.0, max_tokens=12)


@pytest.fixture(scope="module")
def tokenizer(corpus: Corpus) -> Tokenizer:
    return corpus.tokenizer


@pytest.fixture(scope="module", params=["plain", "qk_norm"])
def model(recipe: Recipe, request: pytest.FixtureRequest) -> Decoder:
    spec = recipe.at(1e10, seed=1).model_copy(update={"qk_norm": request.param == "qk_norm"})
    model = Decoder(spec)
    with torch.no_grad():  # the head starts at zero: give it something to say
        model.weight("lm_head").normal_(std=0.3, generator=torch.Generator().manual_seed(0))
        model.weight("lm_head")[EOS] -= 0.05
    return model


@pytest.fixture(params=["small", "packed"])
def matrices(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests' models are too small to pack their matrices: here they are, whatever their size."""
    if request.param == "packed":
        monkeypatch.setattr("foresight.inference.matrix.PACKED", 0)


def picture(seed: int) -> Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    return Image(pixels)


def prompts() -> list[Parts]:
    few_shot = "def add(a, b):\n    return a + b\n\n\n"
    return [
        (Text("import os\n"),),
        (Text(few_shot + "def mul(a, b):\n"),),
        (Text(few_shot + "def sub(a, b):\n"),),
        (picture(1), Text("What is it? ")),
        (picture(1), Text("What colour is it? ")),
        (picture(2), Text("What is it? ")),
        (Text("x"),),
        (Text("Two: "), picture(3), Text(" and "), picture(4), Text(".")),
    ]


def plain_logits(model: Decoder, prompt: Prompt, more: list[int]) -> torch.Tensor:
    """Logits (n, V) of all positions by one uncached pass."""
    ids = np.concatenate([prompt.ids, np.array(more, np.int64)])[None]
    zeros = np.zeros_like(ids)
    batch = Batch(ids, zeros, zeros.astype(np.float32), np.arange(ids.shape[1])[None], zeros,
                  prompt.patches, zeros)  # fmt: skip
    with torch.no_grad():
        return model.logits(model.inputs(batch))


def plain_greedy(model: Decoder, prompt: Prompt, count: int) -> list[int]:
    ids: list[int] = []
    while len(ids) < count:
        logits = plain_logits(model, prompt, ids)[-1]
        logits[list(FORBIDDEN)] = -torch.inf
        ids.append(int(logits.argmax()))
        if ids[-1] in ENDS:
            break
    return ids


def keep(answers: dict[int, Completion], index: int) -> Callable[[tuple[Completion, ...]], None]:
    return lambda found: answers.update({index: found[0]})


def ids_of(answers: list[tuple[Completion, ...]]) -> list[tuple[int, ...]]:
    return [one.token_ids for found in answers for one in found]


@pytest.mark.usefixtures("matrices")
@pytest.mark.parametrize("settings_", [{}, {"batch": 1}, {"batch": 3, "read_tokens": 5}])
def test_greedy_tokens_are_those_of_the_plain_pass(
    model: Decoder, tokenizer: Tokenizer, settings_: dict[str, int]
) -> None:
    engine = Engine(model, tokenizer, "m", **settings_)  # type: ignore[arg-type]
    requests = [
        GenerateRequest(parts, GREEDY, n=1 + index % 3) for index, parts in enumerate(prompts())
    ]
    for _ in range(2):  # the second time from what the first left in the cache
        answers = engine.generate(requests)
        for request, found in zip(requests, answers, strict=True):
            expected = plain_greedy(model, encode_prompt(request.prompt, tokenizer, 8), 12)
            assert [list(one.token_ids) for one in found] == [expected] * request.n
    assert not engine.busy


def test_a_wrong_cache_is_noticed(
    model: Decoder, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: pictures taken for equal whatever their pixels."""
    monkeypatch.setattr("foresight.inference.prompt._picture_key", lambda pixels: -1)
    engine = Engine(model, tokenizer, "m")
    question = (Text("What is it, and what colour is it, pray? "),)
    for seed in (1, 2):
        [[found]] = engine.generate([GenerateRequest((picture(seed), *question), GREEDY)])
    prompt = encode_prompt((picture(2), *question), tokenizer, 8)
    assert list(found.token_ids) != plain_greedy(model, prompt, 12)


@pytest.mark.usefixtures("matrices")
def test_scores_are_those_of_the_plain_pass(model: Decoder, tokenizer: Tokenizer) -> None:
    continuations = (" yes", " no, it is not", "x", " 1234567890")
    requests = [ScoreRequest(parts, continuations) for parts in prompts()]
    engine = Engine(model, tokenizer, "m", batch=4, read_tokens=40)
    for request, scores in zip(requests, engine.score(requests), strict=True):
        for text, score in zip(continuations, scores, strict=True):
            last = request.prompt[-1]
            assert isinstance(last, Text)
            before = last.text.rstrip()
            more = last.text[len(before) :] + text
            joined = before + more
            prompt = encode_prompt((*request.prompt[:-1], Text(before)), tokenizer, 8)  # type: ignore[arg-type]
            tail = tokenizer.encode(joined)[len(tokenizer.encode(before)) :] or tokenizer.encode(
                more
            )
            logits = plain_logits(model, prompt, tail).log_softmax(-1)
            rows = logits[len(prompt) - 1 : -1]
            own = rows.gather(1, torch.tensor(tail)[:, None])[:, 0]
            np.testing.assert_allclose(score.token_logprobs, own.numpy(), atol=1e-5)
            assert score.logprob == pytest.approx(float(own.sum()), abs=1e-4)
            assert score.greedy == (rows.argmax(-1).tolist() == tail)


def test_echoed_log_probabilities_are_the_generated_ones(
    model: Decoder, tokenizer: Tokenizer
) -> None:
    engine = Engine(model, tokenizer, "m")
    sampling = Sampling(max_tokens=20, logprobs=3, seed=5)
    for parts in prompts():
        for found in engine.generate([GenerateRequest(parts, sampling, n=2)])[0]:
            prompt = tuple(int(token) for token in encode_prompt(parts, tokenizer, 8).ids)
            if IMG in prompt:
                continue
            [[echo]] = engine.score([ScoreRequest(prompt, (found.token_ids,))])
            said = [token.logprob for token in found.tokens]
            np.testing.assert_allclose(echo.token_logprobs, said, atol=1e-5)
            for token in found.tokens:
                assert len(token.top) == 3 and token.top[0][2] >= token.logprob - 1e-6


def test_answers_do_not_depend_on_the_neighbours(model: Decoder, tokenizer: Tokenizer) -> None:
    sampling = Sampling(temperature=0.8, top_p=0.9, top_k=40, max_tokens=15, seed=3)
    requests = [GenerateRequest(parts, sampling, n=3) for parts in prompts()]
    together = Engine(model, tokenizer, "m").generate(requests)
    alone = [Engine(model, tokenizer, "m", batch=1).generate([one])[0] for one in requests]
    assert ids_of(together) == ids_of(alone)
    assert len({one.token_ids for one in together[0]}) > 1  # n streams, not one
    other = Engine(model, tokenizer, "m").generate(
        [GenerateRequest(prompts()[0], Sampling(temperature=0.8, max_tokens=15, seed=4), n=3)]
    )
    assert ids_of(other) != ids_of(together[:1])


def test_cancelling_stops_the_work_and_harms_nobody(model: Decoder, tokenizer: Tokenizer) -> None:
    long = Sampling(temperature=0.0, max_tokens=40, logit_bias=((EOS, -100.0), (ENDS[1], -100.0)))
    control = Engine(model, tokenizer, "m", batch=4).generate(
        [GenerateRequest(parts, long) for parts in prompts()]
    )
    for when in range(0, 14):
        engine = Engine(model, tokenizer, "m", batch=4, read_tokens=16)
        answers: dict[int, Completion] = {}
        tickets = [
            engine.submit(GenerateRequest(parts, long), keep(answers, index))
            for index, parts in enumerate(prompts())
        ]
        for _ in range(when):
            engine.step()
        for victim in (1, 3, 4):
            engine.cancel(tickets[victim])
            assert answers[victim].finish == "cancelled"
            expected = control[victim][0].token_ids
            assert answers[victim].token_ids == expected[: answers[victim].completion_tokens]
            assert answers[victim].completion_tokens <= when < len(expected)
        while engine.busy:
            engine.step()
        for index, [expected_answer] in enumerate(control):
            if index not in (1, 3, 4):
                assert answers[index] == expected_answer


def test_stop_strings_tokens_and_limits(model: Decoder, tokenizer: Tokenizer) -> None:
    engine = Engine(model, tokenizer, "m")
    free = Sampling(temperature=0.0, max_tokens=30, logit_bias=((EOS, -100.0), (ENDS[1], -100.0)))
    [[whole]] = engine.generate([GenerateRequest(prompts()[1], free)])
    assert whole.finish == "length" and whole.completion_tokens == 30
    stop = whole.text[8:11]
    [[cut]] = engine.generate(
        [GenerateRequest(prompts()[1], Sampling(0.0, max_tokens=30, stop=("never", stop),
                                                logit_bias=free.logit_bias))]
    )  # fmt: skip
    assert cut.finish == "stop" and cut.text == whole.text[: whole.text.index(stop)]
    token = whole.token_ids[4]
    [[by_token]] = engine.generate(
        [GenerateRequest(prompts()[1], Sampling(0.0, max_tokens=30, stop_tokens=(token,),
                                                logit_bias=free.logit_bias))]
    )  # fmt: skip
    assert by_token.finish == "stop"
    assert by_token.token_ids == whole.token_ids[: whole.token_ids.index(token) + 1]
    [[nothing]] = engine.generate([GenerateRequest(prompts()[1], Sampling(max_tokens=0))])
    assert nothing.finish == "length" and nothing.token_ids == ()
    [[to_the_end]] = engine.generate(
        [GenerateRequest(prompts()[1], Sampling(0.0, max_tokens=999, logit_bias=free.logit_bias))]
    )
    assert to_the_end.prompt_tokens + to_the_end.completion_tokens == 97  # the last is not read
    biased = Sampling(0.0, max_tokens=4, logit_bias=((300, 1000.0),))
    [[found]] = engine.generate([GenerateRequest(prompts()[1], biased)])
    assert found.token_ids == (300,) * 4


def test_text_comes_as_it_is_settled(model: Decoder, tokenizer: Tokenizer) -> None:
    engine = Engine(model, tokenizer, "m")
    told: dict[int, str] = {0: "", 1: ""}
    done: list[tuple[Completion, ...]] = []
    engine.submit(
        GenerateRequest(prompts()[0], Sampling(max_tokens=30, stop=("e", "zz")), n=2),
        done.append,
        lambda sample, text: told.update({sample: told[sample] + text}),
    )
    while engine.busy:
        engine.step()
    assert [told[0], told[1]] == [one.text for one in done[0]]


def test_the_beginning_is_read_once(model: Decoder, tokenizer: Tokenizer) -> None:
    """n completions of a prompt cost one reading: counted in tokens that pass the network."""
    engine = Engine(model, tokenizer, "m")
    passed = []
    embed = engine.network.embed
    engine.network.embed = lambda ids, at, patches: (
        passed.append(len(ids)),
        embed(ids, at, patches),
    )[1]  # type: ignore[method-assign]
    request = GenerateRequest(
        (Text("def add(a, b): return sum((a, b))"),), Sampling(max_tokens=1), n=8
    )
    length = len(encode_prompt(request.prompt, tokenizer, 8))
    engine.generate([request])
    assert sum(passed) == length + 7
    passed.clear()
    engine.score([ScoreRequest(request.prompt, (" a", " b", " c"))])
    assert sum(passed) <= 2  # one position, from the cache of the request before


def test_memory_bound(model: Decoder, tokenizer: Tokenizer) -> None:
    shape = model.spec.shape
    each = shape.context * 2 * shape.depth * shape.width * 4
    engine = Engine(model, tokenizer, "m", memory_bytes=3 * each)
    engine.generate([GenerateRequest(parts, GREEDY, n=4) for parts in prompts()])
    used = sum(store.numel() * 4 for store in (engine.cache.keys, engine.cache.values))
    assert engine.cache.slots == 3 and used <= 3 * each
    with pytest.raises(UserError, match=r"memory_bytes .* one sequence of 96 positions"):
        Engine(model, tokenizer, "m", memory_bytes=each - 1)


def test_what_cannot_be_answered_is_said_before_anything_is_asked(
    model: Decoder, tokenizer: Tokenizer
) -> None:
    engine = Engine(model, tokenizer, "m")
    long = GenerateRequest((Text("word " * 200),))
    with pytest.raises(UserError, match="do not fit the context of 96"):
        engine.generate([GenerateRequest(prompts()[0]), long])
    assert not engine.busy
    with pytest.raises(UserError, match="nothing to score"):
        engine.score([ScoreRequest((Text("x"),), ("",))])
    with pytest.raises(UserError, match="none of the 512"):
        engine.generate([GenerateRequest((BOS, 512))])
    cut = Engine(model, tokenizer, "m", keep_end=True)
    # Room is left for the answer, up to half of the context; the last token is never read.
    for wanted, kept in ((1, 96), (10, 87), (256, 49)):
        sampling = Sampling(temperature=0.0, max_tokens=wanted)
        [[found]] = cut.generate([GenerateRequest(long.prompt, sampling)])
        assert found.prompt_tokens == kept
    # Continuations that do not fit behind the prompt together are scored in several passes.
    words = tuple(f" {'word ' * 8}{index}" for index in range(12))
    together = engine.score([ScoreRequest((Text("word " * 12),), words)])[0]
    apart = [engine.score([ScoreRequest((Text("word " * 12),), (word,))])[0][0] for word in words]
    np.testing.assert_allclose(
        [one.logprob for one in together], [one.logprob for one in apart], atol=1e-4
    )


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_mixture_of_requests(data: st.DataObject, recipe: Recipe, corpus: Corpus) -> None:
    """Random requests, slots, budgets and cancellations: greedy answers are the plain ones."""
    model = Decoder(recipe.at(1e10, seed=1))
    with torch.no_grad():
        model.weight("lm_head").normal_(std=0.3, generator=torch.Generator().manual_seed(0))
    engine = Engine(
        model, corpus.tokenizer, "m",
        batch=data.draw(st.integers(1, 5)), read_tokens=data.draw(st.integers(1, 60)),
    )  # fmt: skip
    ids = st.lists(st.integers(64, 70), min_size=1, max_size=40).map(tuple)
    answers: dict[int, Completion] = {}
    tickets = []
    for index in range(data.draw(st.integers(1, 8))):
        prompt = (BOS, *((70,) * data.draw(st.integers(0, 40))), *data.draw(ids))
        count = data.draw(st.integers(1, 8))
        request = GenerateRequest(prompt, Sampling(0.0, max_tokens=count))
        tickets.append((engine.submit(
            request, keep(answers, index)
        ), request))  # fmt: skip
        for _ in range(data.draw(st.integers(0, 4))):
            engine.step()
        if data.draw(st.booleans()):
            engine.cancel(tickets[data.draw(st.integers(0, index))][0])
    while engine.busy:
        engine.step()
    for index, (_, request) in enumerate(tickets):
        prompt = encode_prompt(request.prompt, corpus.tokenizer, 8)
        expected = plain_greedy(model, prompt, request.sampling.max_tokens)
        found = answers[index]
        if found.finish != "cancelled":
            assert list(found.token_ids) == expected
        assert list(found.token_ids) == expected[: len(found.token_ids)]


def test_numbers_are_finite(model: Decoder, tokenizer: Tokenizer) -> None:
    [[score]] = Engine(model, tokenizer, "m").score([ScoreRequest(prompts()[3], (" red",))])
    assert math.isfinite(score.logprob) and score.logprob < 0
