"""Log-probabilities of a given text out of an endpoint's echo, and whether they can be believed.

A broken echo is silent: zeros, or values shifted by one, make scores at chance and raise nothing.
So nothing is scored before one thing is seen to hold: a token that the endpoint proposed after a
prompt has the same log-probability when it is echoed as part of the prompt.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from foresight.inference.language_model import Score, Token
from foresight.inference.wire import completion_tokens

Reader = Literal["echo", "prompt_logprobs"]
"""OpenAI's `echo` with `logprobs`; vLLM's `prompt_logprobs`."""
FIELDS: dict[Reader, dict[str, Any]] = {
    # One token is drawn: not every server takes 0, and after the prompt it costs nothing.
    "echo": {"echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0.0},
    "prompt_logprobs": {"prompt_logprobs": 1, "max_tokens": 1, "temperature": 0.0},
}
PROBES = ("The capital of France is", "for name in names:\n    print(", "She opened the door and")
# Prefill and decoding differ by rounding; a wrong echo differs by nats.
_NATS, _SHARE = 0.1, 0.05
_BROKEN = "\ufffd"

Ask = Callable[[dict[str, Any]], Mapping[str, Any]]


@dataclass(frozen=True)
class Echoed:
    """The continuation's part of an echo: texts, nats, and whether each token is the likeliest."""

    texts: tuple[str, ...]
    logprobs: tuple[float, ...]
    greedy: bool

    @property
    def score(self) -> Score:
        return Score(math.fsum(self.logprobs), self.logprobs, self.greedy)


def read_echo(
    choice: Mapping[str, Any],
    reader: Reader,
    prompt: str | Sequence[int],
    continuation: str | Sequence[int],
) -> Echoed:
    """Tokens of `continuation` in the echo of prompt + continuation.

    Raises ValueError if they cannot be told apart or one has no log-probability.
    """
    tokens, offsets = _tokens(choice, reader)
    if not tokens:
        raise ValueError("the prompt's log-probabilities are not in the answer")
    drawn = int(reader == "echo" and choice.get("finish_reason") == "length")
    if isinstance(prompt, str) and isinstance(continuation, str):
        # The pieces of a broken character are empty texts on some servers.
        texts = [tokens[0].text, *(one.text or _BROKEN for one in tokens[1:])]
        start, end = _span(texts, offsets, prompt, continuation, drawn)
    else:
        start, end = len(prompt), len(prompt) + len(continuation)
        if len(tokens) - end not in (0, 1):
            raise ValueError(f"{len(tokens)} tokens were echoed for {end} ids")
    scored = tokens[start:end]
    if not scored:
        raise ValueError("no token of the endpoint begins in the continuation")
    if any(math.isnan(one.logprob) for one in scored):
        raise ValueError(
            "the continuation's first token has no log-probability: the prompt must not be empty"
        )
    if not all(one.top for one in scored):
        raise ValueError("the likeliest alternatives are not in the answer")
    return Echoed(
        tuple(one.text for one in scored),
        tuple(one.logprob for one in scored),
        all(one.logprob >= one.top[0][2] for one in scored),
    )


def _tokens(choice: Mapping[str, Any], reader: Reader) -> tuple[list[Token], list[int]]:
    """What was echoed, and where each token begins if the endpoint tells."""
    if reader == "echo":
        offsets = (choice.get("logprobs") or {}).get("text_offset") or []
        return list(completion_tokens(choice)), offsets
    tokens = []
    for entry in choice.get("prompt_logprobs") or ():
        if not entry:
            tokens.append(Token(None, "", math.nan))
            continue
        values = sorted(entry.values(), key=lambda one: -one["logprob"])
        # The token itself and, if that is another one, the likeliest.
        own, best = values[-1], values[0]
        top = (None, best.get("decoded_token") or "", float(best["logprob"]))
        text = own.get("decoded_token") or ""
        tokens.append(Token(None, text, float(own["logprob"]), (top,)))
    return tokens, []


