"""What several rooms' tests need: the public data folder, a tiny recipe, a tiny corpus."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

# Before numpy is imported; see below.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Before the command's console is made, whichever test makes it: it reads its width once.
os.environ |= {"COLUMNS": "200", "NO_COLOR": "1"}

import pytest
import torch
from hypothesis import settings

from foresight.data.corpus import Corpus
from foresight.recipe import Recipe
from tests.command import foresight

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"

# Tests are many small products: a second thread gains nothing, and on a busy machine two
# threads that wait for each other at every operation can take a hundred times as long. So it is
# with numpy: the tests of the forecaster take half a minute, or ten with a job beside them.
torch.set_num_threads(1)
# Where tests are started in the background of a shell, Ctrl-C is ignored, and so in every command
# that they start: those that test it would wait forever.
signal.signal(signal.SIGINT, signal.default_int_handler)
# A slow machine is no reason to fail.
settings.register_profile("foresight", deadline=None)
settings.load_profile("foresight")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real public data beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is absent: this test reads real public data from there")
    return SHARED


@pytest.fixture(scope="session")
def text_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of some hundred real modules of the standard library."""
    import concurrent
    import email
    import http
    import logging
    import unittest

    folder = tmp_path_factory.mktemp("text")
    sources = [
        path
        for package in (json, unittest, email, http, logging, concurrent)
        for path in sorted(Path(package.__file__).parent.rglob("*.py"))
    ]
    for number, path in enumerate(sources):
        group = folder / f"group{number % 7}"
        group.mkdir(exist_ok=True)
        (group / f"{number}-{path.name}").write_text(path.read_text())
    return folder


@pytest.fixture(scope="session")
def recipe(text_folder: Path) -> Recipe:
    """Seconds per run: width 16, one vocabulary of 512, all three sources."""
    return Recipe.model_validate(
        {
            "name": "tiny",
            "corpus": {
                "code": str(text_folder),
                "vocab_size": 512,
                "generated_documents": 600,
                "validation_tokens": 8192,
            },
            "architecture": {"context": 96, "depth": 2, "head_dim": 8},
            "optimizer": {"embedding_lr": 0.5, "clip": 10.0},
            "scale": {"base_width": 16},
            "ladder": {
                "rungs": [3e9, 6e9],
                "seeds": [2, 1],
                "targets": [1.2e10],
                "trained_targets": 1,
            },
        }
    )


@pytest.fixture(scope="session")
def corpus(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return Corpus.build(recipe, tmp_path_factory.mktemp("corpus") / "corpus")


@pytest.fixture(scope="session")
def spine_recipe(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five tiny rungs over 1.5 decades and one target: a minute in all."""
    ladder = {
        "rungs": [1.2e9, 2.6e9, 6e9, 1.6e10, 4e10],
        "seeds": [2, 2, 1, 1, 1],
        "targets": [6e10, 4e11],
        "trained_targets": 1,
        "metric": "bits_per_byte/code",
        "suites": ["inverse"],
    }
    raw = recipe.model_dump(mode="json") | {"ladder": ladder}
    # About 300 steps at every rung: small batches are the dear part of tiny runs.
    raw["scale"] |= {"batch_coefficient": 0.0116, "batch_exponent": 0.9}
    raw["optimizer"]["clip"] = 100.0
    raw["transfer"] = {"widths": [8, 16], "steps": 50, "rows": 2}
    raw["corpus"]["generated_documents"] = 1500
    path = tmp_path_factory.mktemp("recipes") / "spine.yaml"
    Recipe.model_validate(raw).save(path)
    return path


@pytest.fixture(scope="session")
def spine(spine_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole experiment made by `foresight demo`; later tests use copies."""
    directory = tmp_path_factory.mktemp("spine") / "demo"
    done = foresight("demo", directory, "--recipe", spine_recipe, "--json")
    assert done.returncode in (0, 1), done.stdout + done.stderr
    outcome = json.loads(done.stdout)
    assert Path(outcome["page"]).exists()
    assert outcome["scores"][0]["status"] == "finished"
    assert outcome["scores"][1]["status"] == "pending"
    return directory
