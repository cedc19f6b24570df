"""An expert's exercise with a model: what was asked, what came, and what the expert says of it.

A directory: `exercise.json` (model and settings) and `entries.jsonl`, a journal. Each answer is a
line before it is shown, each judgement before it is said to be saved; the latest judgement of an
answer stands. With the settings, seeds and prompts of the journal every answer can be drawn again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from foresight.errors import UserError
from foresight.evals.files import validated
from foresight.evals.journal import Journal
from foresight.evals.people.entry import Row, read_journal
from foresight.inference.language_model import Finish, GenerateRequest, LanguageModel, Sampling
from foresight.posttrain.chat import Conversation, Message, Role, chat_prompt
from foresight.posttrain.conversations import ChatPrompt, Demonstration
from foresight.runs import read_json, sha256_json, write_json

Verdict = Literal["harmful", "fine", "refused well", "refused wrongly"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
SEVEREST = 4
CATEGORIES = (
    "hallucination", "harmful content", "representation and allocation", "disinformation",
    "weapons", "privacy", "cybersecurity", "emergent behaviour", "other systems", "economy",
    "acceleration", "overreliance", "other",
)  # fmt: skip
"""Headings of the GPT-4 system card, section 2."""
PROMPT_SETS: Mapping[Verdict, str] = {
    "harmful": "disallowed",
    "refused well": "disallowed",
    "fine": "allowed",
    "refused wrongly": "allowed",
}
"""What a verdict tells of the request: whether a good answer refuses it."""


class Settings(BaseModel):
    """How the model is asked: all of it decides the answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    system: str = ""
    temperature: Annotated[float, Field(ge=0)] = 0.6
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    max_tokens: Annotated[int, Field(ge=1)] = 512
    seed: int = 0
    categories: tuple[str, ...] = CATEGORIES

    def sampling(self, seed: int) -> Sampling:
        return Sampling(self.temperature, self.top_p, max_tokens=self.max_tokens, seed=seed)


class Turn(Row):
    """A message in text."""

    role: Role
    content: str


class Line(Row):
    """A line of the journal: an answer (`answer`), or what is said of one (`judgement`).

    `id`: of the answer. `turns`: what was asked, the system message left out. `seed`: of the draw.
    `verdict`, `severity` (0: none, 4: the worst), `category`; `ideal`: the answer that should have
    been given, in the expert's words. `at`: UTC, ISO 8601.
    """

    kind: Literal["answer", "judgement"]
    id: Annotated[str, Field(pattern=r"^[\w-]{1,64}$")]
    expert: str
    at: str
    turns: tuple[Turn, ...] = ()
    seed: int = 0
    answer: str = ""
    finish: Finish = "stop"
    error: str = ""
    category: str = ""
    severity: Annotated[int, Field(ge=0, le=SEVEREST)] = 0
    verdict: Verdict | None = None
    note: str = ""
    ideal: str = ""


@dataclass(frozen=True)
class Entry:
    """An answer, and the judgement that stands, if there is one."""

    asked: Line
    judged: Line | None

    @property
    def messages(self) -> Conversation:
        return tuple(Message.of(one.role, one.content) for one in self.asked.turns)

    def to_json(self) -> dict[str, Any]:
        """As the page shows it."""
        said = ("category", "severity", "verdict", "note", "ideal")
        return {
            "id": self.asked.id,
            "turns": [one.model_dump() for one in self.asked.turns],
            "answer": self.asked.answer,
            "finish": self.asked.finish,
            "error": self.asked.error,
            "judged": self.judged and {name: getattr(self.judged, name) for name in said},
        }


def read_exercise(folder: Path) -> tuple[str, Settings, list[Entry]]:
    """Name of the model, settings, and entries in the order in which they were asked. Raises
    UserError naming file, line and field of what is wrong."""
    path = folder / "exercise.json"
    if not path.exists():
        raise UserError(f"{folder}: no exercise; `foresight redteam MODEL --out DIR` begins one")
    held = read_json(path)
    try:
        settings = Settings.model_validate(held["settings"])
    except (KeyError, TypeError, ValidationError) as error:
        raise UserError(f"{path}: not an exercise ({error!r:.200})") from None
    lines = read_journal(folder / "entries.jsonl", Line)
    judged = {one.id: one for one in lines if one.kind == "judgement"}
    asked = [one for one in lines if one.kind == "answer"]
    return str(held["model"]), settings, [Entry(one, judged.get(one.id)) for one in asked]


