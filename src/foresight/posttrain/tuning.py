"""Runs of post-training on disk: begun from a run, resumed where they were killed, finished."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from foresight.data.corpus import Corpus
from foresight.data.loader import Batch
from foresight.data.tokenizer import Tokenizer
from foresight.errors import UserError
from foresight.evals.files import read_yaml, validated
from foresight.inference.checkpoints import load_model
from foresight.model.decoder import Decoder
from foresight.posttrain.scalar_model import ScalarModel
from foresight.recipe import RunSpec
from foresight.runs import Run, locked, sha256_file, sha256_json, write_json
from foresight.training.checkpoint import Checkpoint, restore
from foresight.training.loop import Settings, Stepper, claim, manifest, take_steps

M = TypeVar("M", bound=BaseModel)
Finish = Callable[[], Mapping[str, Any]]
Begin = Callable[[Decoder, Tokenizer], tuple[Stepper, Finish]]


def read_settings(kind: type[M], path: Path | None, **given: Any) -> M:
    """Settings from a YAML file and, over it, from what was given (None: not). Raises UserError
    naming the field."""
    value = read_yaml(path) if path else {}
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected fields of {kind.__name__}")
    chosen = {name: one for name, one in given.items() if one is not None}
    return validated(kind, value | chosen, str(path or "settings"))


def place(base: Path, out: Path | None, name: str) -> Run:
    """Where a run goes: beside the others of its experiment, whose tokenizer it keeps. Raises
    UserError for a folder outside of it."""
    experiment = base.resolve().parents[1]
    run = Run(out or experiment / "posttrain" / name)
    if run.path.resolve().parents[1] != experiment:
        raise UserError(
            f"{run.path}: must be {experiment}/FOLDER/NAME, beside the run it starts from, whose "
            f"tokenizer it shares"
        )
    return run


def corpus_rows(base: Path, spec: RunSpec) -> Callable[[int, int], Batch]:
    """Rows (start, count) of the corpus that a run's base was made from. Raises UserError if it is
    not there."""
    corpus = Corpus(base.resolve().parents[1] / "corpus")
    corpus.check()
    return corpus.loader_for(spec).rows


def tune(
    run: Run,
    base: Path,
    settings: BaseModel,
    inputs: Mapping[str, str],
    begin: Begin,
    on_step: Callable[[int, dict[str, Any]], None] | None = None,
    loop: Settings | None = None,
) -> dict[str, Any]:
    """Carry a stage out, or go on with it; its result.

    `inputs`: hashes of what it learns from; with those of base and settings they say which run it
    is. `begin(model, tokenizer)` makes the stage from the base's weights, and what is said of it
    once it is done; its metrics have `positions`. `on_step(steps, metrics)` is told of each.
    Raises UserError if the directory holds another run.
    """
    model, tokenizer, name = load_model(base)
    hashes = {"base": name, "settings": sha256_json(settings.model_dump(mode="json")), **inputs}
    with locked(run.path):
        claim(run, manifest(model.spec, hashes, base=str(base), settings=settings.model_dump()))
        if run.finished:
            return run.result()
        stage, finish = begin(model, tokenizer)
        take_steps(
            stage, run, loop or Settings(), partial(on_step, stage.steps) if on_step else None
        )
        # What is said at the end may change what is kept: a reward model is normalised.
        said = finish()
        stage.save(run)
        rows = run.metrics()
        final = Checkpoint.latest(run.checkpoints)
        assert final is not None
        each = model.spec.shape.flops_per_token()
        result = {
            "run": run.path.name,
            "compute_flops": each * sum(row["positions"] for row in rows),
            "steps": stage.steps,
            "seconds": sum(row["seconds"] for row in rows),
            "last": {key: value for key, value in rows[-1].items() if key != "step"},
            "checkpoint_sha256": sha256_file(final.path / "weights.safetensors"),
            **_plain(said),
        }
        write_json(run.result_path, result)
        return result


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return value


def load_reward_model(run: Path) -> ScalarModel:
    """The newest weights of a reward model's run. Raises UserError."""
    spec = RunSpec.model_validate(Run(run).manifest()["spec"])
    checkpoint = Checkpoint.latest(Run(run).checkpoints)
    if checkpoint is None:
        raise UserError(f"{run}: no complete checkpoint; train it with `foresight reward`")
    model = ScalarModel(spec)
    restore(model.weights, checkpoint.load("weights"), checkpoint.path)
    return model