def _span(
    texts: list[str], offsets: list[int], prompt: str, continuation: str, drawn: int
) -> tuple[int, int]:
    """Where the continuation's tokens begin and end. A token that straddles the border belongs to
    the prompt. Raises ValueError.
    """
    joined, border = prompt + continuation, len(prompt)
    end = len(texts) - drawn
    if not drawn and not "".join(texts).endswith(joined):
        # Something may have been drawn all the same: the end mark.
        end -= "".join(texts[:-1]).endswith(joined) or bool(offsets and offsets[-1] >= len(joined))
    # A begin mark is echoed by some, as a text or as nothing.
    first = 0 if _BROKEN in texts[0] or (texts[0] and joined.startswith(texts[0])) else 1
    start = _backward(texts[:end], joined, border)
    if start is None and offsets:
        start = _forward(texts, joined, border, first)
    if start is None and len(offsets) == len(texts):
        shift = offsets[1] if first and len(texts) > 1 else 0
        start = _by_offset(texts[:end], [at - shift for at in offsets], joined, border)
    if start is None:
        raise ValueError("the endpoint's tokens do not spell the text; send token ids")
    return start, end


def _backward(texts: list[str], joined: str, border: int) -> int | None:
    """The first token that begins at the border or later, if those from it on spell the rest.

    From the end: what stands before the prompt (a begin mark, a token whose text is not told) does
    not matter, nor characters of the prompt that are broken into several tokens.
    """
    at = len(joined)
    for index in range(len(texts) - 1, -1, -1):
        begin = at - len(texts[index])
        if at == border or begin < border:
            return index + 1
        if not texts[index]:
            # vLLM does not tell the first token: what is left of the text, across the border.
            return 1 if border else None
        if not joined.startswith(texts[index], begin):
            return None
        at = begin
    return 0 if at == border else None


def _forward(texts: list[str], joined: str, border: int, first: int) -> int | None:
    """The same from the beginning, for continuations with such characters."""
    at = 0
    for index, text in enumerate(texts[first:], first):
        if at >= border:
            return index
        if not joined.startswith(text, at):
            return None
        at += len(text)
    return None


def _by_offset(texts: list[str], offsets: list[int], joined: str, border: int) -> int | None:
    """The same by the endpoint's offsets, if whole tokens stand where they say and one of them is
    at the border: servers disagree about where the pieces of a broken character are."""
    whole = [_BROKEN not in text and not text.startswith("bytes:") for text in texts]
    for text, at, sound in zip(texts, offsets, whole, strict=False):
        if sound and at >= 0 and not joined.startswith(text, at):
            return None
    start = next((index for index in range(len(texts)) if offsets[index] >= border), None)
    return start if start is not None and (whole[start] or (start and whole[start - 1])) else None


def doubt(ask: Ask, echo: Callable[[str, list[str]], list[Echoed | str]]) -> str:
    """Why the echo must not be believed, or "".

    `ask` sends a body and gives the answer; `echo` scores continuations of a prompt (a str: why
    one could not be). Compared are the alternatives of a drawn token, all but one of them below
    ln(1/2), and the text drawn.
    """
    compared, lowest, trouble = 0, 0.0, "it proposed no tokens to compare"
    for probe in PROBES:
        body = {"prompt": probe, "max_tokens": 4, "temperature": 1.0, "logprobs": 5}
        drawn = completion_tokens(ask(body)["choices"][0])
        if not drawn:
            trouble = "log-probabilities of generated tokens are not in its answers"
            continue
        given: list[tuple[tuple[str, ...], tuple[float, ...]]] = [
            ((text,), (logprob,)) for _, text, logprob in drawn[0].top
        ]
        given.append((tuple(one.text for one in drawn), tuple(one.logprob for one in drawn)))
        given = [(texts, nats) for texts, nats in given if all(texts) and _BROKEN not in str(texts)]
        if not given:
            continue
        for (texts, nats), echoed in zip(
            given, echo(probe, ["".join(texts) for texts, _ in given]), strict=True
        ):
            if isinstance(echoed, str):
                trouble = echoed
                continue
            # A text may be cut into other tokens than it was drawn as.
            for text, own, other, back in zip(
                texts, nats, echoed.texts, echoed.logprobs, strict=False
            ):
                if text != other:
                    break
                if abs(own - back) > _NATS + _SHARE * abs(own):
                    return f"token {text!r} was proposed at {own:.2f} nats and echoed at {back:.2f}"
                compared, lowest = compared + 1, min(lowest, own)
        # Certain tokens are 0 in a broken echo too.
        if compared >= 3 and lowest < -2 * _NATS:
            return ""
    return trouble if compared == 0 else "it proposed too few tokens to compare"
