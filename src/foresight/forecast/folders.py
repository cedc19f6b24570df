"""Run tables from folders as trainers leave them: our runs, TensorBoard, Weights & Biases.

One sub-folder is one run and gives it its name. The last value of the loss is its final loss;
compute, parameters and tokens are taken from the run's summary, its other scalars or its
configuration, under the names that `reading` knows. What was taken from where is remarked on.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from foresight.errors import UserError
from foresight.forecast.events import read_events
from foresight.forecast.reading import FIELDS, UNITS, spelt_out, table_of
from foresight.forecast.table import RunTable
from foresight.runs import Run, read_json

METRIC = "losses/mix"
"""What is read from our own run directories where no metric is named."""
CONFIGS = ("hparams.yaml", "config.yaml", "hparams.json", "config.json")
"""Configurations that trainers write beside their event files."""
_LOSSES = sorted(FIELDS["loss"], key=lambda name: (name == "loss") + 2 * name.startswith("train"))
"""Losses in falling preference. In a run's log, unlike in a table, plain `loss` is most often the
training loss, noisier than one on held-out data."""
_FIELDS = {
    field: [alias for alias in FIELDS[field] if len(alias) > 1]
    for field in ("compute_flops", "params", "tokens", "seed", "tokenizer")
} | {unit: [unit] for unit in UNITS}
"""Looked for in a run's numbers, with their spellings: not C, N, D, which in a configuration may
be anything."""
_PLANNED = ("max_steps", "total_steps", "num_train_steps", "num_iterations", "train_iters",
            "max_iters")  # fmt: skip
_ASIDE = re.compile(r"(?:^|_)(?:warmup|eval|val|valid|validation|test|save|log)(?:_|$)")
"""Settings of something else than the training run itself."""
_SPLITS = ("train", "training", "val", "valid", "validation", "eval", "test")
"""Sub-folders of a run in which Keras keeps equal tags apart."""
FINISHED = 0.95
"""A run whose last loss was logged before this share of its planned steps is not finished: what
it lost on the way follows another law than final losses (design/forecasting.md, lesson 4)."""


Point = tuple[int, float]
"""Step (0 where it is not known) and value."""


@dataclass
class _Logged:
    """What one run left: the last (step, value) of every scalar, and its configuration."""

    scalars: dict[str, Point] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def read_folder(folder: Path, loss: str | None = None) -> RunTable:
    """The runs below a folder. `loss` names the metric: a path into `result.json` of our runs, a
    tag of TensorBoard, a key of a W&B summary.

    Raises UserError if no kind of run is found, no run has such a loss, or a file is damaged;
    `reading.read_table` says what is refused of the numbers.
    """
    own = [Run(path.parent) for path in sorted(folder.glob("*/run.json"))]
    if own:
        return _own(folder, own, loss or METRIC)
    for kind, find in _KINDS.items():
        logged = find(folder)
        if logged:
            return _table(folder, kind, logged, loss)
    raise UserError(
        f"{folder}: no experiment here (recipe.yaml), no run directories (run.json and "
        f"result.json), no TensorBoard events (*tfevents*), no Weights & Biases runs "
        f"(wandb-summary.json); for a table name its file"
    )


def _own(folder: Path, runs: Sequence[Run], metric: str) -> RunTable:
    done = [run for run in runs if run.finished]
    if not done:
        raise UserError(f"{folder}: none of its {len(runs)} runs is finished (no result.json)")
    remarks = [f"{run.path}: left out, not finished" for run in runs if not run.finished]
    return RunTable(RunTable.from_runs(done, metric).rows, metric, tuple(remarks))


def _tensorboard(folder: Path) -> dict[str, _Logged]:
    """Runs by name. All event files below a sub-folder belong to one run."""
    runs: dict[str, _Logged] = {}
    for path in sorted(folder.rglob("*tfevents*")):
        inside = path.relative_to(folder).parts
        name = inside[0] if len(inside) > 1 else folder.resolve().name
        if name not in runs:
            runs[name] = _Logged(settings=_configs(path.parents[max(len(inside) - 2, 0)]))
        run, events = runs[name], read_events(path)
        if events.torn:
            run.remarks.append(f"{path}: ends inside a record, as killed writers leave it")
        run.settings |= events.hparams
        split = f"{inside[-2]}/" if len(inside) > 2 and inside[-2] in _SPLITS else ""
        for tag, points in events.scalars.items():
            # A run that resumed has several files, and may have gone back: the furthest counts.
            last = max(reversed(points), key=_step)
            run.scalars[split + tag] = max(run.scalars.get(split + tag, last), last, key=_step)
    return runs


def _wandb(folder: Path) -> dict[str, _Logged]:
    """Runs by name: `run-*/files/` as W&B writes them (`latest-run` is a link, which is not
    followed), or the same files in folders by name."""
    runs: dict[str, _Logged] = {}
    for path in sorted(folder.rglob("wandb-summary.json")):
        home = path.parent
        name = home.parent.name if home.name == "files" else home.name
        summary = _flat(_object(path))
        scalars: dict[str, Point] = {
            key: (0, number)
            for key, value in summary.items()
            if (number := _number(value)) is not None
        }
        runs[name] = _Logged(scalars, _configs(home))
    return runs


_KINDS: dict[str, Callable[[Path], dict[str, _Logged]]] = {
    "TensorBoard": _tensorboard,
    "Weights & Biases": _wandb,
}


def _table(folder: Path, kind: str, logged: Mapping[str, _Logged], loss: str | None) -> RunTable:
    tags = list(dict.fromkeys(tag for run in logged.values() for tag in run.scalars))
    tag = _loss_tag(folder, tags, loss)
    remarks, sources = [f"{len(logged)} {kind} runs; of {tag} the last value counts"], []
    records = []
    for name, run in logged.items():
        remarks += run.remarks
        out = _left_out(run, tag)
        if out:
            remarks.append(f"{folder / name}: left out, {out}")
            continue
        step, value = run.scalars[tag]
        numbers = run.settings | {key: last for key, (_, last) in run.scalars.items()}
        found = {field: _find(numbers, aliases) for field, aliases in _FIELDS.items()}
        record = {field: numbers[key] for field, key in found.items() if key is not None}
        sources += [f"{field} <- {key}" for field, key in found.items() if key not in (None, field)]
        records.append((name, record | {"run": name, tag: value, "steps": step or None}))
    remarks += dict.fromkeys(sources)
    if not records:
        raise UserError(f"{folder}: no finished run with {tag}; " + "; ".join(remarks[1:]))
    table = table_of(folder, records, {"loss": tag})
    return RunTable(table.rows, tag, (*remarks, *table.remarks))


def _loss_tag(folder: Path, tags: Sequence[str], loss: str | None) -> str:
    known = ", ".join(tags) or "no scalars"
    if loss is not None:
        if loss not in tags:
            raise UserError(f"{folder}: no run has {loss!r}; they have {known}")
        return loss
    for alias in _LOSSES:
        named = [tag for tag in tags if spelt_out(tag) == alias]
        ending = [tag for tag in tags if spelt_out(tag).endswith(f"_{alias}")]
        if len(named or ending) > 1:
            raise UserError(
                f"{folder}, field loss: {' or '.join(named or ending)}? Name one with --loss TAG"
            )
        if named or ending:
            return (named or ending)[0]
    raise UserError(f"{folder}, field loss: not among {known}; name it with --loss TAG")


def _left_out(run: _Logged, tag: str) -> str | None:
    """Why a run has no final loss; None if it has."""
    if tag not in run.scalars:
        return f"it has no {tag}"
    step, value = run.scalars[tag]
    if not math.isfinite(value):
        return f"its last {tag} is {value}"
    reached = _find(run.scalars, ["global_step"])
    if not step and reached is not None:
        step = int(run.scalars[reached][1])
    planned = _find(run.settings, _PLANNED)
    if step and planned and step < FINISHED * run.settings[planned] - 1:
        return f"its last {tag} is of step {step:,} of {run.settings[planned]:,.0f}"
    return None


def _find(numbers: Mapping[str, Any], aliases: Sequence[str]) -> str | None:
    """The first name that is a number and has one of the spellings, whole or at its end
    ("model/n_params" is n_params)."""
    usable = {
        name: spelt_out(name)
        for name, value in numbers.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    }
    for alias in aliases:
        for name, spelt in usable.items():
            if spelt == alias:
                return name
        for name, spelt in usable.items():
            if re.split(r"[/.]", name)[-1].lower() == alias and not _ASIDE.search(spelt):
                return name
    return None


def _step(point: Point) -> int:
    return point[0]


def _configs(home: Path) -> dict[str, Any]:
    """Settings in a run's folder, nested names joined by "/"."""
    found: dict[str, Any] = {}
    for name in CONFIGS:
        if (home / name).is_file():
            found |= _flat(_object(home / name))
    return found


def _object(path: Path) -> dict[str, Any]:
    try:
        value = yaml.safe_load(path.read_text()) if path.suffix == ".yaml" else read_json(path)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected names with values")
    return value


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Leaves by their path. W&B wraps each setting: {learning_rate: {value: 0.1, desc: null}}."""
    found: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, dict) and "value" in inner and inner.keys() <= {"value", "desc"}:
            inner = inner["value"]  # noqa: PLW2901
        if isinstance(inner, dict):
            found |= _flat(inner, f"{prefix}{key}/")
        elif isinstance(inner, (int, float, str)):
            found[f"{prefix}{key}"] = inner
    return found


def _number(value: Any) -> float | None:
    """A number; W&B writes those that are none as the strings NaN and Infinity."""
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
