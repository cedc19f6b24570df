"""What `foresight capability` shows on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from foresight.views import _table

if TYPE_CHECKING:
    from foresight.forecast.capability import CapabilityAnswer, CapabilityForecast, Estimate


def show_capability(console: Console, answer: CapabilityAnswer) -> None:
    fitted = answer.fitted
    for remark in fitted.counts.remarks:
        console.print(f"  [dim]{remark}[/dim]")
    rows = [
        [
            law.name,
            str(len(law.problems)),
            _range(law.exponent, 95, 3),
            _range(law.level, 95, 2),
            *("" if one is None else f"{one:.3f}" for one in law.observed),
        ]
        for law in fitted.laws()
    ]
    computes = [f"{one:.1e}" for one in fitted.counts.compute]
    if rows:
        _table(
            console,
            f"Law by bucket; pass rates in samples that assigned none ({fitted.buckets.method})",
            ["group", "problems", "exponent k (95 %)", "-E log p at the top (95 %)", *computes],
            rows,
        )
    for forecast in answer.forecasts:
        _show_forecast(console, forecast)
    hidden = fitted.hidden
    if hidden is not None:
        console.print(
            f"largest model hidden: predicted {_range(hidden.predicted, 95, 3)}, observed "
            f"{hidden.observed:.3f}"
        )
    for code in sorted({*fitted.reasons, *(c for one in answer.forecasts for c in one.reasons)}):
        console.print(f"  {code.value}: {code.text}")
    console.print(f"verdict: {answer.verdict}")


def _show_forecast(console: Console, forecast: CapabilityForecast) -> None:
    if not forecast.groups:
        return
    _table(
        console,
        f"Forecast at {forecast.compute_flops:.2e} FLOPs, {forecast.ratio:.1f} times the largest "
        f"model: {forecast.verdict}",
        [
            "group", "problems", "E log p (95 %)", "pass rate", "50 %", "80 %", "95 %",
            f"pass@{forecast.k} (95 %)", f"seen in {forecast.samples} samples each (95 %)",
        ],
        [
            [
                one.name,
                str(one.problems),
                _range(one.mean_log_pass_rate, 95, 2),
                f"{one.pass_rate.point:.3f}",
                *(f"{low:.3f} - {high:.3f}" for low, high in one.pass_rate.intervals.values()),
                _range(one.pass_at, 95, 3),
                _range(one.observed, 95, 3),
            ]
            for one in forecast.groups
        ],
    )  # fmt: skip


def _range(estimate: Estimate, level: int, digits: int) -> str:
    low, high = estimate.intervals[level]
    return f"{estimate.point:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
