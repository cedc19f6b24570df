"""A suite's results along a ladder: counted, forecast, registered, and scored against the target.

DIR/suites/<suite>/<run>.jsonl are the counts of one run, DIR/suites/<suite>/ladder.jsonl those that
a forecast was made from; DIR/capability/ is the registry (`forecast.capability_registry`), and
DIR/capability.json what Figure 2 is drawn from. The rungs' weights must have been kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from foresight.errors import UserError
from foresight.evals.suite import count_passes
from foresight.forecast import Registration, Subject
from foresight.forecast.capability_evidence import capability_evidence
from foresight.forecast.capability_registry import observe_capability, register_capability
from foresight.forecast.counts import ModelCounts
from foresight.inference.language_model import LanguageModel
from foresight.runs import Run, write_atomic, write_json
from foresight.worlds.suites import suite

SAMPLES = 32
"""Of every problem by the target; the rungs take twice as many, of which one half assigns the
buckets and the other is shown."""

Load = Callable[[Path], LanguageModel]
OnDone = Callable[[Run, int], None]


def registry_of(directory: Path) -> Path:
    return directory / "capability"


def counts_of_run(
    directory: Path,
    name: str,
    run: Run,
    load: Load,
    samples: int,
    on_done: OnDone = lambda _, __: None,
) -> Path:
    """The file of a finished run's counts on a suite; sampled only if it is not there yet.
    Raises UserError if the run has no result or no weights."""
    path = directory / "suites" / name / f"{run.path.name}.jsonl"
    if not path.exists():
        compute = float(run.result()["compute_flops"])
        model = load(run.path)
        found = count_passes(model, suite(name), samples, on_done=lambda at: on_done(run, at))
        write_atomic(path, ModelCounts(run.path.name, compute, found).lines)
    return path


def register_suite(
    directory: Path,
    name: str,
    rungs: Sequence[Run],
    target: Run,
    compute_flops: float,
    load: Load,
    on_done: OnDone = lambda _, __: None,
) -> list[Registration]:
    """Count a suite's passes at every rung and register what the target will show in every bucket.

    Raises UserError if the target has logged a step, or as `register_capability`.
    """
    if target.started:  # said before hours of sampling, and again by the registry
        raise UserError(
            f"{target.metrics_path}: the target has already logged a step; "
            f"a prediction can only be registered before"
        )
    files = [counts_of_run(directory, name, run, load, 2 * SAMPLES, on_done) for run in rungs]
    ladder = directory / "suites" / name / "ladder.jsonl"
    write_atomic(ladder, "".join(file.read_text() for file in files))
    subject = Subject(target.path.name, compute_flops, log=target.metrics_path)
    made = register_capability(
        registry_of(directory), _title(name, target), subject, ladder, samples=SAMPLES
    )
    _write_evidence(directory, name, target)
    return made


def observe_suite(
    directory: Path, name: str, target: Run, load: Load, on_done: OnDone = lambda _, __: None
) -> dict[str, float]:
    """Count the target's passes and seal every bucket's outcome: {registration: value in nats}.
    Raises UserError as `observe_capability`."""
    file = counts_of_run(directory, name, target, load, SAMPLES, on_done)
    values = observe_capability(registry_of(directory), _title(name, target), file)
    _write_evidence(directory, name, target)
    return values


def _title(name: str, target: Run) -> str:
    return f"{name}-{target.path.name}".lower().replace("+", "")


def _write_evidence(directory: Path, name: str, target: Run) -> None:
    value = capability_evidence(registry_of(directory), _title(name, target))
    write_json(directory / "capability.json", value)
