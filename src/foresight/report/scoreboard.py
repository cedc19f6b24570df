"""The scoreboard: every prediction of some directories on one page, misses and open ones too."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from foresight.errors import UserError
from foresight.forecast import Finding, Report, Score, verify
from foresight.forecast.coverage import tallies
from foresight.forecast.draws import rounded
from foresight.report.blocks import Block, Fold, Note, Picture, Section, Table, Tone, render
from foresight.report.canvas import (
    FIT,
    INK,
    MUTED,
    SEEN,
    Drawing,
    inline,
    label,
    new,
    plain,
)
from foresight.report.tables import hits, shown, totals_table
from foresight.report.words import (
    NONE,
    describe,
    interval,
    moment,
    number,
    plural,
    ratio,
    signed,
)
from foresight.runs import write_atomic

LEVELS = ("50", "80", "95")
DRAWN = 60
"""Most rows of the forest plot."""


@dataclass(frozen=True)
class Entry:
    """A prediction, the directory it stands in, and whether the checks of its files hold."""

    directory: str
    score: Score

    @property
    def status(self) -> str:
        """pending, verified or falsified; of predictions counted apart their kind before it."""
        score = self.score
        if score.inside is None:
            state = "pending"
        else:
            state = "verified" if score.inside["95"] else "falsified"
        return state if score.kind == "registered" else f"{score.kind}, {state}"

    @property
    def z(self) -> float | None:
        """(observed - predicted) / sd, with its sign."""
        score = self.score
        if score.observed is None or score.error_in_sd is None:
            return None
        return math.copysign(score.error_in_sd, score.observed - score.predicted)

    def to_json(self) -> dict[str, Any]:
        extra = {"directory": self.directory, "verdict": self.status, "z": self.z}
        return {**extra, **asdict(self.score)}


def write_scoreboard(
    directories: Sequence[Path], out: Path, known: Mapping[Path, Report] | None = None
) -> dict[str, Any]:
    """Verify every directory, write the page to `out`; returns what it says as a JSON value.
    `known`: verifications that were made already.

    The same directories give the same bytes. Raises UserError if one has no registrations.
    """
    known = known or {}
    reports = [(path.as_posix(), known.get(path) or verify(path)) for path in directories]
    entries = [Entry(name, score) for name, report in reports for score in report.scores]
    entries.sort(key=lambda entry: (entry.score.created_utc, entry.directory, entry.score.name))
    # A miss is the forecast's failure and on the board as such; all others are of the files.
    failures = _those(reports, lambda one: not one.ok and one.check != "forecast")
    remarks = _those(reports, lambda one: one.ok and one.remark)
    totals = tallies([entry.score for entry in entries])
    sections = [
        Section("totals", "Totals", [*_verdict(entries, failures), totals_table(totals)]),
        Section("predictions", "Predictions", _predictions(entries)),
        Section("checks", "Checks", _checks(reports, failures, remarks)),
    ]
    subtitle = (
        f"{plural(len(entries), 'prediction')} in {', '.join(name for name, _ in reports)}. Every "
        f"number was recomputed from the files when this page was written."
    )
    try:
        write_atomic(out, render("Foresight: predictions and outcomes", subtitle, sections))
    except IsADirectoryError:
        raise UserError(f"{out}: is a directory; name a file such as scoreboard.html") from None
    return rounded(
        {
            "totals": totals,
            "predictions": [entry.to_json() for entry in entries],
            "failures": [{"directory": name, **asdict(one)} for name, one in failures],
            "remarks": [{"directory": name, **asdict(one)} for name, one in remarks],
        }
    )


def _those(
    reports: Sequence[tuple[str, Report]], wanted: Callable[[Finding], bool]
) -> list[tuple[str, Finding]]:
    return [(name, one) for name, report in reports for one in report.findings if wanted(one)]


def _verdict(entries: Sequence[Entry], failures: Sequence[tuple[str, Finding]]) -> list[Block]:
    """Our own forecasts before the fact in a sentence, and whether the files can be trusted."""
    ours = [entry.score for entry in entries if entry.score.kind == "registered"]
    hits = [score.inside["95"] for score in ours if score.inside]
    if hits:
        text = (
            f"{sum(hits)} of {plural(len(hits), 'outcome')} of forecasts registered beforehand "
            f"lie inside the 95 % interval; {plural(len(ours) - len(hits), 'forecast')} pending."
        )
    else:
        text = f"No outcome of a forecast registered beforehand yet; {len(ours)} pending."
    tone: Tone = "open" if not hits else ("good" if all(hits) else "bad")
    blocks: list[Block] = [Note(text, tone)]
    if failures:
        text = (
            f"{plural(len(failures), 'check')} of the files failed (see Checks): numbers of those "
            f"files are not to be trusted."
        )
        blocks.insert(0, Note(text, "bad"))
    return blocks


def _predictions(entries: Sequence[Entry]) -> list[Block]:
    columns = ["prediction", "metric", "predicted", *(f"{level} % interval" for level in LEVELS),
               "observed", "z", "CRPS", "inside", "ratio", "registered", "status"]  # fmt: skip
    table = Table("Predictions in the order of their registration", columns, [
        _cells(entry) for entry in entries
    ])  # fmt: skip
    if not entries:
        return [table]
    latest = entries[-DRAWN:]
    caption = (
        "Each line is a 95 % interval (thick: 50 %) in predicted standard deviations about the "
        "prediction, each dot what came out; lines without a dot wait for their outcome."
        + (f" The last {DRAWN} of {len(entries)}." if len(entries) > DRAWN else "")
    )
    title = "Outcomes within their intervals"
    drawing = Drawing(inline(_forest(latest), "forest", title, caption), caption)
    return [Picture(drawing), table]


def _cells(entry: Entry) -> list[str]:
    score = entry.score
    pairs = [score.intervals.get(level) for level in LEVELS]
    return [
        f"{score.name} ({entry.directory})",
        describe(score.metric),
        number(score.predicted),
        *(NONE if pair is None else interval(pair) for pair in pairs),
        shown(score.observed),
        NONE if entry.z is None else signed(entry.z),
        NONE if score.crps is None else f"{number(score.crps, 3)} ({score.scale})",
        hits(score),
        NONE if score.extrapolation_ratio is None else ratio(score.extrapolation_ratio),
        moment(score.created_utc),
        entry.status,
    ]


def _forest(entries: Sequence[Entry]) -> Figure:
    """One line per prediction, the newest on top."""
    figure, (axes,) = new(1.2 + 0.24 * len(entries))
    named: set[str] = set()

    def once(text: str) -> str:
        """A legend entry the first time only."""
        if text in named:
            return "_"
        named.add(text)
        return text

    for at, entry in enumerate(entries):
        for level, width in (("95", 1.4), ("50", 4.5)):
            if level in entry.score.intervals:
                axes.plot(_in_sd(entry.score, level), [at, at], color=FIT, linewidth=width,
                          solid_capstyle="butt", label=once(f"{level} % interval"))  # fmt: skip
        if entry.z is not None:
            hit = entry.score.inside is not None and entry.score.inside["95"]
            axes.plot([entry.z], [at], "o" if hit else "X", color=INK if hit else SEEN,
                      markersize=5 if hit else 7,
                      label=once("observed inside" if hit else "observed outside"))  # fmt: skip
    axes.axvline(0.0, color=MUTED, linewidth=0.8)
    names = [plain(f"{one.score.name} {describe(one.score.metric)}"[:48]) for one in entries]
    axes.set_yticks(range(len(entries)), names)
    axes.set_ylim(-0.7, len(entries) + 0.6)  # room for the legend
    label(axes, "(value \u2212 predicted) / predicted standard deviation")
    axes.legend(loc="upper right", ncols=4, frameon=False, fontsize=8, labelcolor=INK)
    return figure


def _in_sd(score: Score, level: str) -> tuple[float, float]:
    """An interval about the prediction, in predicted standard deviations."""
    low, high = score.intervals[level]
    if score.scale == "log":
        low, high, middle = math.log(low), math.log(high), math.log(score.predicted)
    else:
        middle = score.predicted
    return (low - middle) / score.sd, (high - middle) / score.sd


def _checks(
    reports: Sequence[tuple[str, Report]],
    failures: Sequence[tuple[str, Finding]],
    remarks: Sequence[tuple[str, Finding]],
) -> list[Block]:
    passed = sum(one.ok for _, report in reports for one in report.findings)
    blocks: list[Block] = [Note(f"{plural(passed, 'check')} of the files hold.")]
    if failures:
        blocks.insert(0, _findings("Failed checks", failures))
    if remarks:
        blocks.append(Fold("Witnesses and what could not be confirmed",
                           [_findings("Remarks", remarks)], opened=True))  # fmt: skip
    return blocks


def _findings(caption: str, found: Sequence[tuple[str, Finding]]) -> Table:
    rows = [[one.check, f"{directory}/{one.file}", one.message] for directory, one in found]
    return Table(caption, ["check", "file", "found"], rows)
