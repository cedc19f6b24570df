"""`verify` for registries: chain, kept files, forecasts fitted again, outcomes scored.

The one entrance for both kinds of directory; ladder directories are `verification`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from foresight import __version__
from foresight.errors import UserError
from foresight.forecast import witness
from foresight.forecast.capability_registry import Fits, group_value, recount
from foresight.forecast.registration import Registration, falsification
from foresight.forecast.registry import FIELDS, is_registry, refit, stated_forecast
from foresight.forecast.verification import (
    Audit,
    Report,
    Score,
    differences,
    pending_score,
    utc,
)
from foresight.forecast.verification import verify as verify_ladder
from foresight.runs import code_sha256, read_json

INNER = "suites/*/registry"
"""Registries that lie in a ladder directory: pass rates of suites, one registry each."""


def verify(directory: Path) -> Report:
    """Verify a registry, or a ladder directory with the registries in it (layouts: `registry`,
    `registration`).

    Raises UserError if it has no registrations at all; every other fault is a finding.
    """
    if not is_registry(directory):
        inner = [_inside(directory, path) for path in sorted(directory.glob(INNER))]
        reports = [verify_ladder(directory), *inner]
        return Report(
            tuple(finding for report in reports for finding in report.findings),
            tuple(score for report in reports for score in report.scores),
        )
    audit = _RegistryAudit(directory)
    registrations = audit.chain()
    audit.outcomes_are_listed()
    for registration in registrations:
        audit.registration(registration)
    scores = [audit.outcome(registration) for registration in registrations]
    return Report(tuple(audit.findings), tuple(score for score in scores if score is not None))


def _inside(directory: Path, registry: Path) -> Report:
    """An inner registry's report, its files named from the directory. Of a suite's many buckets
    some miss a true 95 % interval: that is scored and remarked, and fails no check."""
    report, where = verify(registry), registry.relative_to(directory).as_posix()
    findings = (
        replace(one, file=f"{where}/{one.file}")
        if one.check != "forecast"
        else replace(one, file=f"{where}/{one.file}", ok=True, remark=not one.ok)
        for one in report.findings
    )
    return Report(tuple(findings), report.scores)


class _RegistryAudit(Audit):
    """The checks of a registry; what it shares with a ladder directory is inherited."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, directory, FIELDS)
        self.capabilities: Fits = {}

    @staticmethod
    def _counted(record: Mapping[str, Any]) -> bool:
        return bool(record["source"] == "counts")

    def outcomes_are_listed(self) -> None:
        listed = {entry.get("file") for entry in self.entries if isinstance(entry, dict)}
        for path in sorted((self.directory / "outcomes").glob("*.json")):
            if path.relative_to(self.directory).as_posix() not in listed:
                self.note("chain", path, False, "not in the chain")

    def registration(self, registration: Registration) -> None:
        """The kept table is unchanged, and gives the registered forecast. Any malformed field of a
        doctored record is a finding, not a crash."""
        record, path = registration.record, registration.path
        with self.checking("registration", path, malformed=path):
            if record["falsification"] != falsification(record["metric"], record["forecast"]):
                self.note("prediction", path, False, "its falsification rule is not its interval")
            if record["source"] == "stated":
                self._state_again(registration)
                return
            kept = self.directory / record["counts" if self._counted(record) else "table"]["file"]
            if self.same_hash("table", kept, kept.stem):
                self._fit_again(registration)

    def _fit_again(self, registration: Registration) -> None:
        record, path = registration.record, registration.path
        here, there = code_sha256(), record["code"]["sha256"]
        other = (
            ""
            if here == there
            else f" by other code (foresight {record['code']['version']}, {there[:12]}; here "
            f"{__version__}, {here[:12]})"
        )
        try:
            if self._counted(record):
                again = recount(self.directory, record, self.capabilities)
            else:
                again = {"forecast": refit(self.directory, record)}
            differing = [d for key, value in again.items()
                         for d in differences(record[key], value, key)]  # fmt: skip
            message = f"{', '.join(differing[:5])} differs"
        except UserError as error:
            differing, message = ["forecast"], f"cannot be recomputed: {error}"
        if not differing:
            text = f"registered{other}, recomputed from the kept table: the same"
            self.note("prediction", path, True, text)
        elif other:
            text = f"not confirmed: registered{other}; recomputed here, {message}"
            self.note("prediction", path, True, text, remark=True)
        else:
            self.note("prediction", path, False, f"recomputed from the kept table, {message}")

    def _state_again(self, registration: Registration) -> None:
        forecast = registration.record["forecast"]
        intervals = {level: (pair[0], pair[1]) for level, pair in forecast["intervals"].items()}
        again = stated_forecast(forecast["compute_flops"], forecast["point"], intervals)
        differing = differences(forecast, again, "forecast")
        message = "stated, with an interval that can be wrong"
        if differing:
            message = f"{', '.join(differing[:5])} does not follow from what is stated"
        self.note("prediction", registration.path, not differing, message)

    def _outcome(self, registration: Registration) -> Score:
        pending = pending_score(registration)
        file = f"outcomes/{registration.name}.json"
        self._foreseen(registration)
        seals = [str(entry["sha256"]) for entry in self.entries if entry["file"] == file]
        if not seals:
            return pending
        path = self.directory / file
        if not self.same_hash("seal", path, seals[0]):
            return pending
        outcome = read_json(path)
        if outcome["file"] is not None:
            kept = self.directory / outcome["file"]
            if self.same_hash("result", kept, kept.stem) and self._counted(registration.record):
                again = group_value(kept, registration.record)
                same = not differences(outcome["value"], again, "value")
                message = f"{outcome['value']}; the kept counts give {again}"
                self.note("result", kept, same, message)
        seen, registered = outcome["observed_utc"], registration.record["created_utc"]
        self.note("order", path, utc(seen) >= utc(registered),
                  f"observed {seen}, registered {registered}")  # fmt: skip
        sight = witness.check_timestamp(registration.path)
        if sight is not None and sight.time is not None and sight.time > utc(seen):
            self.note("order", sight.file, False, f"stamped only after the outcome of {seen}")
        return self.scored(path, pending, registration.record["forecast"], float(outcome["value"]))

    def _foreseen(self, registration: Registration) -> None:
        """No outcome of the same run and metric stands before it in the chain."""
        if registration.kind == "back-cast":
            return
        record = registration.record
        subject = (record["target"]["run"], record["metric"])
        for entry in self.entries:
            if entry["file"] == registration.path.name:
                return
            if entry["kind"] == "outcome":
                earlier = self._named(Path(entry["file"]).stem)
                if earlier is not None and earlier == subject:
                    message = f"its outcome was known: {entry['file']} stands before it"
                    self.note("order", registration.path, False, message)

    def _named(self, name: str) -> tuple[str, str] | None:
        """Run and metric of a registration of this registry."""
        for entry in self.entries:
            if entry["kind"] == "registration" and entry["file"][5:] == f"{name}.json":
                record = read_json(self.directory / entry["file"])
                return record["target"]["run"], record["metric"]
        return None
