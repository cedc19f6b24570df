"""`verify`: recompute every registered number from the files, find any edit, score the outcomes.

Nothing is trusted: hashes are taken again from the bytes, forecasts and curves are fitted again
from the rung files, and outcomes are read from the targets' results. A target that is not
finished is pending, which is no failure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import NormalDist
from typing import Any

from foresight.errors import UserError
from foresight.forecast import chain, witness
from foresight.forecast.coverage import tallies
from foresight.forecast.draws import rounded
from foresight.forecast.eligibility import Limits, is_positive
from foresight.forecast.forecast import Fit
from foresight.forecast.in_flight import compute_in_flight, final_training_loss, read_in_flight
from foresight.forecast.registration import (
    FIELDS,
    HASHED_FILES,
    Registration,
    compute_prediction,
    read_chain,
    registrations_dir,
)
from foresight.forecast.table import read_metric
from foresight.forecast.training_log import TrainingLog
from foresight.runs import Run, read_json, sha256_file, sha256_json

TOLERANCE = 1e-6
"""Relative difference allowed between registered and recomputed numbers (processors differ)."""
SAME_COMPUTE = 0.01
"""A target may end at a compute that differs by so much from the registered one."""


@dataclass(frozen=True)
class Finding:
    """One check of one file (relative to the ladder directory)."""

    check: str
    file: str
    ok: bool
    message: str
    remark: bool = False


@dataclass(frozen=True)
class Score:
    """How one registered forecast fared. `status` is "finished" or "pending".

    `error_percent` is 100 * (predicted / observed - 1); `sd` is the registered one,
    `error_in_sd` |error| over it and `crps` the continuous ranked probability score, all of the
    log of the metric, or of the metric itself where `scale` is "linear" (stated predictions).
    `kind` is one of `coverage.KINDS`; `extrapolation_ratio` is None where nothing was fitted.
    """

    name: str
    run: str
    metric: str
    status: str
    predicted: float
    extrapolation_ratio: float | None
    kind: str
    scale: str
    sd: float
    created_utc: str
    intervals: dict[str, list[float]]
    observed: float | None = None
    error_percent: float | None = None
    error_in_sd: float | None = None
    crps: float | None = None
    inside: dict[str, bool] | None = None


@dataclass(frozen=True)
class Report:
    """What `verify` found. `holds`: every check passed, outcomes inside their 95 % included.

    Scores of kind "in-flight" are of forecasts made during their runs, of the final training loss;
    their extrapolation ratio is of steps. Such a forecast that misses is no failed check.
    """

    findings: tuple[Finding, ...]
    scores: tuple[Score, ...]

    @property
    def holds(self) -> bool:
        return all(finding.ok for finding in self.findings)

    @property
    def remarks(self) -> tuple[Finding, ...]:
        """What could be neither confirmed nor refuted here, and must be known."""
        return tuple(finding for finding in self.findings if finding.ok and finding.remark)

    @property
    def failures(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if not finding.ok)

    def to_json(self) -> dict[str, Any]:
        return rounded(
            {
                "holds": self.holds,
                "totals": tallies(self.scores),
                "findings": [asdict(finding) for finding in self.findings],
                "scores": [asdict(score) for score in self.scores],
            }
        )


def crps_normal(mean: float, sd: float, observed: float) -> float:
    """Continuous ranked probability score of a normal forecast, in its unit; 0 is perfect.

    Closed form of Gneiting & Raftery 2007, "Strictly proper scoring rules", section 4.2.
    """
    z = (observed - mean) / sd
    normal = NormalDist()
    return sd * (z * (2 * normal.cdf(z) - 1) + 2 * normal.pdf(z) - 1 / math.sqrt(math.pi))


def verify(directory: Path) -> Report:
    """Verify a ladder directory (layout: see `registration`).

    Raises UserError if it has no registrations at all; every other fault is a finding.
    """
    if not any(registrations_dir(directory).glob("*.json")) and not read_chain(directory):
        raise UserError(f"{directory}: no registrations to verify")
    audit = Audit(directory, registrations_dir(directory))
    registrations = audit.chain()
    audit.corpus()
    for registration in registrations:
        audit.registration(registration)
    scores = [audit.outcome(registration) for registration in registrations]
    chained = [e for e in audit.entries if isinstance(e, dict) and e.get("kind") == "in_flight"]
    scores += [audit.in_flight(entry) for entry in chained]
    return Report(tuple(audit.findings), tuple(score for score in scores if score is not None))


class Audit:
    """Collects findings; each method is one group of checks. `folder` holds the registrations,
    which must have `fields`."""

    def __init__(self, directory: Path, folder: Path, fields: Sequence[str] = FIELDS) -> None:
        self.directory = directory
        self.folder = folder
        self.fields = fields
        self.findings: list[Finding] = []
        self.entries: list[dict[str, Any]] = []
        self.fits: dict[str, Fit] = {}

    def note(
        self, check: str, path: Path | str, ok: bool, message: str, remark: bool = False
    ) -> bool:
        file = path if isinstance(path, str) else path.relative_to(self.directory).as_posix()
        self.findings.append(Finding(check, file, ok, message, remark))
        return ok

    @contextmanager
    def checking(
        self, check: str, path: Path | str, malformed: Path | None = None
    ) -> Iterator[None]:
        """What cannot be read inside is a failed check of `path`; with `malformed`, a doctored
        record's missing or wrong field is one of that file."""
        try:
            yield
        except UserError as error:
            self.note(check, path, False, str(error))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            if malformed is None:
                raise
            self.note(check, malformed, False, f"malformed: {type(error).__name__} {error}")

    def same_hash(self, check: str, path: Path, expected: Any) -> bool:
        """The file's bytes have the hash that was recorded."""
        with self.checking(check, path):
            found = sha256_file(path)
            same = found == expected
            message = "unchanged" if same else f"SHA-256 is {found}, recorded was {expected}"
            return self.note(check, path, same, message)
        return False

    def chain(self) -> list[Registration]:
        """Chain lines follow one another, and agree with the registrations; returns those."""
        path = self.folder / "chain.jsonl"
        with self.checking("chain", path):
            self.entries = chain.read_entries(self.folder)
        previous: str | None = None
        for number, entry in enumerate(self.entries, start=1):
            ok = isinstance(entry, dict) and entry.get("previous") == previous
            self.note("chain", path, ok, f"line {number} " + ("follows" if ok else "was edited, "
                      "or the line before it was edited or removed"))  # fmt: skip
            previous = sha256_json(entry)
        listed = {
            str(entry.get("file")): str(entry.get("sha256"))
            for entry in self.entries
            if isinstance(entry, dict) and entry.get("kind") == "registration"
        }
        for lying in chain.record_files(self.folder):
            if lying.name not in listed:
                self.note("chain", lying, False, "not in the chain")
        result = []
        last: str | None = None
        for file, expected in listed.items():
            registration = self._registered(self.folder / file, expected, last)
            last = expected
            if registration is not None:
                result.append(registration)
        return result

    def _registered(self, path: Path, expected: str, last: str | None) -> Registration | None:
        try:
            registration = Registration.load(path, self.fields)
            found = chain.record_sha256(registration.record)
        except ValueError as error:  # a UserError, or a NaN that has no canonical form
            self.note("registration", path, False, str(error))
            return None
        message = "unchanged"
        if found != registration.sha256:
            message = f"its content has SHA-256 {found}, it says {registration.sha256}"
        elif found != expected:
            message = f"SHA-256 is {found}, the chain has {expected}"
        elif registration.record["previous"] != last:
            message = "does not follow the registration before it"
        self.note("registration", path, message == "unchanged", message)
        for check in (witness.check_timestamp, witness.check_commit):
            seen = check(path)
            if seen is not None:
                self.note("witness", seen.file, seen.ok, seen.message, remark=True)
        return registration

    def corpus(self) -> None:
        """Every file of the corpus has the hash its manifest lists."""
        path = self.directory / HASHED_FILES["data"]
        with self.checking("corpus", path):
            manifest = read_json(path)
            files = manifest.get("files") if isinstance(manifest, dict) else None
            if not isinstance(files, dict) or not files:
                raise UserError("field 'files' is missing or empty")
            for name, expected in sorted(files.items()):
                self.same_hash("corpus", path.parent / name, expected)

    def registration(self, registration: Registration) -> None:
        """Inputs unchanged, rungs unchanged, prediction recomputed. Any malformed field of a
        doctored record is a finding, not a crash."""
        record, path = registration.record, registration.path
        with self.checking("registration", path, malformed=path):
            for name, file in HASHED_FILES.items():
                self.same_hash(name, self.directory / file, record["hashes"][name])
            for rung in (*record["rungs"], *record["ineligible"]):
                run = Run(self.directory / rung["run"])
                for file, expected in rung["files"].items():
                    self.same_hash("rung", run.path / file, expected)
                self._manifest(run, record["hashes"])
                self._metrics(run)
            self._prediction(registration)

    def _manifest(self, run: Run, hashes: Mapping[str, str]) -> None:
        """The run was made by the registered recipe, data, tokenizer and code."""
        with self.checking("manifest", run.manifest_path):
            found = run.manifest().get("hashes")
            differing = [n for n, value in hashes.items() if not found or found.get(n) != value]
            message = "agrees with the registration"
            if differing:
                message = f"hashes of {', '.join(differing)} differ from the registration's"
            self.note("manifest", run.manifest_path, not differing, message)

    def _metrics(self, run: Run) -> None:
        """The metrics are those that the result was written from."""
        with self.checking("result", run.result_path):
            self.same_hash("metrics", run.metrics_path, run.result().get("metrics_sha256"))

    def _prediction(self, registration: Registration) -> None:
        record = registration.record
        paths = [rung["run"] for rung in (*record["rungs"], *record["ineligible"])]
        try:
            again = compute_prediction(
                self.directory,
                paths,
                record["metric"],
                record["target"]["compute_flops"],
                limits=Limits(**record["limits"]),
                fits=self.fits,
            )
        except UserError as error:
            self.note("prediction", registration.path, False, f"cannot be recomputed: {error}")
            return
        differing = [
            where for key, value in again.items() for where in differences(record[key], value, key)
        ]
        rule = record["falsification"]
        if [rule["below"], rule["above"]] != record["forecast"]["intervals"]["95"]:
            differing.append("falsification")
        message = "recomputed from the rung files: the same"
        if differing:
            message = f"recomputed from the rung files, {', '.join(differing[:5])} differs"
        self.note("prediction", registration.path, not differing, message)

    def outcome(self, registration: Registration) -> Score | None:
        """The target came after the registration, is what was registered, and how it fared."""
        path = registration.path
        with (
            self.checking("outcome", path, malformed=path),
            self.checking("outcome", registration.record["target"]["run"]),
        ):
            return self._outcome(registration)
        return None

    def _outcome(self, registration: Registration) -> Score:
        record = registration.record
        run = Run(self.directory / record["target"]["run"])
        if run.started or run.finished:
            self._order(run, record["created_utc"])
            self._manifest(run, record["hashes"])
        forecast = record["forecast"]
        pending = pending_score(registration)
        if not run.finished:
            return pending
        self._metrics(run)
        self._sealed(run)
        result = run.result()
        compute, planned = result["compute_flops"], record["target"]["compute_flops"]
        same = is_positive(compute) and abs(compute / planned - 1) <= SAME_COMPUTE
        self.note("target", run.result_path, same, f"compute {compute} FLOPs, registered {planned}")
        observed = read_metric(run, result, record["metric"])
        if not is_positive(observed):
            self.note("outcome", run.result_path, False, f"{record['metric']} is {observed}")
            return pending
        return self.scored(run.result_path, pending, forecast, float(observed))

    def scored(
        self, path: Path, pending: Score, forecast: Mapping[str, Any], observed: float
    ) -> Score:
        """The score of an outcome (in the file `path`); outside the 95 % interval is a finding."""
        score = _score(pending, forecast, observed)
        assert score.inside is not None
        low, high = forecast["intervals"]["95"]
        where = "inside" if score.inside["95"] else "outside"
        message = f"{observed:.5g} is {where} the 95 % interval [{low:.5g}, {high:.5g}]"
        self.note("forecast", path, score.inside["95"], message)
        return score

    def in_flight(self, entry: Mapping[str, Any]) -> Score | None:
        """A forecast in flight follows from the files as they are, and how it fared."""
        file = f"registrations/{entry.get('file')}"
        try:
            record = read_in_flight(self.directory, entry)
            original = record["registration"]
            registration = Registration.load(registrations_dir(self.directory) / original["file"])
            run = Run(self.directory / registration.record["target"]["run"])
            log = TrainingLog.read(run.metrics_path)
            again = compute_in_flight(registration, log, record["step"])
            differing = [d for key in again for d in differences(record[key], again[key], key)]
            if registration.sha256 != original["sha256"]:
                differing.append("registration/sha256")
            message = f"recomputed from the logs: {', '.join(differing[:5]) or 'nothing'} differs"
            self.note("in_flight", file, not differing, message)
            forecast = record["forecast"]
            pending = Score(
                Path(file).stem, record["target"]["run"], record["metric"], "pending",
                forecast["point"], 1.0 / forecast["fraction"], "in-flight", "log",
                forecast["sd_log"], record["created_utc"], forecast["intervals"],
            )  # fmt: skip
            done = run.finished
            return _score(pending, forecast, final_training_loss(log)) if done else pending
        except (UserError, KeyError, TypeError, AttributeError, ValueError) as error:
            self.note("in_flight", file, False, f"cannot be recomputed: {error}")
        return None

    def _order(self, run: Run, registered: str) -> None:
        with self.checking("order", run.manifest_path):
            began = run.manifest().get("created_utc")
            if not isinstance(began, str):
                raise UserError("field created_utc is missing")
            ok = utc(began) >= utc(registered)
            self.note("order", run.manifest_path, ok, f"began {began}, registered {registered}")

    def _sealed(self, run: Run) -> None:
        """The result is the one sealed in the chain; one that never was is only remarked on."""
        file = run.result_path.relative_to(self.directory).as_posix()
        seals = [
            e["sha256"] for e in self.entries if e.get("kind") == "outcome" and e["file"] == file
        ]
        if seals:
            self.same_hash("seal", run.result_path, seals[0])
        else:
            self.note("seal", run.result_path, True, "not sealed: an edit of it would not show")


