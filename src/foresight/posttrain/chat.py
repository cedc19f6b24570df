"""ChatML: a conversation as parts of ids, loss weights and patches, made in one pass.

A turn is `<|im_start|>role`, a line break, the content, `<|im_end|>`, a line break. The marks are
tokens of their own that no text becomes, so that what a user writes cannot open or close a turn.
What the assistant says and the mark that ends it are training targets; nothing else is.
`CHAT_TEMPLATE` is the same as a Jinja template of Hugging Face's tokenizers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, get_args

from foresight.data.shards import Encoded, encode_parts
from foresight.data.tokenizer import BOS, Tokenizer
from foresight.document import IM_END, IM_START, Image, Mark, Part, Text
from foresight.errors import UserError
from foresight.inference.api_model import APIModel
from foresight.inference.language_model import (
    Completion,
    GenerateRequest,
    LanguageModel,
    Parts,
    Score,
    ScoreRequest,
)
from foresight.runs import sha256_text

Role = Literal["system", "user", "assistant"]
ROLES: tuple[Role, ...] = get_args(Role)
IMAGE_PLACE = "[IMG]"
"""Stands for a picture in the template, which writes text alone."""

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['content'] is string %}{{ message['content'] | trim }}"
    "{% else %}{% set run = namespace(text='') %}{% for part in message['content'] %}"
    "{% if part['type'] == 'text' %}{% set run.text = run.text + part['text'] %}"
    "{% else %}{{ run.text | trim }}{% set run.text = '' %}{{ '" + IMAGE_PLACE + "' }}{% endif %}"
    "{% endfor %}{{ run.text | trim }}{% endif %}"
    "{{ '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Message:
    """One turn. White space around a text is dropped: how a template and a tokenizer would join
    it with the line break before is nobody's to guess."""

    role: Role
    parts: tuple[Text | Image, ...]

    @classmethod
    def of(cls, role: Role, content: str) -> Message:
        return cls(role, (Text(content),))

    @property
    def contents(self) -> tuple[Text | Image, ...]:
        """What is rendered: neighbouring texts as one, white space around it dropped."""
        found: list[Text | Image] = []
        for is_text, run in groupby(self.parts, lambda part: isinstance(part, Text)):
            if not is_text:
                found += run
            elif text := "".join(part.text for part in run if isinstance(part, Text)).strip():
                found.append(Text(text))
        return tuple(found)

    @property
    def text(self) -> str:
        """The texts of `contents` joined; pictures left out."""
        return "".join(part.text for part in self.contents if isinstance(part, Text))


Conversation = tuple[Message, ...]


def user(content: str) -> Conversation:
    """A conversation of one question."""
    return (Message.of("user", content),)


def render(messages: Sequence[Message], weight: float = 1.0) -> Parts:
    """A whole conversation as parts, the begin mark left out.

    What the assistant says and the mark that ends it have the loss weight `weight`; all else 0.
    """
    parts: list[Part] = []
    for message in messages:
        own = weight if message.role == "assistant" else 0.0
        parts += [Mark(IM_START), Text(f"{message.role}\n", 0.0)]
        for part in message.contents:
            parts.append(part if isinstance(part, Image) else Text(part.text, own))
        parts += [Mark(IM_END, own), Text("\n", 0.0)]
    return tuple(parts)


def render_prompt(messages: Sequence[Message]) -> Parts:
    """A conversation that the assistant is to answer. Raises UserError if it spoke last."""
    if not messages or messages[-1].role == "assistant":
        raise UserError("a prompt ends with a user's or a system message")
    return (*render(messages), Mark(IM_START), Text("assistant\n", 0.0))


def chat_prompt(model: LanguageModel, messages: Sequence[Message]) -> Parts:
    """What a model is asked to answer a conversation: `render_prompt`, or for an endpoint,
    which sets turns itself, the user's message. Raises UserError if there would be more than it."""
    if not isinstance(model, APIModel):
        return render_prompt(messages)
    if [one.role for one in messages] != ["user"]:
        raise UserError(
            f"{model.name}: an endpoint is asked one user's message; leave out system messages and "
            f"earlier turns"
        )
    return messages[0].contents


def encode_chat(messages: Sequence[Message], tokenizer: Tokenizer, patch: int) -> Encoded:
    """ids (n,), loss weights (n,) and patches of a conversation, begin mark first."""
    return encode_parts((Mark(BOS), *render(messages)), tokenizer, patch)


class ChatModel:
    """A language model whose prompts are put as a user's message; implements `LanguageModel`.

    For tasks of the evaluation rooms, which know no turns. Continuations are scored as the
    beginning of the answer.
    """

    def __init__(self, model: LanguageModel, system: str = "") -> None:
        told = f", system {sha256_text(system)[:8]}" if system else ""
        self.model, self.name = model, f"{model.name} (chat{told})"
        self._before = (Message.of("system", system),) if system else ()

    def generate(
        self,
        requests: Sequence[GenerateRequest],
        on_done: Callable[[int, tuple[Completion, ...]], None] | None = None,
    ) -> list[tuple[Completion, ...]]:
        asked = [GenerateRequest(self._turn(one.prompt), one.sampling, one.n) for one in requests]
        return self.model.generate(asked, on_done)

    def score(
        self,
        requests: Sequence[ScoreRequest],
        on_done: Callable[[int, tuple[Score, ...]], None] | None = None,
    ) -> list[tuple[Score, ...]]:
        asked = [
            ScoreRequest(
                self._turn(one.prompt),
                tuple(c.strip() if isinstance(c, str) else c for c in one.continuations),
            )
            for one in requests
        ]
        return self.model.score(asked, on_done)

    def _turn(self, prompt: Parts | tuple[int, ...]) -> Parts:
        parts = tuple(part for part in prompt if isinstance(part, Text | Image))
        if len(parts) < len(prompt):
            raise UserError("a chat model is asked in text and pictures, not in token ids")
        return chat_prompt(self.model, (*self._before, Message("user", parts)))
