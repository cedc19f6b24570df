"""Answers of any form are read or refused in words; nothing else comes out of a broken one."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foresight.document import Text
from foresight.inference.api_model import APIModel
from foresight.inference.language_model import Completion, GenerateRequest, Sampling, ScoreRequest
from foresight.inference.wire import Style, completions_of, estimated_tokens, refused
from tests.inference.endpoint import Behaviour, respond

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.floats()
    | st.sampled_from(["", "stop", "x"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.just("a"), inner, max_size=1),
    max_leaves=3,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to every part of a JSON value."""
    found = [path] if path else []
    inside = list(value.items()) if isinstance(value, dict) else []
    inside = list(enumerate(value)) if isinstance(value, list) else inside
    for key, part in inside:
        found += places(part, (*path, key))
    return found


def broken(answer: dict[str, Any], path: tuple[Any, ...], by: Any) -> dict[str, Any]:
    answer = copy.deepcopy(answer)
    holder: Any = answer
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = by
    return answer


def model_that_gets(answer: dict[str, Any], style: Style) -> APIModel:
    model = APIModel("bigram", "http://localhost", style)
    model._post = lambda body, label, patient=True: answer  # type: ignore[method-assign]
    return model


@settings(max_examples=300, deadline=None)
@given(data=st.data(), style=st.sampled_from(["chat", "completions"]))
def test_a_broken_answer_is_an_answer_with_an_error(data: st.DataObject, style: Style) -> None:
    request = GenerateRequest((Text("The cat"),), Sampling(max_tokens=2, logprobs=1), n=2)
    body = {"model": "bigram", "max_tokens": 2, "n": 2, "logprobs": 1, "top_logprobs": 1}
    content = {"prompt": "The cat", "messages": [{"content": "The cat"}]}
    path = "/v1/chat/completions" if style == "chat" else "/v1/completions"
    answer = respond(Behaviour(), path, body | content)
    at = data.draw(st.sampled_from(places(answer)))
    found = model_that_gets(broken(answer, at, data.draw(ANYTHING)), style)._continue(request, 0)
    assert len(found) == 2 and all(isinstance(one, Completion) for one in found)
    assert all((one.finish == "failed") == bool(one.error) for one in found)
    (right,) = [model_that_gets(answer, style)._continue(request, 0)]
    assert not any(one.error for one in right)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), reader=st.sampled_from(["echo", "prompt_logprobs"]))
def test_a_broken_echo_is_a_score_with_an_error(data: st.DataObject, reader: Any) -> None:
    fields = {"echo": {"echo": True, "logprobs": 1}, "prompt_logprobs": {"prompt_logprobs": 1}}
    told = Behaviour(prompt_logprobs=True)
    body = {"model": "bigram", "prompt": ["The cat sat", "The cat ran"], "max_tokens": 1}
    answer = respond(told, "/v1/completions", body | fields[reader])
    at = data.draw(st.sampled_from(places(answer)))
    model = model_that_gets(broken(answer, at, data.draw(ANYTHING)), "completions")
    model._reader = reader
    (scores,) = model.score([ScoreRequest((Text("The cat"),), (" sat", " ran"))])
    assert len(scores) == 2
    for score in scores:
        assert bool(score.error) == (score.logprob != score.logprob)


@pytest.mark.parametrize(
    ("reason", "finish"),
    [("stop", "stop"), ("eos_token", "stop"), ("length", "length"), ("content_filter", "refused"),
     (None, "failed")],
)  # fmt: skip
def test_how_an_answer_ended(reason: str | None, finish: str) -> None:
    choice = {"index": 0, "message": {"content": "so"}, "finish_reason": reason}
    (found,) = completions_of({"choices": [choice]}, "chat", ())
    assert (found.finish, found.text) == (finish, "so")
    assert ("ended it with" in found.error) == (finish == "failed")


def test_a_refusal_is_told_by_its_field() -> None:
    message = {"content": None, "refusal": "I cannot help with that. Sorry"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    (found,) = completions_of({"choices": [choice]}, "chat", (" Sorry",))
    assert (found.finish, found.text) == ("refused", "I cannot help with that.")


def test_the_parameter_an_error_is_about() -> None:
    body = {"logprobs": 1, "top_logprobs": 2, "seed": 1, "n": 2, "prompt": "n"}
    assert refused(body, "seed", "no") == "seed"
    assert refused(body, "", "Unrecognized request argument supplied: 'top_logprobs'") == (
        "top_logprobs"
    )
    assert refused(body, "", "`logprobs`: not here.") == "logprobs"
    assert refused(body, "", "top_k is not known") == ""


def test_tokens_are_estimated_from_what_is_sent() -> None:
    assert estimated_tokens({"prompt": [1, 2, 3], "max_tokens": 5, "n": 2}) == 13
    assert 20 <= estimated_tokens({"prompt": "word " * 20, "max_tokens": 0}) <= 40
    assert estimated_tokens({"prompt": ["word " * 20] * 2, "max_tokens": 0}) >= 40
