"""Losses that were seen once: a change that is not meant to change training changes none of them.

Generated text and pictures only, so that they do not depend on which interpreter's library is
read. Rewrite after a deliberate change: `python -m tests.training.test_golden`.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
import torch

from foresight.data.corpus import Corpus
from foresight.recipe import Recipe
from foresight.training.trainer import Trainer

GOLDEN = Path(__file__).parent / "golden_losses.json"
STEPS = (1, 2, 5, 10, 20, 40, 60)
RECIPE = Recipe.model_validate(
    {
        "name": "golden",
        "corpus": {
            "mixture": {"programs": 0.5, "pictures": 0.5},
            "vocab_size": 512,
            "generated_documents": 400,
            "validation_tokens": 1024,
        },
        "architecture": {"context": 96, "head_dim": 8},
        "optimizer": {"embedding_lr": 0.5, "clip": 10.0},
        "scale": {"base_width": 16},
        "ladder": {
            "rungs": [3e9],
            "seeds": [1],
            "targets": [1e10],
            "trained_targets": 0,
            "metric": "losses/mix",
        },
    }
)


def losses(corpus: Corpus, matrix: str, precision: str) -> dict[str, float]:
    """Training loss at `STEPS`."""
    spec = RECIPE.at(2e9).model_copy(update={"matrix": matrix, "precision": precision, "steps": 60})
    loader = corpus.train_loader(spec.mixture, spec.shape.context, spec.seed)
    trainer = Trainer(spec, loader)
    rows = [trainer.update() for _ in range(max(STEPS))]
    return {str(step): rows[step - 1]["loss"] for step in STEPS}


ARMS = [("muon", "fp32"), ("adamw", "fp32"), ("muon", "bf16")]


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return Corpus.build(RECIPE, tmp_path_factory.mktemp("golden") / "corpus")


@pytest.mark.parametrize(("matrix", "precision"), ARMS)
def test_losses_are_the_golden_ones(generated: Corpus, matrix: str, precision: str) -> None:
    # Processors sum in different orders, and training amplifies the last bit.
    tolerance = 2e-3 if precision == "fp32" else 1e-2
    golden = json.loads(GOLDEN.read_text())[f"{matrix}-{precision}"]
    assert losses(generated, matrix, precision) == pytest.approx(golden, rel=tolerance)


def test_a_rate_one_per_cent_off_is_noticed(
    generated: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foresight.training.trainer.schedule", lambda spec, step: 1.01 * (
        (step + 1) / spec.warmup_steps if step < spec.warmup_steps
        else (spec.steps - step) / (spec.steps - spec.warmup_steps)))  # fmt: skip
    golden = json.loads(GOLDEN.read_text())["muon-fp32"]
    found = losses(generated, "muon", "fp32")
    assert max(abs(found[step] / golden[step] - 1) for step in golden) > 2e-4


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        made = Corpus.build(RECIPE, Path(folder) / "corpus")
        found = {"-".join(arm): losses(made, *arm) for arm in ARMS}
    GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
