"""The `openai` package against the service: every parameter, each with what shows that it acts."""

from __future__ import annotations

import base64
import io
import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from PIL import Image as PillowImage

from foresight.document import Image, Text
from foresight.inference.engine import Engine
from foresight.inference.language_model import GenerateRequest, Sampling, ScoreRequest
from foresight.posttrain.chat import Message, render_prompt
from tests.serve.service import Running

ASKED: list[Any] = [{"role": "user", "content": "How many are there?"}]


@pytest.fixture(scope="module")
def engine(run: Path) -> Engine:
    """The same weights, asked without a service between."""
    return Engine.load(run)


def chat(client: openai.OpenAI, messages: list[Any] = ASKED, **given: Any) -> Any:
    return client.chat.completions.create(
        model="tiny", messages=messages, **{"max_tokens": 12, "temperature": 0.0, **given}
    )


def picture(seed: int) -> str:
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    stream = io.BytesIO()
    PillowImage.fromarray(pixels).save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def shown(seed: int) -> list[Any]:
    url = {"type": "image_url", "image_url": {"url": picture(seed), "detail": "low"}}
    return [{"role": "user", "content": [url, {"type": "text", "text": "What is it?"}]}]


def test_models(client: openai.OpenAI) -> None:
    assert [one.id for one in client.models.list().data] == ["tiny"]
    assert client.models.retrieve("tiny").id == "tiny"
    with pytest.raises(openai.NotFoundError, match="there are tiny"):
        client.models.retrieve("huge")


def test_chat_is_what_the_engine_says(client: openai.OpenAI, engine: Engine) -> None:
    messages = [{"role": "system", "content": "Be brief."}, *ASKED]
    told = chat(client, messages)
    prompt = render_prompt(
        (Message.of("system", "Be brief."), Message.of("user", ASKED[0]["content"]))
    )
    [[own]] = engine.generate([GenerateRequest(prompt, Sampling(0.0, max_tokens=12))])
    assert told.choices[0].message.content == own.text
    assert told.usage.completion_tokens == own.completion_tokens
    assert told.usage.prompt_tokens == own.prompt_tokens
    assert told.choices[0].finish_reason == own.finish
    assert told.system_fingerprint == engine.name


def test_system_messages_and_turns_matter(client: openai.OpenAI) -> None:
    answers = {
        chat(client, [*before, *ASKED]).choices[0].message.content
        for before in (
            [],
            [{"role": "system", "content": "Be brief."}],
            [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}],
        )
    }
    assert len(answers) == 3


def test_developer_is_system(client: openai.OpenAI) -> None:
    one, other = (
        chat(client, [{"role": role, "content": "Be brief."}, *ASKED]).choices[0].message.content
        for role in ("system", "developer")
    )
    assert one == other


@pytest.mark.parametrize("n", [1, 3])
def test_a_stream_says_what_the_whole_says(client: openai.OpenAI, n: int) -> None:
    drawn: dict[str, Any] = {"temperature": 1.0, "seed": 5, "n": n, "logprobs": True}
    whole = chat(client, **drawn, top_logprobs=2)
    texts, tokens, ends, usage = [""] * n, [[] for _ in range(n)], [None] * n, None
    stream = chat(client, **drawn, top_logprobs=2, stream=True,
                  stream_options={"include_usage": True})  # fmt: skip
    chunks = 0
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            chunks += 1
            texts[choice.index] += choice.delta.content or ""
            tokens[choice.index] += choice.logprobs.content if choice.logprobs else []
            ends[choice.index] = choice.finish_reason or ends[choice.index]
    assert chunks > 3 * n
    assert usage == whole.usage
    for choice in whole.choices:
        assert texts[choice.index] == choice.message.content
        assert ends[choice.index] == choice.finish_reason
        told = tokens[choice.index]
        assert [one.token for one in told] == [one.token for one in choice.logprobs.content]
        nats = [one.logprob for one in choice.logprobs.content]
        assert [one.logprob for one in told] == pytest.approx(nats, abs=1e-5)


