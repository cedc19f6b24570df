"""Data of post-training in JSONL: demonstrations, comparisons, prompts.

Messages are OpenAI's: `{"role", "content"}`, content a text or a list of `{"type": "text", "text"}`
and `{"type": "image_url", "image_url": {"url"}}`, url a data: URL or a file relative to the JSONL.
Every error names file, line and field, and what would be right.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, TypeVar

from foresight.document import Image, Text
from foresight.errors import UserError
from foresight.evals.files import read_files, rows_of
from foresight.evals.layout import prompt_text
from foresight.inference.wire import data_url
from foresight.posttrain.chat import Conversation, Message, render
from foresight.posttrain.messages import MessageReader
from foresight.runs import sha256_text, write_atomic


@dataclass(frozen=True, eq=False)
class Demonstration:
    """A conversation whose last message, the assistant's, is to be imitated."""

    id: str
    messages: Conversation
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Pair:
    """Two answers to one prompt. `weight`: of its loss, 1 / (pairs) of a ranking, as InstructGPT
    (Ouyang et al. 2022, equation 1) weighs them; `gap`: ranks between the two, if it is of one."""

    id: str
    prompt: Conversation
    chosen: str
    rejected: str
    weight: float = 1.0
    gap: float | None = None
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def group(self) -> str:
        """The same for all pairs of one prompt: they must not straddle a split."""
        return sha256_text(prompt_text(render(self.prompt)))[:16]


@dataclass(frozen=True, eq=False)
class ChatPrompt:
    """A conversation that waits for an answer. `prompt_set`: which rules the answer is held to."""

    id: str
    messages: Conversation
    prompt_set: str = ""
    meta: dict[str, Any] = field(default_factory=dict)


Sample = Demonstration | Pair | ChatPrompt
S = TypeVar("S", bound=Sample)


def read_demonstrations(path: Path) -> list[Demonstration]:
    """Lines of `messages`, optionally `id`, `meta`; the last message is the assistant's and says
    something. Raises UserError naming file, line and field."""
    found = []
    for row in _rows(path, ("messages",), ("id", "meta")):
        messages = row.messages("messages", row.value["messages"])
        if messages[-1].role != "assistant":
            row.fail(f"messages[{len(messages) - 1}].role", messages[-1].role, "assistant: a "
                     "demonstration ends with the answer to be learned")  # fmt: skip
        if not messages[-1].text:
            row.fail(f"messages[{len(messages) - 1}].content", "", "what the assistant says: of "
                     "this sample nothing would be learned")  # fmt: skip
        found.append(Demonstration(row.id, messages, row.meta))
    return _distinct(path, found)


def read_pairs(path: Path) -> list[Pair]:
    """Lines of `prompt` with `chosen` and `rejected` (texts, or lists of one message, as `foresight
    prefer export` writes), optionally `weight`, `gap`, `judges`; or with a `ranking`, texts from
    best to worst, which becomes all its pairs. Raises UserError naming file, line and field."""
    found: list[Pair] = []
    others = ("chosen", "rejected", "ranking", "weight", "gap", "judges", "id", "meta")
    for row in _rows(path, ("prompt",), others):
        prompt = row.prompt("prompt")
        if "ranking" in row.value:
            for name in ("chosen", "rejected", "weight", "gap"):
                if name in row.value:
                    row.fail(name, row.value[name], "no such field beside `ranking`")
            found += _ranked(row, prompt)
            continue
        chosen, rejected = row.answer("chosen"), row.answer("rejected")
        if chosen == rejected:
            row.fail("rejected", rejected, "an answer that differs from `chosen`")
        weight, gap = row.value.get("weight", 1.0), row.value.get("gap")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < 1e9:
            row.fail("weight", weight, "a number above 0")
        if gap is not None and (type(gap) is not int or gap < 1):
            row.fail("gap", gap, "a whole number of ranks, or nothing")
        found.append(Pair(row.id, prompt, chosen, rejected, float(weight), gap, row.meta))
    return _distinct(path, found)


def _ranked(row: _Row, prompt: Conversation) -> list[Pair]:
    texts = row.value["ranking"]
    sound = isinstance(texts, list) and all(isinstance(one, str) and one.strip() for one in texts)
    if not sound or len(texts) < 2 or len(set(texts)) < len(texts):
        row.fail("ranking", texts, "two or more different texts, the best first")
    places = list(combinations(range(len(texts)), 2))
    return [
        Pair(f"{row.id}/{better}-{worse}", prompt, row.text("ranking", texts[better]),
             row.text("ranking", texts[worse]), 1 / len(places), worse - better, row.meta)
        for better, worse in places
    ]  # fmt: skip


