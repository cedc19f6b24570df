"""Requests and answers as OpenAI's two protocols write them."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from foresight.document import Image, Mark, Text
from foresight.errors import UserError
from foresight.inference.language_model import Completion, Finish, GenerateRequest, Parts, Token
from foresight.runs import sha256_text

Style = Literal["chat", "completions"]
PATHS: dict[Style, str] = {"chat": "/chat/completions", "completions": "/completions"}
# "eos" and "eos_token" are spellings of older servers.
_ENDS: dict[str, Finish] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "length": "length",
    "content_filter": "refused",
}
PARAMETERS = (
    "response_format",
    "temperature", "top_p", "top_k", "seed", "stop_token_ids", "stop", "logit_bias", "top_logprobs",
    "prompt_logprobs", "logprobs", "echo", "max_tokens", "n",
)  # fmt: skip
"""What an endpoint may refuse; a name that contains another comes first."""


def is_ids(prompt: Parts | tuple[int, ...]) -> bool:
    """Whether a prompt is token ids."""
    return bool(prompt) and isinstance(prompt[0], int)


def text_of(prompt: Parts | tuple[int, ...]) -> str | list[int]:
    """A prompt of `/completions`. Raises UserError for pictures: it takes none."""
    if is_ids(prompt):
        return [part for part in prompt if isinstance(part, int)]
    if any(isinstance(part, Mark) for part in prompt):
        raise UserError("special tokens cannot be sent to an endpoint: it has its own")
    if any(isinstance(part, Image) for part in prompt):
        raise UserError('pictures can only be sent to a chat endpoint: use style "chat"')
    return "".join(part.text for part in prompt if isinstance(part, Text))


def messages_of(prompt: Parts | tuple[int, ...]) -> list[dict[str, Any]]:
    """One user's message; pictures as PNG in data URLs. Raises UserError for token ids."""
    if is_ids(prompt):
        raise UserError('token ids can only be sent with style "completions"')
    parts = [part for part in prompt if isinstance(part, Text | Image)]
    if all(isinstance(part, Text) for part in parts):
        return [{"role": "user", "content": text_of(prompt)}]
    if len(parts) < len(prompt):
        raise UserError("special tokens cannot be sent to an endpoint: it has its own")
    content: list[dict[str, Any]] = []
    for part in parts:
        if isinstance(part, Text):
            content.append({"type": "text", "text": part.text})
        else:
            content.append({"type": "image_url", "image_url": {"url": data_url(part)}})
    return [{"role": "user", "content": content}]