def test_logprobs_are_the_engines(client: openai.OpenAI, engine: Engine) -> None:
    told = chat(client, logprobs=True, top_logprobs=3).choices[0].logprobs.content
    prompt = render_prompt((Message.of("user", ASKED[0]["content"]),))
    drawn = Sampling(0.0, max_tokens=12, logprobs=3)
    [[own]] = engine.generate([GenerateRequest(prompt, drawn)])
    assert len(told) == len(own.tokens) > 0
    for one, other in zip(told, own.tokens, strict=True):
        assert math.isclose(one.logprob, other.logprob, abs_tol=1e-5)
        assert len(one.top_logprobs) == 3
        assert one.top_logprobs[0].logprob >= one.top_logprobs[1].logprob
        assert bytes(one.bytes) == engine.tokenizer.token_bytes[other.id or 0]


def test_seed(client: openai.OpenAI) -> None:
    def text(**given: Any) -> str:
        return str(chat(client, temperature=1.0, **given).choices[0].message.content)

    assert text(seed=1) == text(seed=1) != text(seed=2)
    assert len({text() for _ in range(4)}) > 1, "without a seed answers differ"


def test_n(client: openai.OpenAI) -> None:
    choices = chat(client, n=4, temperature=1.0, seed=3).choices
    assert [one.index for one in choices] == [0, 1, 2, 3]
    assert len({one.message.content for one in choices}) > 1


def test_stop(client: openai.OpenAI) -> None:
    whole = chat(client).choices[0].message.content
    mark = whole[3:5]
    told = chat(client, stop=[mark, "never"]).choices[0]
    assert told.message.content == whole[: whole.index(mark)]
    assert told.finish_reason == "stop"
    assert chat(client, stop=mark).choices[0].message.content == told.message.content


def test_max_tokens(client: openai.OpenAI) -> None:
    told = chat(client, max_tokens=5)
    assert (told.usage.completion_tokens, told.choices[0].finish_reason) == (5, "length")
    assert chat(client, max_completion_tokens=3).usage.completion_tokens == 3


def test_logit_bias(client: openai.OpenAI, engine: Engine) -> None:
    [token] = engine.tokenizer.encode("a")[:1]
    told = chat(client, logit_bias={str(token): 100.0}, max_tokens=4).choices[0].message.content
    assert told == engine.tokenizer.decode([token]) * 4
    assert told != chat(client, max_tokens=4).choices[0].message.content


def test_top_p_and_temperature(client: openai.OpenAI) -> None:
    greedy = chat(client).choices[0].message.content
    # The smallest set that holds 1e-9 of the mass is the likeliest token.
    assert chat(client, temperature=1.0, top_p=1e-9).choices[0].message.content == greedy
    assert chat(client, temperature=2.0, seed=1).choices[0].message.content != greedy


def test_pictures(client: openai.OpenAI, engine: Engine) -> None:
    """The answer is of this picture and not of another."""
    told = [chat(client, shown(seed)).choices[0].message.content for seed in (1, 1, 2)]
    assert told[0] == told[1]
    raw = base64.b64decode(picture(1).partition(",")[2])
    parts = (Image.from_bytes(raw, "picture"), Text("What is it?"))
    prompt = render_prompt((Message("user", parts),))
    [[own]] = engine.generate([GenerateRequest(prompt, Sampling(0.0, max_tokens=12))])
    assert told[0] == own.text
    assert chat(client, shown(1)).usage.prompt_tokens > chat(client).usage.prompt_tokens


