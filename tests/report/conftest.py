"""An experiment directory whose files follow a law, written without training anything."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from foresight.experiment import Experiment
from foresight.recipe import Recipe
from foresight.report.page import write_page
from foresight.runs import Run, read_json, sha256_file, write_atomic, write_json
from foresight.training.ladder import Job, rung_jobs, target_job

HOSTILE = "<script>alert('x')</script> $\\frac{ & \"http://evil.example/\""
NOISE = (1.002, 0.998)


def true_loss(compute_flops: float) -> float:
    return float(0.6 * (compute_flops / 1e12) ** -0.15 + 1.5)


def recipe(code: str = "stdlib") -> Recipe:
    return Recipe.model_validate(
        {
            "name": "synthetic",
            "corpus": {"code": code},
            "ladder": {
                "rungs": [1e10, 3e10, 1e11, 3e11, 1e12],
                "seeds": [2] * 5,
                "targets": [1e13, 3e13],
                "trained_targets": 1,
            },
        }
    )


class Page(HTMLParser):
    """Visible text, tables as rows of cells by caption, tags and attributes of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.paragraphs: list[tuple[str, str]] = []
        self._open: list[str] = []
        self._text = ""
        self._class = ""
        self._rows: list[list[str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag in ("p", "th", "td", "caption", "summary", "figcaption"):
            self._text, self._class = "", dict(attrs).get("class") or ""
        if tag == "tr":
            self._rows.append([])
        if tag == "table":
            self._rows = []

    def handle_data(self, data: str) -> None:
        self._text += data

    def handle_endtag(self, tag: str) -> None:
        if tag in ("p", "figcaption"):
            self.paragraphs.append((self._class, self._text.strip()))
        elif tag == "caption":
            self.tables[self._text.strip()] = self._rows
        elif tag in ("th", "td"):
            self._rows[-1].append(self._text.strip())

    def row(self, caption: str, name: str) -> list[str]:
        return next(row[1:] for row in self.tables[caption] if row[0] == name)

    @property
    def text(self) -> str:
        return " ".join(text for _, text in self.paragraphs)


@dataclass
class World:
    """Writes what the trainer would, with losses that follow `true_loss`."""

    directory: Path
    recipe: Recipe

    @property
    def experiment(self) -> Experiment:
        return Experiment.open(self.directory)

    def corpus(self) -> None:
        folder = self.directory / "corpus"
        write_atomic(folder / "tokenizer.json", '{"vocabulary": 512}\n')
        counts = {"documents": 1234, "bytes": 5678, "tokens": 2345, "patches": 0}
        manifest = {
            "settings": self.recipe.corpus.model_dump(mode="json"),
            "sources": {
                name: {"train": counts, "validation": counts}
                for name in ("code", "programs", "pictures")
            },
            "deduplication": {"counts": {"train near validation": 3}, "bytes_removed": 999},
            "files": {"tokenizer.json": sha256_file(folder / "tokenizer.json")},
        }
        write_json(folder / "manifest.json", manifest)

    def train(self, job: Job, compute: float, *, factor: float, started: datetime) -> None:
        run, spec, final = job.run, job.spec, true_loss(compute) * factor
        corpus = self.directory / "corpus"
        hashes = {
            "recipe": sha256_file(self.directory / "recipe.yaml"),
            "data": sha256_file(corpus / "manifest.json"),
            "tokenizer": sha256_file(corpus / "tokenizer.json"),
            "code": "0" * 64,
            "spec": spec.sha256,
        }
        manifest = {
            "spec": spec.model_dump(),
            "hashes": hashes,
            "versions": {"foresight": "0.1", "torch": "2"},
            "device": {"kind": "cpu", "machine": "x86_64", "threads": 2},
            "created_utc": started.isoformat(),
        }
        write_json(run.manifest_path, manifest)
        steps = range(10, 401, 10)
        losses = [1.4 * final * (1 + 0.8 * math.exp(-0.015 * step)) for step in steps]
        rows = [{"step": s, "tokens": 9 * s, "loss": v} for s, v in zip(steps, losses, strict=True)]
        write_atomic(run.metrics_path, "".join(json.dumps(row) + "\n" for row in rows))
        gain = 0.05 * math.log10(compute / 1e9)
        result = {
            "run": run.path.name, "compute_flops": compute, "params": spec.shape.params,
            "active_params": spec.shape.active_params, "tokens": spec.tokens, "steps": 400,
            "seed": spec.seed, "losses": {"code": 1.4 * final, "mix": 1.3 * final},
            "bits_per_byte": {"code": final}, "seconds": 36.0,
            "diagnostics": {"clip_rate": 0.0, "epochs": 0.5, "head_share": 0.3, "copy_gain": gain},
            "metrics_sha256": sha256_file(run.metrics_path),
        }  # fmt: skip
        write_json(run.result_path, result)

    def ladder(self) -> None:
        planned = zip(self.recipe.ladder.rungs, self.recipe.ladder.seeds, strict=True)
        computes = [compute for compute, seeds in planned for _ in range(seeds)]
        jobs = rung_jobs(self.recipe, self.directory)
        for number, (job, compute) in enumerate(zip(jobs, computes, strict=True)):
            factor = NOISE[number % 2]
            self.train(job, compute, factor=factor, started=datetime(2026, 1, 1, tzinfo=UTC))

    def register(self) -> None:
        for compute in self.recipe.ladder.targets:
            self.experiment.predict(compute, registered=True)

    def target(self, factor: float = 1.0) -> Run:
        compute = self.recipe.ladder.targets[0]
        job = target_job(self.recipe, self.directory, compute)
        later = datetime.now(UTC) + timedelta(hours=1)
        self.train(job, compute, factor=factor, started=later)
        return job.run

    def extras(self) -> None:
        """transfer.json, pictures.json and seconds.json, with a hostile family of questions."""
        narrow, wide = ([[o, 4.0 + 0.1 * (o - best) ** 2] for o in range(-3, 4)] for best in (0, 1))
        transfer = {
            "steps": 150, "batch_tokens": 512, "metric": "losses/code",
            "sweeps": {"complete": {"32": narrow, "128": narrow},
                       "standard": {"32": narrow, "128": [*wide[:-1], [3, None]]}},
            "optimum_octave": {"complete": {"32": 0.0, "128": 0.1},
                               "standard": {"32": 0.0, "128": -3.0}},
        }  # fmt: skip
        write_json(self.directory / "transfer.json", transfer)
        seen = {"family": "all", "accuracy": 0.715, "low": 0.65, "high": 0.75, "n": 600,
                "chance": 0.25}  # fmt: skip
        blind = {**seen, "accuracy": 0.265, "low": 0.22, "high": 0.31}
        pictures = {
            "run": HOSTILE,
            "seen": [seen, {**seen, "family": HOSTILE}],
            "removed": [blind, {**blind, "family": HOSTILE}],
        }
        write_json(self.directory / "pictures.json", pictures)
        write_json(self.directory / "seconds.json", {"ladder": 61.5, "targets": 30.0})

    def edit(self, path: str, **fields: Any) -> None:
        value = read_json(self.directory / path)
        write_json(self.directory / path, {**value, **fields})

    def page(self) -> Page:
        return Page(write_page(self.directory).read_text())


def start(directory: Path, code: str = "stdlib") -> World:
    world = World(directory, recipe(code))
    Experiment.create(directory, world.recipe)
    return world


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Everything there: ladder, two registrations, one trained target, extras. Do not change."""
    world = start(tmp_path_factory.mktemp("experiment"), HOSTILE)
    world.corpus()
    world.ladder()
    world.register()
    world.target()
    world.extras()
    return world


@pytest.fixture(scope="session")
def page(built: World) -> Page:
    return built.page()


@pytest.fixture
def world(built: World, tmp_path: Path) -> World:
    """A copy to spoil."""
    shutil.copytree(built.directory, tmp_path / "copy")
    return World(tmp_path / "copy", built.recipe)


@pytest.fixture
def bare(tmp_path: Path) -> World:
    """A recipe and nothing else."""
    return start(tmp_path)
