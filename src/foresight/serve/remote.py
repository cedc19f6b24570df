"""A model behind another OpenAI-compatible endpoint (vLLM, SGLang, a provider): asked as clients
ask us, so that keys, limits, watch, log and review keep working for who outgrows our engine."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from typing import Any

import httpx2

from foresight.errors import UserError
from foresight.inference.api_model import APIModel
from foresight.inference.language_model import (
    Completion,
    GenerateRequest,
    Parts,
    Sampling,
    Score,
    ScoreRequest,
    Token,
)
from foresight.inference.wire import body_of, chat_tokens, completion_tokens, finish_of
from foresight.posttrain.chat import Conversation
from foresight.posttrain.conversations import json_of
from foresight.serve.errors import ServiceError
from foresight.serve.worker import About, Delta

KEY_ENV = "OPENAI_API_KEY"
_PASSED_ON = (400, 404, 413, 429)
_CONNECT_SECONDS = 10.0


class Remote:
    """Takes the place of a `Worker`. `at`: api:NAME@URL; its key is in the environment. Raises
    UserError for anything else."""

    def __init__(self, at: str) -> None:
        model = APIModel.from_text(at)
        self.name, self._model, self._url = at, model.model, model.url
        self.about = About()
        self.tokens_drawn = self.open_requests = self.cache_bytes = 0
        self._key = os.environ.get(KEY_ENV, "")

    def start(self) -> None:
        headers = {"authorization": f"Bearer {self._key}"} if self._key else {}
        # How long an answer may take is the service's to say.
        timeout = httpx2.Timeout(None, connect=_CONNECT_SECONDS)
        limits = httpx2.Limits(max_connections=None)
        self._client = httpx2.AsyncClient(headers=headers, timeout=timeout, limits=limits)

    async def stop(self) -> None:
        await self._client.aclose()

    async def chat(
        self, messages: Conversation, sampling: Sampling, n: int
    ) -> AsyncIterator[Delta | Completion]:
        """See `Worker.chat`."""
        body = body_of(self._model, "chat", GenerateRequest((), sampling, n), n, 0)
        body["messages"] = [json_of(one) for one in messages]
        async for event in self._stream("/chat/completions", body, n):
            yield event

    async def complete(
        self, prompt: Parts | tuple[int, ...], sampling: Sampling, n: int
    ) -> AsyncIterator[Delta | Completion]:
        """See `Worker.complete`."""
        body = body_of(self._model, "completions", GenerateRequest(prompt, sampling, n), n, 0)
        async for event in self._stream("/completions", body, n):
            yield event

    async def score(self, request: ScoreRequest) -> tuple[Score, ...]:
        """Raises UserError."""
        raise UserError(f"{self.name}: log-probabilities of given texts are not asked of a model "
                        "behind another endpoint")  # fmt: skip

    async def _stream(
        self, path: str, body: dict[str, Any], n: int
    ) -> AsyncIterator[Delta | Completion]:
        answers = [_Answer(at) for at in range(n)]
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        usage: dict[str, Any] = {}
        self.open_requests += 1
        try:
            async with self._client.stream("POST", self._url + path, json=body) as response:
                if response.status_code != 200:
                    raise self._refused(response.status_code, await response.aread(), response)
                async for line in response.aiter_lines():
                    chunk = _chunk(line)
                    usage = chunk.get("usage") or usage
                    if chunk.get("error"):
                        raise self._refused(502, json.dumps(chunk).encode(), response)
                    for choice in chunk.get("choices") or ():
                        delta = answers[choice.get("index", 0)].take(choice)
                        if delta.text:
                            yield delta
        except httpx2.HTTPError as error:
            raise ServiceError(
                503, f"the model's endpoint does not answer ({type(error).__name__})",
                "upstream_unavailable", retry_after_seconds=5.0,
            ) from None  # fmt: skip
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ServiceError(
                502, f"the model's endpoint said what is not OpenAI's form ({error})",
                "upstream_broken",
            ) from None  # fmt: skip
        finally:
            self.open_requests -= 1
        total = int(usage.get("completion_tokens") or 0)
        self.tokens_drawn += total
        for at, one in enumerate(answers):
            share = total // n + (at < total % n)
            yield one.completion(int(usage.get("prompt_tokens") or 0), share)

    def _refused(self, status: int, data: bytes, response: httpx2.Response) -> ServiceError:
        try:
            told = json.loads(data)["error"]
            words = str(told.get("message") or told)
        except (ValueError, LookupError, TypeError, AttributeError):
            words = data.decode(errors="replace")
        words = words.replace(self._key, "[key]") if self._key else words
        wait = response.headers.get("retry-after", "")
        return ServiceError(
            status if status in _PASSED_ON else 502,
            f"the model's endpoint: {status}: {words[:300]}", "upstream_refused",
            retry_after_seconds=float(wait) if wait.isdigit() else None,
        )  # fmt: skip


class _Answer:
    """One of the n, as its pieces come."""

    def __init__(self, sample: int) -> None:
        self._sample, self._text, self._tokens = sample, "", list[Token]()
        self._end: str | None = None

    def take(self, choice: dict[str, Any]) -> Delta:
        self._end = choice.get("finish_reason") or self._end
        if "delta" in choice:
            text, tokens = choice["delta"].get("content") or "", chat_tokens(choice)
        else:
            text, tokens = choice.get("text") or "", completion_tokens(choice)
        self._text += text
        self._tokens += tokens
        return Delta(self._sample, text, tuple(tokens))

    def completion(self, prompt_tokens: int, share: int) -> Completion:
        return Completion(
            self._text, finish_of(self._end), tokens=tuple(self._tokens),
            prompt_tokens=prompt_tokens, completion_tokens=len(self._tokens) or share,
        )  # fmt: skip


def _chunk(line: str) -> dict[str, Any]:
    """The object of a line of a stream; {} for all other lines."""
    if not line.startswith("data:") or line.endswith("[DONE]"):
        return {}
    found: dict[str, Any] = json.loads(line.removeprefix("data:"))
    return found