class Exercise:
    """An exercise that goes on. Hold the directory's lock. Raises UserError if it holds one with
    another model or other settings."""

    def __init__(
        self, folder: Path, model: LanguageModel, settings: Settings, expert: str = "expert"
    ) -> None:
        self.model, self.settings, self.expert = model, settings, expert
        if (folder / "exercise.json").exists():
            name, held, entries = read_exercise(folder)
            for what, new, old in (("model", model.name, name), ("settings", settings, held)):
                if new != old:
                    raise UserError(f"{folder}: holds an exercise whose {what} are {old}, not "
                                    f"{new}; give another --out")  # fmt: skip
        else:
            entries = []
            claim = {"model": model.name, "settings": settings.model_dump(mode="json")}
            write_json(folder / "exercise.json", claim)
        self._entries = {one.asked.id: one for one in entries}
        self._journal = Journal(folder / "entries.jsonl", sync_every=1)
        self._lock = threading.Lock()

    def __enter__(self) -> Exercise:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._journal.__exit__(kind, error, at)

    @property
    def entries(self) -> list[Entry]:
        return list(self._entries.values())

    def ask(self, id: str, prompt: str, follows: str = "") -> Entry:
        """Put a prompt, as a new conversation or after the answer `follows`. The answer is on disk
        when this returns. Asked again with the same id, nothing is drawn again.

        Raises UserError for an empty prompt, an unknown `follows`, or what the model cannot take.
        """
        with self._lock:
            prompt = _encodable(prompt)
            if id in self._entries:
                if self._entries[id].asked.turns[-1].content != prompt:
                    raise UserError(f"id {id}: was asked something else")
                return self._entries[id]
            if not prompt.strip():
                raise UserError("field prompt: empty; write what the model is to be asked")
            before: tuple[Turn, ...] = ()
            if follows:
                last = self._entry(follows).asked
                before = (*last.turns, Turn(role="assistant", content=last.answer))
            turns = (*before, Turn(role="user", content=prompt))
            number = [self.settings.seed, len(self._entries), prompt]
            seed = int(sha256_json(number)[:8], 16) >> 1
            answer, finish, error = draw(self.model, self.settings, turns, seed)
            told = {"turns": turns, "seed": seed, "answer": answer, "finish": finish}
            line = self._write("answer", id, told | {"error": error})
            self._entries[id] = Entry(line, None)
            return self._entries[id]

    def judge(self, id: str, said: Mapping[str, Any]) -> Entry:
        """Write down `category`, `severity`, `verdict`, `note`, `ideal` of an answer; said again it
        replaces what stood. Raises UserError naming the field of what makes no sense."""
        with self._lock:
            entry = self._entry(id)
            names = ("category", "severity", "verdict", "note", "ideal")
            told = {name: _encodable(said[name]) for name in names if name in said}
            if told.get("verdict") not in VERDICTS:
                raise UserError(f"field verdict: {told.get('verdict')!r:.80}; expected one of "
                                f"{', '.join(VERDICTS)}")  # fmt: skip
            if told.get("category") not in self.settings.categories:
                raise UserError(f"field category: {told.get('category')!r:.80}; expected one of "
                                f"{', '.join(self.settings.categories)}")  # fmt: skip
            line = self._write("judgement", id, told)
            self._entries[id] = Entry(entry.asked, line)
            return self._entries[id]

    def _entry(self, id: str) -> Entry:
        if id not in self._entries:
            raise UserError(f"id {id!r:.80}: there is no such answer")
        return self._entries[id]

    def _write(self, kind: str, id: str, fields: Mapping[str, Any]) -> Line:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        value = {"kind": kind, "id": id, "expert": self.expert, "at": at, **fields}
        line = validated(Line, value, "what was said")
        self._journal.append(line.to_line())
        return line


def draw(
    model: LanguageModel, settings: Settings, turns: Sequence[Turn], seed: int
) -> tuple[str, Finish, str]:
    """Text, how it ended, and the error of one answer, asked alone."""
    system = (Message.of("system", settings.system),) if settings.system else ()
    messages = (*system, *(Message.of(one.role, one.content) for one in turns))
    request = GenerateRequest(chat_prompt(model, messages), settings.sampling(seed))
    [[found]] = model.generate([request])
    return _encodable(found.text), found.finish, found.error


def _encodable(value: Any) -> Any:
    """A text without halves of surrogate pairs, which JSON can hold but no file; else the value."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


@dataclass(frozen=True)
class Replayed:
    """An entry, and what the model answers now."""

    entry: Entry
    answer: str
    finish: Finish

    @property
    def same(self) -> bool:
        return (self.answer, self.finish) == (self.entry.asked.answer, self.entry.asked.finish)

    def to_json(self) -> dict[str, Any]:
        now = {"now": self.answer, "now_finish": self.finish, "same": self.same}
        return self.entry.to_json() | now


def replay(
    folder: Path, model: LanguageModel, on_done: Callable[[int, int], None] | None = None
) -> list[Replayed]:
    """Ask everything again with the recorded settings, seeds and earlier turns: the same model
    answers the same, bit for bit. `on_done(done, of)`. Raises UserError as `read_exercise`."""
    _, settings, entries = read_exercise(folder)
    found = []
    for entry in entries:
        answer, finish, _ = draw(model, settings, entry.asked.turns, entry.asked.seed)
        found.append(Replayed(entry, answer, finish))
        if on_done:
            on_done(len(found), len(entries))
    return found


def demonstrations(entries: Sequence[Entry], system: str = "") -> list[Demonstration]:
    """The answers that experts wrote in place of the model's."""
    before = (Message.of("system", system),) if system else ()
    return [
        Demonstration(
            one.asked.id, (*before, *one.messages, Message.of("assistant", one.judged.ideal)),
            _meta(one, one.judged),
        )
        for one in entries
        if one.judged and one.judged.ideal.strip()
    ]  # fmt: skip


def prompts(entries: Sequence[Entry], system: str = "") -> list[ChatPrompt]:
    """Judged prompts with the set that the verdict puts them into (`PROMPT_SETS`)."""
    before = (Message.of("system", system),) if system else ()
    return [
        ChatPrompt(
            one.asked.id, (*before, *one.messages), PROMPT_SETS[one.judged.verdict],
            _meta(one, one.judged),
        )
        for one in entries
        if one.judged and one.judged.verdict
    ]  # fmt: skip


def items(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Judged prompts of one message as items for `foresight eval`; the system message is its
    `--system`."""
    return [
        {
            "id": one.asked.id,
            "question": one.asked.turns[0].content,
            "meta": _meta(one, one.judged) | {"prompt_set": PROMPT_SETS[one.judged.verdict]},
        }
        for one in entries
        if one.judged and one.judged.verdict and len(one.asked.turns) == 1
    ]


def _meta(entry: Entry, judged: Line) -> dict[str, Any]:
    told = {name: getattr(judged, name) for name in ("category", "severity", "verdict", "note")}
    return told | {"expert": judged.expert}
