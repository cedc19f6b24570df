"""The corpus on disk: sources, split, de-duplicated, tokenized, sharded, hashed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from foresight.data import sources
from foresight.data.deduplicate import deduplicate
from foresight.data.loader import Loader
from foresight.data.shards import Shard, encode_document
from foresight.data.tokenizer import Tokenizer
from foresight.document import Document
from foresight.errors import UserError
from foresight.recipe import CorpusSettings, Recipe, RunSpec
from foresight.runs import locked, read_json, sha256_file, sha256_json, write_json
from foresight.worlds import bets, flags, functions, ledger, library, pictures, programs

SPLITS = ("train", "validation")
_SEED = 0
_CODE_VALIDATION_SHARE = 0.1
# Text shown to the BPE trainer: merges of a small vocabulary settle long before this.
_TOKENIZER_CHARACTERS = 8_000_000

_WORLDS = {
    "programs": programs,
    "functions": functions,
    "bets": bets,
    "pictures": pictures,
    "flags": flags,
    "library": library,
    "ledger": ledger,
}

Say = Callable[[str], None]


class Corpus:
    """A directory with `manifest.json`, `tokenizer.json` and a shard per source and split."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.manifest: dict[str, Any] = read_json(self.manifest_path)
        if not isinstance(self.manifest, dict) or "files" not in self.manifest:
            raise UserError(
                f"{self.manifest_path}: not a corpus manifest (field 'files' is missing)"
            )

    @property
    def manifest_path(self) -> Path:
        return self.directory / "manifest.json"

    @cached_property
    def sha256(self) -> str:
        """Hash of the manifest, which holds the hash of every file."""
        return sha256_file(self.manifest_path)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.load(self.directory / "tokenizer.json")

    @property
    def tokenizer_sha256(self) -> str:
        return str(self.manifest["files"]["tokenizer.json"])

    @property
    def names(self) -> list[str]:
        return sorted(self.manifest["sources"])

    def check(self) -> None:
        """Re-hash every file. Raises UserError naming the first that is not what was built."""
        for name, expected in self.manifest["files"].items():
            if sha256_file(self.directory / name) != expected:
                raise UserError(
                    f"{self.directory / name}: its bytes are not the ones that were built "
                    f"(SHA-256 differs); rebuild the corpus in another directory"
                )

    def train_loader(self, mixture: Mapping[str, float], context: int, seed: int) -> Loader:
        shards = {name: self._shard(name, "train") for name in mixture}
        return Loader(shards, mixture, context, seed)

    def loader_for(self, spec: RunSpec) -> Loader:
        """The rows of a run. Raises UserError if it would read more than one pass."""
        loader = self.train_loader(spec.mixture, spec.shape.context, spec.seed)
        if loader.positions < spec.tokens:
            raise UserError(
                f"{self.directory}: holds {loader.positions:,} positions in the recipe's "
                f"proportions, the run at width {spec.shape.width} reads {spec.tokens:,}; one "
                f"pass is the rule, so use more data (corpus.code: installed, "
                f"corpus.generated_documents) or a smaller run"
            )
        return loader

    def validation_loaders(self, context: int) -> dict[str, tuple[Loader, int]]:
        """{source: (its held-out rows in a fixed order, how many rows to use)}."""
        wanted = int(self.manifest["settings"]["validation_tokens"])
        found = {}
        for name in self.names:
            loader = Loader({name: self._shard(name, "validation")}, {name: 1.0}, context, _SEED)
            share = 1 if name == "code" else 4
            found[name] = (loader, max(1, min(wanted // share, loader.positions) // context))
        return found

    def image_share(self, mixture: Mapping[str, float]) -> float:
        """Share of positions that are image patches, in the proportions of `mixture`."""
        total = sum(mixture.values())
        counts = self.manifest["sources"]
        return sum(
            share
            / total
            * int(counts[name]["train"]["patches"])
            / int(counts[name]["train"]["tokens"])
            for name, share in mixture.items()
        )

    def _shard(self, name: str, split: str) -> Shard:
        if name not in self.manifest["sources"]:
            raise UserError(
                f"{self.manifest_path}: has no source '{name}', only {', '.join(self.names)}"
            )
        return Shard.open(self.directory, f"{name}.{split}")

    @classmethod
    def build(cls, recipe: Recipe, directory: Path, say: Say = lambda _: None) -> Corpus:
        """Make the corpus of a recipe, or open the one that is already there.

        Raises UserError if the directory holds a corpus of other settings.
        """
        key = sha256_json(_corpus_key(recipe))
        with locked(directory):
            if (directory / "manifest.json").exists():
                corpus = cls(directory)
                if corpus.manifest.get("key") != key:
                    raise UserError(
                        f"{corpus.manifest_path}: built with other corpus settings than "
                        f"recipe '{recipe.name}'; use another directory"
                    )
                return corpus
            _build(recipe, directory, key, say)
        return cls(directory)


def _corpus_key(recipe: Recipe) -> dict[str, Any]:
    return {"corpus": recipe.corpus.model_dump(mode="json"), "patch": recipe.architecture.patch}


def _build(recipe: Recipe, directory: Path, key: str, say: Say) -> None:
    settings, patch = recipe.corpus, recipe.architecture.patch
    documents, report = _documents(settings, say)
    say("training the tokenizer")
    tokenizer = Tokenizer.train(_tokenizer_text(documents), settings.vocab_size)
    tokenizer.save(directory / "tokenizer.json")
    files = {"tokenizer.json": sha256_file(directory / "tokenizer.json")}
    counts: dict[str, dict[str, Any]] = {}
    for name, splits in documents.items():
        counts[name] = {}
        for split, items in splits.items():
            say(f"encoding {name}, {split}")
            encoded = (encode_document(document, tokenizer, patch) for document in items)
            shard = f"{name}.{split}"
            counts[name][split] = Shard.write(directory, shard, encoded, patch) | {
                "bytes": sum(len(document.text.encode()) for document in items)
            }
            files |= {file: sha256_file(directory / file) for file in Shard.file_names(shard)}
    write_json(
        directory / "manifest.json",
        {
            "key": key,
            "settings": settings.model_dump(mode="json"),
            "patch": patch,
            "sources": counts,
            "deduplication": report,
            "files": files,
        },
    )


def _documents(
    settings: CorpusSettings, say: Say
) -> tuple[dict[str, dict[str, list[Document]]], dict[str, Any]]:
    """{source: {split: documents}} and what de-duplication of the real text removed."""
    found: dict[str, dict[str, list[Document]]] = {}
    report: dict[str, Any] = {}
    if "code" in settings.mixture:
        say("reading real text")
        train, validation = sources.split(_real_text(settings.code), _CODE_VALIDATION_SHARE, _SEED)
        say("removing duplicates across the split")
        train, validation, removed = deduplicate(train, validation)
        report = {
            "counts": removed.counts,
            "bytes_removed": removed.bytes_removed,
            "examples": [asdict(removal) for removal in removed.examples(10)],
        }
        found["code"] = {"train": train, "validation": validation}
    made = {name: world for name, world in _WORLDS.items() if name in settings.mixture}
    largest = max((settings.mixture[name] for name in made), default=1.0)
    for name, world in made.items():
        say(f"making {name}")
        count = math.ceil(settings.generated_documents * settings.mixture[name] / largest)
        held_out = max(500, count // 20)
        found[name] = {
            "train": list(world.documents(_SEED, count, "train")),
            "validation": list(world.documents(_SEED, held_out, "validation")),
        }
    return found, report


def _real_text(choice: str) -> list[Document]:
    if choice == "stdlib":
        return list(sources.standard_library())
    if choice == "installed":
        return [*sources.standard_library(tests=True), *sources.installed_packages()]
    if choice.startswith("hub:"):
        return list(sources.hub(choice.removeprefix("hub:")))
    path = Path(choice)
    if path.suffix == ".jsonl":
        return list(sources.jsonl(path))
    if path.suffix == ".parquet":
        return list(sources.parquet(path))
    return list(sources.folder(path))


def _tokenizer_text(documents: dict[str, dict[str, list[Document]]]) -> Iterable[str]:
    """Training text only, every source in turn, so that held-out bytes shape no merge."""
    for splits in documents.values():
        budget = _TOKENIZER_CHARACTERS // len(documents)
        for document in splits["train"]:
            if budget <= 0:
                break
            yield document.text[:budget]
            budget -= len(document.text)