def read_prompts(path: Path) -> list[ChatPrompt]:
    """Lines of `messages` (or `prompt`: a text, or messages), optionally `prompt_set`, `id`,
    `meta`; the last message is a user's. Raises UserError naming file, line and field."""
    found = []
    for row in _rows(path, (), ("messages", "prompt", "prompt_set", "id", "meta")):
        name = "messages" if "messages" in row.value else "prompt"
        if ("messages" in row.value) == ("prompt" in row.value):
            row.fail("messages", row.value.get("messages"), "either `messages` or `prompt`")
        prompt_set = row.text("prompt_set", row.value.get("prompt_set", ""))
        found.append(ChatPrompt(row.id, row.prompt(name), prompt_set, row.meta))
    return _distinct(path, found)


def write_jsonl(path: Path, samples: Iterable[Sample]) -> None:
    """Write samples as their reader reads them, pictures as data URLs; all of it or nothing."""
    write_atomic(path, "".join(json.dumps(row_of(one)) + "\n" for one in samples))


def row_of(sample: Sample) -> dict[str, Any]:
    """The JSON object of a sample; fields that say nothing are left out."""
    row: dict[str, Any] = {"id": sample.id}
    if isinstance(sample, Pair):
        row |= {"prompt": [json_of(one) for one in sample.prompt]}
        row |= {"chosen": sample.chosen, "rejected": sample.rejected}
        row |= {"weight": sample.weight} if sample.weight != 1.0 else {}
        row |= {"gap": sample.gap} if sample.gap is not None else {}
    else:
        row |= {"messages": [json_of(one) for one in sample.messages]}
    if isinstance(sample, ChatPrompt) and sample.prompt_set:
        row |= {"prompt_set": sample.prompt_set}
    return row | ({"meta": sample.meta} if sample.meta else {})


def json_of(message: Message) -> dict[str, Any]:
    """A message as OpenAI writes it, pictures as PNG in data URLs."""
    match message.parts:
        case (Text(text),):
            return {"role": message.role, "content": text}
    content = [
        {"type": "image_url", "image_url": {"url": data_url(part)}}
        if isinstance(part, Image)
        else {"type": "text", "text": part.text}
        for part in message.parts
    ]
    return {"role": message.role, "content": content}


@dataclass(frozen=True)
class _Row(MessageReader):
    """An object of a JSONL file."""

    value: Mapping[str, Any]
    id: str
    meta: dict[str, Any]

    def prompt(self, name: str) -> Conversation:
        """Messages of which the last is a user's; a text is one user's message."""
        if isinstance(self.value[name], str):
            found: Conversation = (Message.of("user", self.text(name, self.value[name])),)
        else:
            found = self.messages(name, self.value[name])
        if found[-1].role != "user":
            self.fail(f"{name}[{len(found) - 1}].role", found[-1].role, "user: the one to answer")
        return found

    def answer(self, name: str) -> str:
        """A text, or a list of one message of the assistant's."""
        value = self.value.get(name)
        if isinstance(value, list) and len(value) == 1:
            message = self.message(f"{name}[0]", value[0])
            if message.role == "assistant" and all(isinstance(one, Text) for one in message.parts):
                return message.text
        if not isinstance(value, str):
            self.fail(name, value, "a text, or a list of one message of the assistant in text")
        return self.text(name, value)


def _rows(path: Path, required: tuple[str, ...], optional: tuple[str, ...]) -> Iterator[_Row]:
    """Lines of a JSONL file (also .jsonl.gz), by number and fields."""
    known = (*required, *optional)
    for name, text in read_files(path, path.name.removesuffix(".gz")).items():
        file = str(path.with_name(name))
        for number, (where, value) in enumerate(rows_of(file, text, *required), start=1):
            row = _Row(where, path.parent, value, "", {})
            if unknown := [one for one in value if one not in known]:
                row.fail(unknown[0], value[unknown[0]], f"one of {', '.join(known)} (anything else "
                         "goes into `meta`)")  # fmt: skip
            name_of = value.get("id", number)
            if isinstance(name_of, bool) or not isinstance(name_of, str | int) or name_of == "":
                row.fail("id", name_of, "a text or a number")
            if not isinstance(meta := value.get("meta", {}), dict):
                row.fail("meta", meta, "an object")
            judges = {"judges": value["judges"]} if "judges" in value else {}
            yield _Row(where, path.parent, value, row.text("id", str(name_of)), meta | judges)


def _distinct(path: Path, samples: list[S]) -> list[S]:
    """The samples. Raises UserError if there are none, or two have one id."""
    if not samples:
        raise UserError(f"{path}: no lines")
    seen: set[str] = set()
    for one in samples:
        if one.id in seen:
            raise UserError(f"{path}, field id: {one.id!r} occurs twice; give each line its own")
        seen.add(one.id)
    return samples
