"""Tables of forecasts, for pages and for the terminal alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from foresight.forecast import AccuracyForecast, Forecast, Row, Score
from foresight.forecast.draws import LEVELS
from foresight.report.blocks import Table
from foresight.report.words import (
    NONE,
    interval,
    number,
    percent,
    power,
    ratio,
    signed,
)

SPANS = [f"{level} %" for level in LEVELS]


def shown(value: float | None) -> str:
    """A number, or a dash where there is none."""
    return NONE if value is None else number(value)


def runs_table(rows: Sequence[Row], metric: str) -> Table:
    cells = [
        [row.run, power(row.compute_flops), number(row.loss),
         ", ".join(row.reasons) or ("target" if row.target else "yes")]
        for row in rows
    ]  # fmt: skip
    return Table("Runs", ["run", "FLOPs", metric, "in the fit"], cells)


def backtest_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Of `Fit.backtest_rows`."""
    columns = ["rungs fitted", "hidden FLOPs", "ratio", "predicted", "observed", "error %",
               "(observed \u2212 predicted) / sd"]  # fmt: skip
    cells = [
        [str(r["rungs"]), power(r["compute_flops"]), ratio(r["ratio"]), number(r["predicted"]),
         number(r["observed"]), signed(100 * (r["predicted"] / r["observed"] - 1)), signed(r["z"])]
        for r in rows
    ]  # fmt: skip
    return Table("Back-test", columns, cells)


def forecasts_table(made: Sequence[Forecast] | Sequence[AccuracyForecast]) -> Table:
    cells = [
        [power(one.compute_flops),
         NONE if one.extrapolation_ratio is None else ratio(one.extrapolation_ratio),
         shown(one.point),
         *(interval(one.intervals[level]) if one.intervals else NONE for level in LEVELS),
         one.verdict + (", not calibrated" if one.intervals and not one.calibrated else "")]
        for one in made
    ]  # fmt: skip
    return Table("Forecast", ["FLOPs", "ratio", "point", *SPANS, "verdict"], cells)


def totals_table(totals: Sequence[Mapping[str, Any]]) -> Table:
    """Of `coverage.tallies`."""
    cells = [
        [one["kind"], str(one["predictions"]), str(one["outcomes"]),
         *(_share(one["coverage"][str(level)]) for level in LEVELS),
         shown(one["mean_error_in_sd"]),
         ", ".join(f"{number(v, 3)} ({scale})" for scale, v in one["mean_crps"].items()) or NONE]
        for one in totals
    ]  # fmt: skip
    caption = (
        "Coverage by kind: share of outcomes inside each interval [95 % Wilson interval of the "
        "share]. Mean CRPS of the log of the metric, or of the metric itself (linear)."
    )
    columns = ["kind", "predictions", "outcomes", *(f"inside {span}" for span in SPANS),
               "mean |error| / sd", "mean CRPS"]  # fmt: skip
    return Table(caption, columns, cells)


def _share(share: Mapping[str, Any]) -> str:
    if not share["n"]:
        return NONE
    low, high = share["wilson95"]
    return (
        f"{share['inside']} of {share['n']}, {percent(share['share'], 0)} "
        f"[{percent(low, 0)}, {percent(high, 0)}]"
    )


def hits(score: Score) -> str:
    """The intervals that an outcome is inside of."""
    if score.inside is None:
        return NONE
    return ", ".join(f"{level} %" for level, hit in score.inside.items() if hit) or "none"
