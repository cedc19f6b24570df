"""What is looked for: questions, and the substrings that stand for them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from foresight.errors import UserError
from foresight.evals.contamination.normalise import squeezed, without_zero
from foresight.runs import sha256_json


@dataclass(frozen=True)
class Question:
    """The text of an item of a task; answers and options are no part of it."""

    task: str
    id: str
    text: str


@dataclass(frozen=True)
class Settings:
    """What decides the outcome.

    `length`, `substrings`, `seed`: the report draws three random substrings of 50 normalised
    characters, and takes the whole of a shorter question. `fold`: ignore upper case, of which the
    report says nothing. `shortest`: normalised characters below which a whole question is no
    evidence. `boilerplate`: documents from which on a substring counts as boilerplate (GPT-3's
    rule for 13-grams). `ngram`: words of an n-gram, 0 to leave them out. `near`: share of a
    question's shingles that stand together from which on it is a near-duplicate, 0 to leave it out.
    `places`: how many documents are named for a substring.
    """

    length: int = 50
    substrings: int = 3
    seed: int = 0
    fold: bool = False
    shortest: int = 8
    boilerplate: int = 10
    ngram: int = 0
    near: float = 0.0
    places: int = 5

    def __post_init__(self) -> None:
        for name, least in (("length", 8), ("substrings", 1), ("shortest", 8), ("boilerplate", 2),
                            ("places", 1)):  # fmt: skip
            if getattr(self, name) < least:
                raise UserError(f"{name} {getattr(self, name)}: must be {least} or more")
        if self.shortest > self.length:
            raise UserError(f"shortest {self.shortest}: must not exceed length {self.length}")
        if self.ngram < 0 or self.ngram == 1 or not 0 <= self.near <= 1:
            raise UserError(
                f"ngram {self.ngram}, near {self.near}: an n-gram has 2 words or more, a share "
                f"lies between 0 and 1"
            )


@dataclass(frozen=True)
class Plan:
    """Questions and settings: everything that a scan of a document depends on."""

    questions: tuple[Question, ...]
    settings: Settings

    @property
    def sha256(self) -> str:
        return sha256_json(
            [asdict(self.settings), [[one.task, one.id, one.text] for one in self.questions]]
        )


def normalised(text: str, fold: bool) -> str:
    """Letters and digits of a text."""
    return squeezed(without_zero(text.encode(errors="replace")), fold).decode()


def draw(question: Question, settings: Settings) -> list[str]:
    """The substrings of a question, without repetitions: `substrings` of them of `length` that
    begin at different places, or the whole if it is not longer; none if it is shorter than
    `shortest`. Where they begin depends on the seed, the task and the item alone.
    """
    text = normalised(question.text, settings.fold)
    if len(text) <= settings.length:
        return [text] if len(text) >= settings.shortest else []
    key = f"{settings.seed}/{question.task}/{question.id}"
    random_ = random.Random(hashlib.sha256(key.encode()).digest())
    begins = range(len(text) - settings.length + 1)
    starts = random_.sample(begins, min(settings.substrings, len(begins)))
    return list(dict.fromkeys(text[start : start + settings.length] for start in starts))


def read_questions(sources: Iterable[str]) -> tuple[Question, ...]:
    """Of tasks as `foresight eval` takes them, and of JSONL files of `id` and `text` (the task is
    the file's name). Raises UserError if two tasks have one name or an id occurs twice."""
    found: dict[tuple[str, str], Question] = {}
    tasks: set[str] = set()
    for source in sources:
        some = list(_read(source))
        if not some:
            raise UserError(f"{source}: holds no items")
        if some[0].task in tasks:
            raise UserError(f"two tasks have the name {some[0].task}; rename one of them")
        tasks.add(some[0].task)
        for one in some:
            if (one.task, one.id) in found:
                raise UserError(f"{source}: item id {one.id!r} occurs twice")
            found[one.task, one.id] = one
    return tuple(found.values())


def _read(source: str) -> Iterator[Question]:
    # Imported here: processes that scan need questions, but no graders and what they stand on.
    from foresight.evals.files import read_rows
    from foresight.evals.reading import read_task

    path = Path(source)
    if path.suffix != ".jsonl":
        task = read_task(source)
        for item in task.items:
            yield Question(task.name, item.id, item.text)
        return
    for where, row in read_rows(path, "id", "text"):
        if not isinstance(row["text"], str):
            raise UserError(f"{where}, field text: {row['text']!r}; expected a text")
        yield Question(path.stem, str(row["id"]), row["text"])
