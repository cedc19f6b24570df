"""A run's weights and tokenizer."""

from __future__ import annotations

from pathlib import Path

from foresight.data.tokenizer import Tokenizer
from foresight.errors import UserError
from foresight.model.decoder import Decoder
from foresight.runs import Run, read_json
from foresight.training.checkpoint import Checkpoint
from foresight.training.trainer import model_of


def load_model(run: Path) -> tuple[Decoder, Tokenizer, str]:
    """A run's newest weights, the tokenizer of its experiment, and a name for the weights.

    Raises UserError.
    """
    if not run.is_dir():
        raise UserError(f"{run}: no such run directory; trained targets are in DIR/targets/")
    model, _ = model_of(Run(run))
    checkpoint = Checkpoint.latest(Run(run).checkpoints)
    assert checkpoint is not None
    weights: str = read_json(checkpoint.mark)["sha256"]["weights.safetensors"]
    tokenizer = Tokenizer.load(run.parents[1] / "corpus" / "tokenizer.json")
    return model, tokenizer, f"{run.name}@{weights[:12]}"
