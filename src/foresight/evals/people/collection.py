"""Answers of several models to the same prompts, on disk, and the pairs that they make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from foresight.errors import UserError
from foresight.evals.files import lines_of
from foresight.evals.item import Item
from foresight.evals.journal import Journal, claim
from foresight.evals.layout import Layout, joined, prompt_text
from foresight.evals.people.entry import Row, read_journal
from foresight.evals.people.prompts import Filters, sift
from foresight.evals.runner import Progress, write_images
from foresight.inference.language_model import (
    Completion,
    Finish,
    GenerateRequest,
    LanguageModel,
    Sampling,
)
from foresight.runs import locked, read_json, sha256_json, sha256_text, write_atomic

UNANSWERED = ("failed", "cancelled")


class Asking(BaseModel):
    """How prompts are put to models: all of it decides the answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layout: Layout = Layout()
    temperature: Annotated[float, Field(ge=0)] = 0.6
    max_tokens: Annotated[int, Field(ge=1)] = 1024
    stop: tuple[str, ...] = ()
    seed: int = 0

    def request(self, item: Item, model: str) -> GenerateRequest:
        """A random stream for every prompt and model."""
        seed = int(sha256_json([self.seed, item.id, model])[:8], 16) >> 1
        sampling = Sampling(
            temperature=self.temperature, max_tokens=self.max_tokens, stop=self.stop, seed=seed
        )
        return GenerateRequest(joined(self.layout.asked(item)), sampling)


class Prompt(Row):
    """`text`: as asked, a picture as "[image SHA-256 HxW]". `cluster`: what it is not independent
    of."""

    id: str
    text: str
    cluster: str
    category: str


class Answer(Row):
    """What a model wrote to a prompt. Failed answers are asked for again by the next call."""

    prompt: str
    model: str
    text: str
    finish: Finish
    tokens: int
    error: str = ""


@dataclass(frozen=True)
class Pair:
    """Two answers to one prompt, models in alphabetical order."""

    key: str
    prompt: Prompt
    first: Answer
    second: Answer

    @property
    def identical(self) -> bool:
        """Nobody is asked which of two equal answers is better: a tie."""
        return self.first.text.strip() == self.second.text.strip()


@dataclass(frozen=True)
class Collection:
    """A directory of `collect`: `prompts.jsonl`, `filtered.jsonl`, `answers.jsonl`, `images/`,
    `collection.json` (settings and hash of the prompts), and later `votes.jsonl`."""

    folder: Path
    prompts: tuple[Prompt, ...]
    answers: tuple[Answer, ...]
    seed: int

    @classmethod
    def read(cls, folder: Path) -> Collection:
        """Raises UserError naming file, line and field of what is wrong."""
        if not (folder / "collection.json").exists():
            raise UserError(f"{folder}: no collection; `foresight prefer collect` makes one")
        settings = read_json(folder / "collection.json")
        answers = read_journal(folder / "answers.jsonl", Answer)
        latest = {(one.prompt, one.model): one for one in answers}
        return cls(
            folder,
            tuple(read_journal(folder / "prompts.jsonl", Prompt)),
            tuple(one for one in latest.values() if one.finish not in UNANSWERED),
            int(settings["asking"]["seed"]),
        )

    @property
    def votes(self) -> Path:
        return self.folder / "votes.jsonl"

    @property
    def models(self) -> list[str]:
        return sorted({one.model for one in self.answers})

    def pairs(self) -> list[Pair]:
        """Every two models on every prompt that both have answered."""
        found = {(one.prompt, one.model): one for one in self.answers}
        names, pairs = self.models, []
        for prompt in self.prompts:
            have = [found[prompt.id, name] for name in names if (prompt.id, name) in found]
            for first, second in combinations(have, 2):
                key = sha256_json([prompt.id, first.model, second.model])
                pairs.append(Pair(key, prompt, first, second))
        return pairs


def collect(
    items: Sequence[Item],
    models: Sequence[LanguageModel],
    folder: Path,
    filters: Filters,
    asking: Asking,
    on_progress: Callable[[Progress], None],
) -> Collection:
    """One answer of each model to each prompt that passes the filters.

    Every answer is a line as soon as it is there; a call after an interruption asks for the rest,
    and one with further models adds theirs. Raises UserError if two models have one name, if no
    prompt is left, or if the folder holds other prompts or settings.
    """
    names = [model.name for model in models]
    if len(set(names)) < len(names):
        raise UserError(f"two models have one name ({', '.join(names)})")
    with locked(folder):
        kept = _claim(items, folder, filters, asking)
        write_images(kept, folder / "images")
        with Journal(folder / "answers.jsonl") as journal:
            have = {(one.prompt, one.model) for one in Collection.read(folder).answers}
            for model in models:
                todo = [item for item in kept if (item.id, model.name) not in have]
                progress = Progress(len(kept), len(kept) - len(todo), len(kept) - len(todo))
                _ask(model, todo, asking, journal, progress, on_progress)
    return Collection.read(folder)


def _claim(
    items: Sequence[Item], folder: Path, filters: Filters, asking: Asking
) -> tuple[Item, ...]:
    """Write down what the folder is of, or refuse it."""
    sifted = sift(items, filters)
    if not sifted.kept:
        raise UserError(f"none of {len(items)} prompts passes the filters; see --help for them")
    rows = "".join(
        Prompt(
            id=item.id,
            text=prompt_text(joined(item.parts)),
            cluster=cluster,
            category=str(item.meta.get("category", "")) or item.group,
        ).to_line()
        + "\n"
        for item, cluster in zip(sifted.kept, sifted.clusters, strict=True)
    )
    path = folder / "collection.json"
    if not path.exists():
        write_atomic(folder / "prompts.jsonl", rows)
        write_atomic(folder / "filtered.jsonl", lines_of(map(asdict, sifted.filtered)))
    value = {
        "prompts": sha256_text(rows),
        "asking": asking.model_dump(mode="json"),
        "filters": asdict(filters) | {"disallowed": list(filters.disallowed)},
    }
    claim(path, value, dict.fromkeys(value, "another collection"))
    return sifted.kept


def _ask(
    model: LanguageModel,
    items: Sequence[Item],
    asking: Asking,
    journal: Journal,
    progress: Progress,
    on_progress: Callable[[Progress], None],
) -> None:
    def done(at: int, answers: tuple[Completion, ...]) -> None:
        one = answers[0]
        answer = Answer(
            prompt=items[at].id,
            model=model.name,
            # Half a surrogate pair, which an endpoint can send, fits no file.
            text=one.text.encode(errors="replace").decode(),
            finish=one.finish,
            tokens=one.completion_tokens,
            error=one.error,
        )
        journal.append(answer.to_line())
        progress.done += 1
        on_progress(progress)

    model.generate([asking.request(item, model.name) for item in items], done)
