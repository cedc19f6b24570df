"""Answers of several models to the same prompts, on disk, and the pairs that they make."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from foresight.errors import UserError
from foresight.evals.files import lines_of
from foresight.evals.item import Item
from foresight.evals.journal import claim, read_records
from foresight.evals.layout import joined, prompt_text
from foresight.evals.people.entry import Row, read_journal
from foresight.evals.people.prompts import Filters, sift
from foresight.evals.protocols import FreeResponse
from foresight.evals.record import Reason, Record
from foresight.evals.runner import Progress, run, write_images
from foresight.evals.task import Task
from foresight.inference.language_model import LanguageModel
from foresight.runs import locked, read_json, sha256_json, sha256_text, write_atomic


class Prompt(Row):
    """`text`: as asked, a picture as "[image SHA-256 HxW]". `cluster`: what it is not independent
    of."""

    id: str
    text: str
    cluster: str
    category: str


@dataclass(frozen=True)
class Pair:
    """Two answers to one prompt, models in alphabetical order."""

    key: str
    prompt: Prompt
    first: Record
    second: Record

    @property
    def identical(self) -> bool:
        """Nobody is asked which of two equal answers is better: a tie."""
        return self.first.output.strip() == self.second.output.strip()


@dataclass(frozen=True)
class Collection:
    """A directory of `collect`: `prompts.jsonl`, `filtered.jsonl`, `answers/MODEL/` (records as
    `eval` writes them), `images/`, `collection.json` (settings and hash of the prompts), and later
    `votes.jsonl`."""

    folder: Path
    prompts: tuple[Prompt, ...]
    answers: tuple[Record, ...]
    seed: int

    @classmethod
    def read(cls, folder: Path) -> Collection:
        """Raises UserError naming file, line and field of what is wrong."""
        if not (folder / "collection.json").exists():
            raise UserError(f"{folder}: no collection; `foresight prefer collect` makes one")
        settings = read_json(folder / "collection.json")
        files = sorted((folder / "answers").glob("*/records.jsonl"))
        answers = (one for file in files for one in read_records(file))
        return cls(
            folder,
            tuple(read_journal(folder / "prompts.jsonl", Prompt)),
            tuple(one for one in answers if one.reason is not Reason.NO_RESPONSE),
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
        found = {(one.item, one.model): one for one in self.answers}
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
    protocol: FreeResponse,
    seed: int,
    on_progress: Callable[[Progress], None],
) -> Collection:
    """One answer of each model to each prompt that passes the filters, with a random stream for
    every prompt, model and seed.

    Every answer is a record as soon as it is there; a call after an interruption asks for the rest,
    and one with further models adds theirs. Raises UserError if two models have one name, if no
    prompt is left, or if the folder holds other prompts or settings.
    """
    names = [model.name for model in models]
    if len(set(names)) < len(names):
        raise UserError(f"two models have one name ({', '.join(names)})")
    with locked(folder):
        kept = _claim(items, folder, filters, {**protocol.settings(), "seed": seed})
        write_images(kept, folder / "images")
        for model in models:
            stream = {"stream": [seed, model.name]}
            own = tuple(replace(one, meta=one.meta | stream) for one in kept)
            out_dir = folder / "answers" / re.sub(r"[^\w.+-]+", "_", model.name)
            run(Task("prompts", own, protocol), model, out_dir, on_progress=on_progress)
    return Collection.read(folder)


def _claim(
    items: Sequence[Item], folder: Path, filters: Filters, asking: Mapping[str, Any]
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
        "asking": asking,
        "filters": asdict(filters) | {"disallowed": list(filters.disallowed)},
    }
    claim(path, value, dict.fromkeys(value, "another collection"))
    return sifted.kept
