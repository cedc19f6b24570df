"""An endpoint as a language model: right answers, in order, whatever happens on the way."""

from __future__ import annotations

import base64
import io
import math
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from foresight.document import Image, Text
from foresight.errors import UserError
from foresight.inference import endpoint as endpoints
from foresight.inference.api_model import APIModel
from foresight.inference.language_model import (
    GenerateRequest,
    LanguageModel,
    Sampling,
    ScoreRequest,
)
from tests.inference.endpoint import TABLE, Server, decode, encode, logprobs_of

CAT = (Text("The cat"),)


@pytest.fixture(autouse=True)
def short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "FIRST_DELAY_SECONDS", 0.01)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def model_of(server: Server, style: str = "completions", **options: Any) -> APIModel:
    options = {"max_retries": 2} | options
    return APIModel.from_text(f"api:bigram@{server.url}#{style}", **options)


def requests_of(count: int, **sampling: Any) -> list[GenerateRequest]:
    return [
        GenerateRequest((Text(f"The cat {at}"),), Sampling(**({"max_tokens": 4} | sampling)))
        for at in range(count)
    ]


def test_it_is_a_language_model(server: Server) -> None:
    model: LanguageModel = model_of(server)
    assert model.name == f"api:bigram@{server.url}#completions"
    assert APIModel.from_text(f"api:a@b/c@{server.url}").model == "a@b/c"
    for wrong in ("bigram", "api:bigram", "api:@http://a", "api:m@http://a#nothing"):
        with pytest.raises(UserError, match="api:NAME@URL"):
            APIModel.from_text(wrong)


@pytest.mark.parametrize("style", ["chat", "completions"])
def test_greedy_text_and_log_probabilities(server: Server, style: str) -> None:
    """Followed through the table by hand."""
    sampling = Sampling(temperature=0, max_tokens=3, logprobs=2)
    ((answer,),) = model_of(server, style).generate([GenerateRequest(CAT, sampling)])
    last, ids, nats = encode("The cat")[-1], [], []
    for _ in range(3):
        ids.append(int(TABLE[last].argmax()))
        nats.append(float(TABLE[last].max()))
        last = ids[-1]
    assert answer.text == decode(ids)
    assert (answer.finish, answer.completion_tokens, answer.prompt_tokens) == ("length", 3, 2)
    assert [one.logprob for one in answer.tokens] == pytest.approx(nats)
    assert answer.tokens[0].top[0][1:] == pytest.approx((answer.tokens[0].text, nats[0]))
    assert answer.tokens[0].top[1][2] < nats[0]


def test_token_ids_and_stop(server: Server) -> None:
    sampling = Sampling(temperature=0, max_tokens=8)
    ids = GenerateRequest(tuple(encode("The cat")), sampling)
    (by_ids,), (by_text,) = model_of(server).generate([ids, GenerateRequest(CAT, sampling)])
    assert by_ids.text == by_text.text
    stop = Sampling(temperature=0, max_tokens=8, stop=(by_text.text[2:4],))
    ((cut,),) = model_of(server).generate([GenerateRequest(CAT, stop)])
    assert (cut.text, cut.finish) == (by_text.text[:2], "stop")


@pytest.mark.parametrize("n", ["right", "ignored", "refused"])
def test_n_continuations_however_the_endpoint_gives_them(server: Server, n: str) -> None:
    server.behaviour.n = n
    request = GenerateRequest(CAT, Sampling(max_tokens=6), n=4)
    (answers,) = model_of(server).generate([request])
    assert len(answers) == 4 == len({one.text for one in answers})
    assert sum(one.completion_tokens for one in answers) == pytest.approx(24, abs=12)
    assert model_of(server).generate([request]) == [answers]


def test_what_is_neutral_is_not_sent(server: Server) -> None:
    model = model_of(server)
    model.generate([GenerateRequest(CAT, Sampling(temperature=0, max_tokens=1))])
    assert set(server.behaviour.asked[-1]) == {"model", "prompt", "max_tokens", "temperature"}
    full = Sampling(
        top_p=0.9, top_k=5, max_tokens=1, stop=("x",), stop_tokens=(3,), logit_bias=((4, -1.0),),
        logprobs=1, seed=7,
    )  # fmt: skip
    model.generate([GenerateRequest(CAT, full)])
    sent = server.behaviour.asked[-1]
    assert (sent["top_k"], sent["stop_token_ids"], sent["seed"]) == (5, [3], 7)
    assert (sent["logit_bias"], sent["logprobs"], sent["top_p"]) == ({"4": -1.0}, 1, 0.9)


