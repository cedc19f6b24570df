"""A language model behind any OpenAI-compatible endpoint."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np

from foresight.document import Image, Text
from foresight.errors import UserError
from foresight.inference.echo import FIELDS, Echoed, Reader, doubt, read_echo
from foresight.inference.endpoint import Endpoint, EndpointError
from foresight.inference.language_model import (
    Completion,
    GenerateRequest,
    Parts,
    Score,
    ScoreRequest,
)
from foresight.inference.rate_limit import RateLimiter
from foresight.inference.wire import (
    PATHS,
    Style,
    body_of,
    choices_of,
    completions_of,
    estimated_tokens,
    is_ids,
    messages_of,
    refused,
    text_of,
)
from foresight.inference.workers import in_order

Answer = TypeVar("Answer")
Pair = tuple[str | list[int], str | list[int]]
"""A prompt and a continuation, both text or both token ids."""
_PROMPTS_AT_ONCE = 16


class APIModel:
    """Implements `LanguageModel`.

    `base_url`: up to the version, http://localhost:8000/v1. `style`: "chat" sends each prompt as
    one user's message, with pictures, and cannot score; "completions" sends it as it is, text or
    token ids, and scores by echo. The key is read from the environment variable `key_env` and
    nowhere else. `concurrency`: requests in flight; the two limits hold for all of them together.
    `omit`: parameters that are never sent, for endpoints that refuse them.

    Before the first request of a kind a small one like it is sent: a wrong key, an unknown model,
    a dead endpoint or a refused parameter is a UserError then. Later failures are answers.
    An interrupt ends every call on the model.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        style: Style = "chat",
        *,
        key_env: str = "OPENAI_API_KEY",
        concurrency: int = 8,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        timeout_seconds: float = 120.0,
        max_retries: int = 6,
        omit: Sequence[str] = (),
        seed: int = 0,
    ) -> None:
        for what, value, least in (
            ("concurrency", concurrency, 1),
            ("max_retries", max_retries, 0),
            ("timeout_seconds", timeout_seconds, 0.001),
        ):
            if value < least:
                raise UserError(f"{what} {value}: must be at least {least}")
        if style not in PATHS:
            raise UserError(f"style {style!r}: must be chat or completions")
        limiter = RateLimiter(requests_per_minute, tokens_per_minute)
        self._open = partial(
            Endpoint, base_url, key_env, timeout_seconds, max_retries, limiter, seed
        )
        self._endpoint = self._open()
        self.model, self.style, self.concurrency, self.omit = name, style, concurrency, omit
        self.url = self._endpoint.url.geturl()
        self.name = f"api:{name}@{self.url}#{style}"
        self._token_field = "max_tokens"
        self._many = True
        self._lists = True
        self._reader: Reader | None = None
        self._known: set[tuple[object, ...]] = set()
        self._starting = threading.Lock()

    @classmethod
    def from_text(cls, text: str, **options: Any) -> APIModel:
        """A model written `api:NAME@URL`, with `#completions` or `#chat` (the default) behind it.

        Raises UserError for anything else. `options` are those of the class.
        """
        written = re.fullmatch(r"api:(.+?)@(https?://[^#]+)(?:#(chat|completions))?", text)
        if written is None:
            raise UserError(
                f"model {text!r}: write api:NAME@URL, e.g. api:gpt-4@https://api.openai.com/v1, "
                f"with #completions at the end for text completions and scores"
            )
        name, url, style = written.groups()
        if style:
            options["style"] = style
        return cls(name, url, **options)

    def generate(
        self,
        requests: Sequence[GenerateRequest],
        on_done: Callable[[int, tuple[Completion, ...]], None] | None = None,
    ) -> list[tuple[Completion, ...]]:
        """See `LanguageModel`. `completion_tokens` of n answers are shares of the endpoint's sum
        unless log-probabilities are asked for; these are what the endpoint calls them: most mean
        temperature 1.
        """
        for request in requests:
            self._try_kind(request)
        return self._each(len(requests), lambda at: self._continue(requests[at], at), on_done)

    def score(
        self,
        requests: Sequence[ScoreRequest],
        on_done: Callable[[int, tuple[Score, ...]], None] | None = None,
    ) -> list[tuple[Score, ...]]:
        """See `LanguageModel`. Raises UserError if the endpoint has no echo or a wrong one."""
        pairs = [_pairs(request) for request in requests]
        reader = self._trusted_reader()

        def work(at: int) -> tuple[Score, ...]:
            found: list[Score] = []
            for start in range(0, len(pairs[at]), _PROMPTS_AT_ONCE):
                for one in self._echo(pairs[at][start : start + _PROMPTS_AT_ONCE], reader, str(at)):
                    found.append(
                        Score(math.nan, (), False, one) if isinstance(one, str) else one.score
                    )
            return tuple(found)

        return self._each(len(requests), work, on_done)

    def _continue(self, request: GenerateRequest, at: int) -> tuple[Completion, ...]:
        """All n continuations: at once if the endpoint can, else one after the other."""
        found: list[Completion] = []
        try:
            while len(found) < request.n:
                missing = request.n - len(found)
                n = missing if self._many else 1
                body = body_of(self.model, self.style, request, n, len(found))
                answer = self._post(body, f"{at}/{len(found)}")
                found += completions_of(answer, self.style, request.sampling.stop)[:missing]
        except (EndpointError, UserError, ValueError) as error:
            failed = Completion("", "failed", error=str(error))
            found += [failed] * (request.n - len(found))
        return tuple(found)

    def _post(self, body: dict[str, Any], label: str, patient: bool = True) -> dict[str, Any]:
        tokens = estimated_tokens(body)
        sent = {name: value for name, value in body.items() if name not in self.omit}
        if "max_tokens" in sent:
            sent[self._token_field] = sent.pop("max_tokens")
        return self._endpoint.post(PATHS[self.style], sent, tokens, label, patient)

    def _try_kind(self, request: GenerateRequest) -> None:
        """Send one token's worth of a request with the same parameters, once per set of them."""
        if request.n < 1:
            raise UserError(f"n {request.n}: must be 1 or more")
        prompt = _stand_in(request.prompt, self.style)
        small = replace(request.sampling, max_tokens=min(1, request.sampling.max_tokens))
        body = body_of(self.model, self.style, GenerateRequest(prompt, small), request.n, 0)
        kind = (tuple(type(part) for part in prompt), *sorted(body))
        with self._starting:
            if kind in self._known:
                return
            try:
                self._adapt(body)
            except EndpointError as error:
                raise self._explained(error, body) from None
            self._known.add(kind)

    def _adapt(self, body: dict[str, Any]) -> None:
        """Send it; where the endpoint says how it wants the same thing, do so from now on."""
        try:
            self._post(body, "first", patient=False)
        except EndpointError as error:
            if "max_completion_tokens" in str(error) and self._token_field == "max_tokens":
                # OpenAI's newer name for the same.
                self._token_field = "max_completion_tokens"
            elif self._parameter(error, body) == "n" and self._many:
                self._many = False
                body = {name: value for name, value in body.items() if name != "n"}
            else:
                raise
            self._adapt(body)

    def _trusted_reader(self) -> Reader:
        """How the endpoint tells log-probabilities of prompts. Raises UserError if it does not."""
        if self.style != "completions":
            raise UserError(
                f"{self.name}: chat endpoints do not tell the log-probability of a given text; "
                f"score with style completions (api:{self.model}@{self.url}#completions)"
            )
        with self._starting:
            troubles = []
            for reader in () if self._reader else FIELDS:
                trouble = self._doubt(reader)
                if not trouble:
                    self._reader = reader
                    break
                troubles.append(f"{reader}: {trouble}")
        if self._reader is None:
            raise UserError(
                f"{self.url}: its log-probabilities of prompts cannot be used, scores would be "
                f"chance ({'; '.join(troubles)}). Scoring needs a completions endpoint with a "
                f"right echo, such as vLLM or foresight; or evaluate by generation"
            )
        return self._reader

    def _doubt(self, reader: Reader) -> str:
        def ask(body: dict[str, Any]) -> Mapping[str, Any]:
            body = {"model": self.model} | body
            try:
                return self._post(body, "first", patient=False)
            except EndpointError as error:
                raise self._explained(error, body) from None

        def echo(prompt: str, continuations: list[str]) -> list[Echoed | str]:
            return self._echo([(prompt, one) for one in continuations], reader, "first")

        self._lists = True
        try:
            return doubt(ask, echo)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            return f"the answer is not of OpenAI's form ({error!r})"

    def _echo(self, pairs: Sequence[Pair], reader: Reader, label: str) -> list[Echoed | str]:
        """What is echoed of each continuation, or why nothing is."""
        if len(pairs) > 1 and not self._lists:
            return [one for pair in pairs for one in self._echo([pair], reader, label)]
        try:
            return self._echo_together(pairs, reader, label)
        except (EndpointError, UserError, ValueError) as error:
            several = len(pairs) > 1 and getattr(error, "status", 400) in (400, 422)
            if not several:
                return [str(error)] * len(pairs)
        # Several prompts are more than some endpoints take; or one of these is too long.
        self._lists, known = False, self._reader is not None
        found = self._echo(pairs, reader, label)
        self._lists = known
        return found

    def _echo_together(
        self, pairs: Sequence[Pair], reader: Reader, label: str
    ) -> list[Echoed | str]:
        """In one request. Raises EndpointError; ValueError for an answer of another form."""
        whole = [prompt + continuation for prompt, continuation in pairs]  # type: ignore[operator]
        body = {"model": self.model, "prompt": whole if len(pairs) > 1 else whole[0]}
        answer = self._post(body | FIELDS[reader], label)
        choices = choices_of(answer)
        # A score must not go to another text.
        if [one.get("index", at) for at, one in enumerate(choices)] != [*range(len(pairs))]:
            raise ValueError("the answer is not of OpenAI's form (choices by number of prompt)")
        found: list[Echoed | str] = []
        for choice, (prompt, continuation) in zip(choices, pairs, strict=True):
            try:
                found.append(read_echo(choice, reader, prompt, continuation))
            except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
                found.append(str(error))
        return found

    def _each(
        self,
        count: int,
        work: Callable[[int], Answer],
        on_done: Callable[[int, Answer], None] | None,
    ) -> list[Answer]:
        try:
            return in_order(count, work, self.concurrency, on_done, self._endpoint.cancel)
        except BaseException:
            self._endpoint = self._open()
            raise

    @staticmethod
    def _parameter(error: EndpointError, body: Mapping[str, Any]) -> str:
        """What the endpoint refuses of a body, or ""."""
        asked = error.status in (400, 422)
        return refused(body, error.param, str(error)) if asked else ""

    def _explained(self, error: EndpointError, body: Mapping[str, Any]) -> UserError:
        """What the user can do about it."""
        where, words = f"{self.url}: model {self.model!r}", str(error)
        name = self._parameter(error, body)
        key = self._endpoint.key_env
        if error.status in (401, 403):
            state = "is set, but refused" if self._endpoint.has_key else "is not set"
            advice = f"put the key into the environment variable {key}, which {state}"
        elif error.status == 404:
            advice = f"check the name and the URL{self._names()}"
        elif name:
            advice = (
                f'it refuses {name!r}; ask for something else or leave it out: omit=("{name}",)'
            )
        elif error.status == 0:
            advice = "check host and port, and that the server runs"
        else:
            advice = "the endpoint must answer a small request before a large number is sent"
        return UserError(f"{where}: {words}; {advice}")

    def _names(self) -> str:
        """The models that the endpoint has, if it tells."""
        try:
            names = [str(one["id"]) for one in self._endpoint.ask("GET", "/models")["data"]]
        except (EndpointError, KeyError, TypeError):
            return ""
        return f"; it has {', '.join(names[:20])}" if names else ""


def _stand_in(prompt: Parts | tuple[int, ...], style: Style) -> Parts | tuple[int, ...]:
    """A tiny prompt of the same kind. Raises UserError if the style cannot carry it."""
    if is_ids(prompt):
        if style == "chat":
            messages_of(prompt)
        return prompt[:1]
    text: Parts = (Text("Hello"),)
    if not any(isinstance(part, Image) for part in prompt):
        return text
    if style == "completions":
        text_of(prompt)
    return (*text, Image(np.full((32, 32, 3), 127, np.uint8)))


def _pairs(request: ScoreRequest) -> list[Pair]:
    """(prompt, continuation) of each, white space between them with the continuation."""
    prompt = text_of(request.prompt)
    pairs: list[Pair] = []
    for continuation in request.continuations:
        if isinstance(continuation, str) != isinstance(prompt, str):
            raise UserError("prompt and continuations must both be text or both be token ids")
        if not continuation:
            raise UserError("an empty continuation has no log-probability")
        if isinstance(prompt, str) and isinstance(continuation, str):
            stem = prompt.rstrip()
            pairs.append((stem, prompt[len(stem) :] + continuation))
        else:
            pairs.append((prompt, [id for id in continuation if isinstance(id, int)]))
    return pairs