def data_url(image: Image) -> str:
    """The picture as a PNG in a URL."""
    from PIL import Image as PillowImage

    buffer = io.BytesIO()
    PillowImage.fromarray(image.pixels).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def body_of(
    model: str, style: Style, request: GenerateRequest, n: int, skip: int
) -> dict[str, Any]:
    """The body that asks for `n` continuations after `skip` that are there already.

    What has its neutral value is left out: few endpoints know all of it. Repeated requests draw
    from seeds of their own.
    """
    drawn = request.sampling
    seed = int(sha256_text(f"{drawn.seed}/{skip}")[:7], 16) if skip else drawn.seed
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": drawn.max_tokens,
        "temperature": drawn.temperature,
    }
    if style == "chat":
        body["messages"] = messages_of(request.prompt)
    else:
        body["prompt"] = text_of(request.prompt)
    optional = {
        "n": (n, n > 1),
        "seed": (seed, drawn.temperature > 0),
        "top_p": (drawn.top_p, drawn.top_p < 1),
        "top_k": (drawn.top_k, drawn.top_k > 0),
        "stop": (list(drawn.stop), bool(drawn.stop)),
        "stop_token_ids": (list(drawn.stop_tokens), bool(drawn.stop_tokens)),
        "logit_bias": ({str(id): bias for id, bias in drawn.logit_bias}, bool(drawn.logit_bias)),
    }
    body |= {name: value for name, (value, wanted) in optional.items() if wanted}
    if drawn.schema:
        given = {"name": "answer", "strict": True, "schema": json.loads(drawn.schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": given}
    if drawn.logprobs is not None:
        body["logprobs"] = True if style == "chat" else drawn.logprobs
        if style == "chat":
            body["top_logprobs"] = drawn.logprobs
    return body


def refused(body: Mapping[str, Any], param: str, words: str) -> str:
    """The parameter of `body` that an error is about, or ""."""
    spelt = words.replace('"', " ").replace("'", " ").replace("`", " ").replace(".", " ").split()
    sent = [name for name in PARAMETERS if name in body]
    return next((name for name in sent if name == param or name in [*spelt]), "")


def estimated_tokens(body: Mapping[str, Any]) -> int:
    """About what an endpoint counts a request as: a token is some four bytes of English."""
    prompt = body.get("prompt", body.get("messages"))
    written = len(json.dumps(prompt)) // 4 if not _all_ids(prompt) else len(prompt or ())
    return int(written + int(body.get("n", 1)) * int(body.get("max_tokens", 0)))


def _all_ids(prompt: object) -> bool:
    return isinstance(prompt, list) and bool(prompt) and isinstance(prompt[0], int)


def choices_of(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The choices of an answer by their index. Raises ValueError if it has none."""
    choices = answer.get("choices")
    sound = isinstance(choices, list) and all(isinstance(one, dict) for one in choices)
    if not choices or not sound:
        raise ValueError("the answer is not of OpenAI's form (it has no choices)")
    numbers = [one.get("index", at) for at, one in enumerate(choices)]
    if not all(isinstance(number, int) for number in numbers):
        raise ValueError("the answer is not of OpenAI's form (a choice has no index)")
    return [choices[at] for at in sorted(range(len(choices)), key=numbers.__getitem__)]


def completions_of(
    answer: Mapping[str, Any], style: Style, stop: Sequence[str]
) -> list[Completion]:
    """The continuations in an answer, in their order. Raises ValueError if it is none."""
    ordered = choices_of(answer)
    usage = answer.get("usage") or {}
    found = []
    try:
        for at, choice in enumerate(ordered):
            tokens = chat_tokens(choice) if style == "chat" else completion_tokens(choice)
            # The endpoint counts all continuations together: shares that add up to its count.
            total = int(usage.get("completion_tokens") or 0)
            share = total // len(ordered) + (at < total % len(ordered))
            found.append(
                _completion(
                    choice, style, stop, tokens, int(usage.get("prompt_tokens") or 0), share
                )
            )
    except (LookupError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"the answer is not of OpenAI's form ({error!r})") from None
    return found


def _completion(
    choice: Mapping[str, Any],
    style: Style,
    stop: Sequence[str],
    tokens: tuple[Token, ...],
    prompt_tokens: int,
    share: int,
) -> Completion:
    if style == "chat":
        message = choice["message"]
        refusal = message.get("refusal") or ""
        text = message.get("content") or refusal
    else:
        text, refusal = choice["text"] or "", ""
    # Some servers leave the stop string in.
    cut = min([at for one in stop if (at := text.find(one)) >= 0], default=len(text))
    ended = choice.get("finish_reason")
    finish: Finish = "refused" if refusal else finish_of(ended)
    return Completion(
        text[:cut],
        "stop" if cut < len(text) and finish != "refused" else finish,
        token_ids=tuple(choice.get("token_ids") or ()),
        tokens=tokens,
        prompt_tokens=prompt_tokens,
        completion_tokens=len(tokens) or share,
        error=f"the endpoint ended it with {ended!r}" if finish == "failed" else "",
    )


def finish_of(reason: object) -> Finish:
    """What a finish_reason means; "failed" for one that is not known."""
    return _ENDS.get(str(reason), "failed")


def chat_tokens(choice: Mapping[str, Any]) -> tuple[Token, ...]:
    """Tokens of a choice of `/chat/completions`, whole or a piece of a stream."""
    listed = (choice.get("logprobs") or {}).get("content") or []
    return tuple(
        Token(
            None,
            one["token"],
            float(one["logprob"]),
            tuple(
                (None, other["token"], float(other["logprob"]))
                for other in one.get("top_logprobs") or ()
            ),
        )
        for one in listed
    )


def completion_tokens(choice: Mapping[str, Any]) -> tuple[Token, ...]:
    """Tokens of a choice of `/completions`; a log-probability that is null becomes nan."""
    told = choice.get("logprobs") or {}
    tops = told.get("top_logprobs") or [None] * len(told.get("tokens") or ())
    return tuple(
        Token(
            None,
            text,
            float("nan") if logprob is None else float(logprob),
            tuple(
                (None, other, float(value))
                for other, value in sorted((top or {}).items(), key=lambda pair: -pair[1])
            ),
        )
        for text, logprob, top in zip(
            told.get("tokens") or (), told.get("token_logprobs") or (), tops, strict=True
        )
    )