def test_json_schema(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"colour": {"enum": ["red", "blue"]}, "count": {"type": "integer"}},
        "required": ["colour", "count"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    import json

    for seed in range(4):
        told = chat(client, response_format=form, max_tokens=60, seed=seed, temperature=1.0)
        if told.choices[0].finish_reason == "stop":
            value = json.loads(told.choices[0].message.content)
            assert value["colour"] in ("red", "blue") and isinstance(value["count"], int)
        assert told.choices[0].message.content.startswith('{"colour":"')
    free = chat(client, max_tokens=60).choices[0].message.content
    assert not free.startswith("{"), "a model of random weights writes no JSON by itself"


def test_completions_continue_texts_and_ids(client: openai.OpenAI, engine: Engine) -> None:
    told = client.completions.create(
        model="tiny", prompt=["def f", "import"], max_tokens=6, temperature=0
    )
    for choice, prompt in zip(told.choices, ("def f", "import"), strict=True):
        [[own]] = engine.generate([GenerateRequest((Text(prompt),), Sampling(0.0, max_tokens=6))])
        assert choice.text == own.text
    ids = [0, *engine.tokenizer.encode("def f")]
    by_ids = client.completions.create(model="tiny", prompt=ids, max_tokens=6, temperature=0)
    assert by_ids.choices[0].text == told.choices[0].text


def test_a_completion_is_streamed(client: openai.OpenAI) -> None:
    given: dict[str, Any] = {"model": "tiny", "prompt": "def f", "max_tokens": 8, "seed": 1}
    whole = client.completions.create(**given, logprobs=1).choices[0]
    parts = list(client.completions.create(**given, logprobs=1, stream=True))
    assert len(parts) > 3
    assert "".join(one.choices[0].text for one in parts) == whole.text
    tokens = [text for one in parts for text in one.choices[0].logprobs.tokens]
    assert whole.logprobs is not None and tokens == whole.logprobs.tokens


def test_echoed_logprobs_are_those_of_generation(client: openai.OpenAI, engine: Engine) -> None:
    """The gate that lm-evaluation-harness lacks: what was generated at some log-probability is
    echoed at the same."""
    begun = [0, *engine.tokenizer.encode("def f")]
    drawn = client.completions.create(
        model="tiny", prompt=begun, max_tokens=5, temperature=0, logprobs=1
    ).choices[0].logprobs  # fmt: skip
    assert drawn is not None and drawn.tokens is not None and drawn.token_logprobs is not None
    text = engine.tokenizer.encode("".join(drawn.tokens))
    [[own]] = engine.generate([GenerateRequest(tuple(begun), Sampling(0.0, max_tokens=5))])
    del text
    echoed = client.completions.create(
        model="tiny", prompt=[*begun, *own.token_ids], max_tokens=0, echo=True, logprobs=1
    ).choices[0].logprobs  # fmt: skip
    assert echoed is not None and echoed.token_logprobs is not None
    assert echoed.token_logprobs[0] is None
    np.testing.assert_allclose(echoed.token_logprobs[-5:], drawn.token_logprobs, atol=1e-4)
    assert min(drawn.token_logprobs) < -0.1, "zeros would agree with anything"
    assert echoed.text_offset is not None and echoed.tokens is not None
    assert echoed.text_offset[-1] == len("".join(echoed.tokens[:-1]))


def test_a_text_is_echoed_with_all_its_tokens(client: openai.OpenAI, engine: Engine) -> None:
    told = client.completions.create(
        model="tiny", prompt="import os", max_tokens=2, echo=True, logprobs=2, temperature=0
    ).choices[0]  # fmt: skip
    [[score]] = engine.score([ScoreRequest((0,), (tuple(engine.tokenizer.encode("import os")),))])
    count = len(score.token_logprobs)
    assert told.logprobs is not None and told.logprobs.token_logprobs is not None
    assert told.text.startswith("import os") and told.logprobs.tokens is not None
    assert len(told.logprobs.tokens) == count + 2
    np.testing.assert_allclose(
        told.logprobs.token_logprobs[:count], score.token_logprobs, atol=1e-4
    )
    assert told.logprobs.top_logprobs is not None
    # Alternatives that are broken characters share a name.
    assert {len(one) for one in told.logprobs.top_logprobs} in ({2}, {1, 2})


def test_decisions(client: openai.OpenAI, engine: Engine) -> None:
    told = client.decisions.create(
        model="tiny",
        input="Red.",
        questions=[
            {"type": "predicate", "instructions": "Red", "name": "red"},
            {"type": "choice", "instructions": "Which", 
             "choices": [{"value": "a"}, {"value": True}]},
            {"type": "score", "instructions": "How", "levels": [{"label": "l"}, {"label": "h"}]},
        ],
    )  # fmt: skip
    predicate, choice, score = told.answers
    assert predicate.type == "predicate" and predicate.name == "red"
    assert choice.type == "choice" and choice.choice in ("a", True)
    assert math.isclose(sum(one.probability for one in choice.probabilities), 1.0)
    assert score.type == "score" and score.score == pytest.approx(
        score.probabilities[1].probability
    )
    text = (
        "Red.\n\nRed\nA. the statement is true\nB. the statement is false\nAnswer with one label."
    )
    prompt = render_prompt((Message.of("user", text),))
    [[yes, no]] = engine.score([ScoreRequest(prompt, ("A", "B"))])
    expected = math.exp(yes.logprob) / (math.exp(yes.logprob) + math.exp(no.logprob))
    assert predicate.probability == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"temperature": 9}, "temperature"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"n": 100}, "n 100"),
        ({"logit_bias": {"99999": 1}}, "99999"),
        ({"max_tokens": 100_000}, "max_tokens"),
        ({"presence_penalty": 1.0}, "presence_penalty"),
        ({"extra_body": {"colour": 1}}, "colour"),
        ({"messages": [{"role": "user", "content": "x " * 200}]}, "context of 96"),
        ({"messages": [*ASKED, {"role": "assistant", "content": "x"}]}, "last one"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "role"),
        ({"response_format": {"type": "json_schema", "json_schema": {
            "name": "x", "schema": {"type": "wizard"}}}}, "response_format"),
        ({"response_format": {"type": "json_schema", "json_schema": {
            "name": "x", "schema": {"pattern": "("}}}}, "response_format"),
    ],
)  # fmt: skip
def test_bad_input_is_a_clear_400(client: openai.OpenAI, given: dict[str, Any], named: str) -> None:
    with pytest.raises(openai.BadRequestError, match=named):
        chat(client, **given)
    chat(client, max_tokens=1)  # and the service goes on