def differences(recorded: Any, again: Any, path: str) -> list[str]:
    """Paths of the leaves at which two JSON values differ by more than `TOLERANCE`."""
    if isinstance(recorded, dict) and isinstance(again, dict) and recorded.keys() == again.keys():
        return [d for key in again for d in differences(recorded[key], again[key], f"{path}/{key}")]
    if isinstance(recorded, list) and isinstance(again, list) and len(recorded) == len(again):
        pairs = enumerate(zip(recorded, again, strict=True))
        return [d for i, (a, b) in pairs for d in differences(a, b, f"{path}/{i}")]
    numbers = isinstance(recorded, (int, float)) and isinstance(again, (int, float))
    if numbers and math.isclose(recorded, again, rel_tol=TOLERANCE, abs_tol=1e-12):
        return []
    return [] if recorded == again else [path]


def pending_score(registration: Registration) -> Score:
    """What was registered, without an outcome."""
    record = registration.record
    forecast = record["forecast"]
    scale = forecast.get("scale", "log")
    return Score(
        name=registration.name,
        run=record["target"]["run"],
        metric=record["metric"],
        status="pending",
        predicted=forecast["point"],
        extrapolation_ratio=forecast["extrapolation_ratio"],
        kind=registration.kind,
        scale=scale,
        sd=float(forecast["sd_log" if scale == "log" else "sd"]),
        created_utc=record["created_utc"],
        intervals={level: list(pair) for level, pair in forecast["intervals"].items()},
    )


def _score(pending: Score, forecast: Mapping[str, Any], observed: float) -> Score:
    point = float(forecast["point"])
    mean, seen, sd = point, observed, pending.sd
    if pending.scale == "log":
        mean, seen = math.log(point), math.log(observed)
    return replace(
        pending,
        status="finished",
        observed=observed,
        error_percent=100.0 * (point / observed - 1.0) if observed else None,
        error_in_sd=abs(mean - seen) / sd,
        crps=crps_normal(mean, sd, seen),
        inside={
            level: bool(pair[0] <= observed <= pair[1])
            for level, pair in forecast["intervals"].items()
        },
    )


def utc(text: str) -> datetime:
    """An ISO 8601 time; without a zone it is taken as UTC. Raises ValueError."""
    time = datetime.fromisoformat(text)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time