def test_pictures_are_sent_as_they_are(server: Server) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    request = GenerateRequest((Text("See "), Image(pixels), Text(".")), Sampling(max_tokens=2))
    model_of(server, "chat").generate([request])
    before, picture, after = server.behaviour.asked[-1]["messages"][0]["content"]
    assert (before["text"], after["text"]) == ("See ", ".")
    head, data = picture["image_url"]["url"].split(",")
    assert head == "data:image/png;base64"
    with PillowImage.open(io.BytesIO(base64.b64decode(data))) as opened:
        assert (np.asarray(opened) == pixels).all()
    asked = len(server.behaviour.asked)
    with pytest.raises(UserError, match='use style "chat"'):
        model_of(server).generate([request])
    with pytest.raises(UserError, match='use style "chat"'):
        model_of(server).score([ScoreRequest(request.prompt, ("a",))])
    with pytest.raises(UserError, match='with style "completions"'):
        model_of(server, "chat").generate([GenerateRequest((1, 2))])
    assert len(server.behaviour.asked) == asked


@pytest.mark.parametrize("concurrency", [1, 16])
def test_answers_keep_their_order_and_are_told_as_they_come(
    server: Server, concurrency: int
) -> None:
    server.behaviour.jitter_seconds = 0.05
    requests = requests_of(40, temperature=0)
    told: list[int] = []
    threads = set()

    def on_done(at: int, answer: object) -> None:
        told.append(at)
        threads.add(threading.current_thread())

    model = model_of(server, concurrency=concurrency)
    model.generate(requests[:1])
    server.behaviour.hold = concurrency
    answers = model.generate(requests, on_done)
    assert server.behaviour.most_in_flight == concurrency
    assert (told == sorted(told)) == (concurrency == 1) and sorted(told) == list(range(40))
    assert threads == {threading.current_thread()}
    server.behaviour.hold, server.behaviour.jitter_seconds = 0, 0.0
    alone = model_of(server, concurrency=1)
    assert answers == [alone.generate([request])[0] for request in requests]


def test_faults_on_the_way_change_no_answer(server: Server) -> None:
    requests = requests_of(30)
    right = model_of(server).generate(requests)
    model = model_of(server, max_retries=6)
    model.generate(requests[:1])
    server.behaviour.faults.extend([500, "reset", "cut", ("429", "0.05"), "short", None] * 5)
    assert model.generate(requests) == right


def test_what_never_comes_is_an_answer_with_an_error(server: Server) -> None:
    model = model_of(server, concurrency=1, max_retries=0)
    model.generate(requests_of(1))
    model.score([ScoreRequest(CAT, (" sat",))])
    server.behaviour.faults.extend([None, 500, None, 400])
    answers = model.generate(requests_of(4))
    assert [one.finish for (one,) in answers] == ["length", "failed", "length", "failed"]
    assert answers[1][0].error == "500: out of order" and answers[0][0].error == ""
    server.behaviour.faults.extend([None, 503])
    (right,), (wrong,) = model.score([ScoreRequest(CAT, (" sat",))] * 2)
    assert not right.error and wrong.error == "503: out of order" and math.isnan(wrong.logprob)


def message_of(model: APIModel, **sampling: Any) -> str:
    with pytest.raises(UserError) as caught:
        model.generate(requests_of(3, **sampling))
    return str(caught.value)


def test_mistakes_are_told_at_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-secret")
    server.behaviour.key = "sk-right"
    said = message_of(model_of(server, key_env="SOME_KEY"))
    assert server.url in said and "SOME_KEY, which is set, but refused" in said
    assert "secret" not in said
    assert "OPENAI_API_KEY, which is not set" in message_of(model_of(server))
    server.behaviour.key = ""
    said = message_of(APIModel("gpt-9", server.url))
    assert "`gpt-9` does not exist" in said and "it has bigram, other" in said
    said = message_of(APIModel("m", "http://127.0.0.1:9/v1"))
    assert "http://127.0.0.1:9/v1" in said and "check host and port" in said
    assert len(server.behaviour.asked) == 3


@pytest.mark.parametrize("name", ["seed", "top_k", "logprobs", "stop"])
def test_a_refused_parameter_is_named_not_dropped(server: Server, name: str) -> None:
    server.behaviour.refused = (name,)
    sampling = {"top_k": 3, "logprobs": 0, "stop": (".",)}
    said = message_of(model_of(server), **sampling)
    assert f"it refuses '{name}'" in said and f'omit=("{name}",)' in said
    assert model_of(server, omit=(name,)).generate(requests_of(1, **sampling))[0][0].error == ""


def test_the_newer_name_of_max_tokens(server: Server) -> None:
    server.behaviour.refused = ("max_tokens",)
    assert "it refuses 'max_tokens'" in message_of(model_of(server))
    server.behaviour.refusal = "Unsupported: 'max_tokens'. Use 'max_completion_tokens' instead."
    ((answer,),) = model_of(server).generate(requests_of(1, temperature=0))
    assert answer.completion_tokens == 4 or answer.finish == "stop"


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_scores_are_the_tables(server: Server, data: st.DataObject) -> None:
    words = st.sampled_from(["the", "cat", "foob", "x"]).map(lambda word: " " + word)
    texts = st.lists(words, min_size=1, max_size=4).map("".join)
    prompt = "The" + data.draw(texts)
    continuations = tuple(data.draw(st.lists(texts, min_size=1, max_size=3)))
    model = model_of(server)
    (scores,) = model.score([ScoreRequest((Text(prompt),), continuations)])
    for score, continuation in zip(scores, continuations, strict=True):
        right = logprobs_of(prompt, continuation)
        assert list(score.token_logprobs) == pytest.approx(right)
        assert score.logprob == pytest.approx(sum(right)) and not score.error