def test_pictures_that_are_none(client: openai.OpenAI) -> None:
    for url, named in (
        ("http://127.0.0.1:1/x.png", "data:image"),
        ("data:image/png;base64,!!!", "base64"),
        ("data:image/png;base64,AAAA", "not a readable image"),
    ):
        part = {"type": "image_url", "image_url": {"url": url}}
        with pytest.raises(openai.BadRequestError, match=named):
            chat(client, [{"role": "user", "content": [part]}])


@pytest.mark.filterwarnings("ignore:Image size")
def test_a_picture_of_a_hundred_megapixels(client: openai.OpenAI) -> None:
    stream = io.BytesIO()
    PillowImage.new("L", (10_000, 10_000)).save(stream, "PNG")
    assert len(stream.getvalue()) < 1 << 20, "kilobytes that unpack to hundreds of megabytes"
    url = "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
    part = {"type": "image_url", "image_url": {"url": url}}
    with pytest.raises(openai.BadRequestError, match="10000 x 10000 pixels"):
        chat(client, [{"role": "user", "content": [part]}])


def test_retries_are_told_when(service: Running) -> None:
    """A client that waits as it is told gets through."""
    limits = service.service.settings.limits
    object.__setattr__(limits, "waiting", 0)
    try:
        status, headers, body = service.ask(
            "POST", "/v1/chat/completions", {"model": "tiny", "messages": ASKED}
        )
        assert status == 429 and int(headers["retry-after"]) >= 1
        assert body["error"]["type"] == "rate_limit_error"
    finally:
        object.__setattr__(limits, "waiting", 256)


def test_a_client_that_retries_gets_through(service: Running) -> None:
    patient = openai.OpenAI(api_key="none", base_url=f"{service.base}/v1", max_retries=3)
    limits = service.service.settings.limits
    object.__setattr__(limits, "waiting", 0)
    later = threading.Timer(0.5, lambda: object.__setattr__(limits, "waiting", 256))
    later.start()
    try:
        assert chat(patient, max_tokens=1).usage.completion_tokens == 1
    finally:
        later.join()


def test_texts_and_ids(service: Running, engine: Engine) -> None:
    _, _, told = service.ask("POST", "/tokenize", {"model": "tiny", "prompt": "import os",
                                                   "return_token_strs": True})  # fmt: skip
    assert told["tokens"] == [0, *engine.tokenizer.encode("import os")]
    assert told["count"] == len(told["token_strs"]) and told["max_model_len"] == 96
    _, _, back = service.ask("POST", "/detokenize", {"model": "tiny", "tokens": told["tokens"]})
    assert back == {"prompt": "import os"}
    _, _, info = service.ask("GET", "/tokenizer_info")
    assert info["models"][0]["vocab_size"] == engine.tokenizer.size


def test_moderations_without_a_policy_find_nothing(client: openai.OpenAI) -> None:
    assert client.moderations.create(input="anything").results[0].flagged is False
