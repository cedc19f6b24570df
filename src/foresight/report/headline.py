"""The verdict in one sentence, the table of forecasts, and what the verification checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from foresight.forecast import Finding
from foresight.report.blocks import Block, Fold, Note, Section, Table, Tone
from foresight.report.evidence import Claim, Evidence
from foresight.report.words import (
    NONE,
    describe,
    flops,
    interval,
    moment,
    number,
    plural,
    ratio,
    short,
    signed,
    unit,
)


def headline(evidence: Evidence) -> Section:
    """The verdict and every registered target."""
    blocks: list[Block] = [_verdict(evidence)]
    blocks += [Note(_sentence(claim), _tone(claim)) for claim in evidence.claims if claim.score]
    if evidence.claims:
        blocks.append(_table(evidence.claims))
        blocks.append(
            Fold("What would have falsified each forecast",
                 [Note(f"{claim.name}: {claim.falsification}") for claim in evidence.claims])
        )  # fmt: skip
    blocks += [Note(problem, "open") for problem in evidence.problems]
    return Section("verdict", "Verdict", blocks)


def _verdict(evidence: Evidence) -> Note:
    report, claims = evidence.verification, evidence.claims
    if report is None or not (claims or report.findings):
        return Note("No forecast is registered in this experiment: nothing to verify.", "open")
    failures = len(report.failures)
    outcomes = [claim for claim in claims if claim.observed is not None]
    missed = [claim for claim in outcomes if not _inside(claim, 95)]
    edits = failures - sum(1 for finding in report.failures if _is_miss(finding))
    parts = []
    if missed:
        parts.append(
            f"Forecast falsified: {len(missed)} of {plural(len(outcomes), 'trained target')} came "
            f"out outside the registered 95 % interval."
        )
    elif outcomes:
        parts.append(
            f"{len(outcomes)} of {plural(len(outcomes), 'trained target')} came out inside the "
            f"registered 95 % interval."
        )
    if edits:
        parts.append(
            f"Verification does not hold: {edits} of {plural(len(report.findings), 'check')} of "
            f"the files failed, so the numbers below are not to be trusted (see Integrity)."
        )
    elif failures == 0:
        parts.append(f"All {plural(len(report.findings), 'check')} of the files hold.")
    pending = sum(claim.target.result is None for claim in claims)
    if pending:
        parts.append(f"{plural(pending, 'registered target')} not trained.")
    tone: Tone = "bad" if failures or missed else ("good" if outcomes else "open")
    return Note(" ".join(parts), tone)


def _is_miss(finding: Finding) -> bool:
    """True for an outcome outside its interval: a failure of the forecast, not of the files."""
    return finding.check == "forecast"


def _inside(claim: Claim, level: int) -> bool:
    inside = (claim.score.inside if claim.score else None) or {}
    return inside.get(str(level), False)


def _tone(claim: Claim) -> Tone:
    if claim.observed is None:
        return "open"
    return "good" if _inside(claim, 95) else "bad"


def _sentence(claim: Claim) -> str:
    band = interval(claim.intervals[95]) if 95 in claim.intervals else ""
    text = (
        f"{ratio(claim.ratio)} the largest fitted rung. Forecast registered "
        f"{'before the run' if claim.observed is not None else 'and waiting for its run'}: "
        f"{number(claim.point)} {unit(claim.metric)} {band}"
    )
    score = claim.score
    if score is None or score.observed is None or score.error_percent is None:
        return text + "; not trained."
    where = "inside" if _inside(claim, 95) else "outside"
    return (
        f"{text}; observed {number(score.observed)}: error {signed(score.error_percent)} %, "
        f"{where} the 95 % interval."
    )


def _table(claims: Sequence[Claim]) -> Table:
    """A column per target: a phone shows one beside the row names."""
    rows: list[tuple[str, Callable[[Claim], str]]] = [
        ("compute", lambda c: flops(c.compute_flops)),
        ("ratio to the largest fitted rung", lambda c: ratio(c.ratio)),
        ("metric", lambda c: describe(c.metric)),
        ("point", lambda c: number(c.point)),
        *((f"{level} % interval", _level(level)) for level in (50, 80, 95)),
        ("verdict before the run", lambda c: "; ".join([c.verdict, *c.reasons])),
        ("status", lambda c: "trained" if c.target.result else "not trained"),
        ("observed", lambda c: _scored(c, "observed", number)),
        ("error %", lambda c: _scored(c, "error_percent", signed)),
        ("|error| / sd", lambda c: _scored(c, "error_in_sd", number)),
        ("CRPS of the log metric", lambda c: _scored(c, "crps", number)),
        *((f"inside {level} %", _hit(level)) for level in (50, 80, 95)),
        ("registered at", lambda c: moment(c.registered)),
        ("target started at", _started),
        ("registration SHA-256", lambda c: short(c.sha256)),
    ]
    return Table(
        "Registered forecasts",
        ["field", *(claim.name for claim in claims)],
        [[name, *(show(claim) for claim in claims)] for name, show in rows],
    )


def _level(level: int) -> Callable[[Claim], str]:
    return lambda c: interval(c.intervals[level]) if level in c.intervals else NONE


def _hit(level: int) -> Callable[[Claim], str]:
    return lambda c: NONE if c.observed is None else ("yes" if _inside(c, level) else "no")


def _scored(claim: Claim, name: str, show: Callable[[float], str]) -> str:
    value = getattr(claim.score, name, None)
    return NONE if value is None else show(float(value))


def _started(claim: Claim) -> str:
    manifest = claim.target.manifest
    return moment(manifest.get("created_utc")) if manifest else "not started"


def integrity(evidence: Evidence) -> Section:
    """Every check of `foresight verify`; failures openly, the rest folded."""
    title = "Integrity"
    report = evidence.verification
    if report is None:
        return Section("integrity", title, [Note("Nothing was verified.", "open")])
    blocks: list[Block] = []
    if report.failures:
        blocks.append(Note(f"{plural(len(report.failures), 'check')} failed:", "bad"))
        blocks.append(_checks("Failed checks", report.failures))
    passed = [finding for finding in report.findings if finding.ok]
    blocks.append(
        Fold(f"{plural(len(passed), 'check')} passed", [_checks("Passed checks", passed)])
    )
    return Section("integrity", title, blocks)


def _checks(caption: str, findings: Sequence[Finding]) -> Table:
    rows = [[one.check, one.file, one.message] for one in dict.fromkeys(findings)]
    return Table(caption, ["check", "file", "found"], rows)