def test_the_same_scores_by_every_way(server: Server) -> None:
    """Several prompts in one request or one, echo or vLLM's prompt_logprobs, text or token ids."""
    request = ScoreRequest((Text("The cat "),), (" sat", "mat on", "the dog"))
    right = model_of(server).score([request])
    told = server.behaviour
    together = [len(body["prompt"]) for body in told.asked if isinstance(body["prompt"], list)]
    assert together[-1] == 3
    # One of the options alone is refused: the others are scored all the same.
    model = model_of(server, max_retries=0)
    model.score([ScoreRequest(CAT, (" sat",))])
    told.faults.extend([400, None, 400, None])
    (some,) = model.score([request])
    assert [one.error for one in some] == ["", "400: out of order", ""]
    assert [some[0], some[2]] == [right[0][0], right[0][2]]
    told.lists = False
    assert model_of(server).score([request]) == right
    told.echo, told.prompt_logprobs = "refused", True
    assert model_of(server).score([request]) == right
    assert "prompt_logprobs" in told.asked[-1]
    told.echo = "right"
    (ids,) = model_of(server).score([
        ScoreRequest(tuple(encode("The cat")), (tuple(encode(" mat on")),))
    ])  # fmt: skip
    assert ids[0].logprob == pytest.approx(sum(logprobs_of("The cat", " mat on")))


@pytest.mark.parametrize("echo", ["zeros", "shifted", "null", "ignored", "refused"])
def test_a_wrong_echo_is_refused(server: Server, echo: str) -> None:
    server.behaviour.echo = echo
    with pytest.raises(UserError, match="scores would be chance") as caught:
        model_of(server).score([ScoreRequest(CAT, (" sat",))])
    assert server.url in str(caught.value)


def test_scores_that_cannot_be_asked_for(server: Server) -> None:
    with pytest.raises(UserError, match="#completions"):
        model_of(server, "chat").score([ScoreRequest(CAT, (" sat",))])
    for wrong in (ScoreRequest(CAT, ("",)), ScoreRequest(CAT, ((1,),))):
        with pytest.raises(UserError):
            model_of(server).score([wrong])


def test_an_interrupt_ends_what_is_in_flight(server: Server) -> None:
    model = model_of(server, concurrency=4)
    model.generate(requests_of(1))
    server.behaviour.delay_seconds = 30.0
    before = len(server.behaviour.asked)

    def interrupt() -> None:
        while server.behaviour.in_flight < 4:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        model.generate(requests_of(50))
    assert time.monotonic() - started < 15
    until = time.monotonic() + 5
    while server.behaviour.left < 4 and time.monotonic() < until:
        time.sleep(0.01)
    assert server.behaviour.left == 4 and len(server.behaviour.asked) == before + 4
    # And the model goes on when it is asked again.
    server.behaviour.delay_seconds = 0.0
    assert model.generate(requests_of(2))[1][0].error == ""


def test_an_error_of_the_caller_ends_it_too(server: Server) -> None:
    model = model_of(server, concurrency=2)

    def on_done(at: int, answer: object) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        model.generate(requests_of(500), on_done)
    assert len(server.behaviour.asked) < 400


def test_the_limit_holds_for_all_workers(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from foresight.inference import rate_limit

    monkeypatch.setattr(rate_limit, "WINDOW_SECONDS", 0.3)
    model = model_of(server, concurrency=8, requests_per_minute=10)
    limiter, starts = model._endpoint.limiter, []
    reserve = limiter.reserve

    def recorded(tokens: int) -> rate_limit.Reservation:
        place = reserve(tokens)
        starts.append(place.start_seconds)
        return place

    monkeypatch.setattr(limiter, "reserve", recorded)
    model.generate(requests_of(24))
    starts.sort()
    assert all(late - early > 0.3 - 1e-9 for early, late in zip(starts, starts[10:], strict=False))
    # Nothing arrives before its place.
    arrived = sorted(server.behaviour.times)
    assert all(start <= at for start, at in zip(starts, arrived, strict=True))


def test_nothing_heavy_is_imported() -> None:
    """Teams that only ask endpoints load no torch."""
    import subprocess
    import sys

    code = "import sys, foresight.inference.api_model; sys.exit('torch' in sys.modules)"
    source = Path(endpoints.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(source)}, check=False
    )
    assert done.returncode == 0
