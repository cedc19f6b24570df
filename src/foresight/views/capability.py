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
    laws = fitted.laws()
    if laws:
        first, last = (f"{fitted.counts.compute[at]:.0e}" for at in (0, -1))
        _table(
            console,
            "Law by group, -E log p = level (C / C_top)^-k",
            ["group", "problems", "k (95 %)", "level (95 %)", f"seen at {first}", f"at {last}"],
            [
                [
                    law.name,
                    str(len(law.problems)),
                    _range(law.exponent, 95, 3),
                    _range(law.level, 95, 2),
                    *("" if law.observed[at] is None else f"{law.observed[at]:.3f}"
                      for at in (0, -1)),
                ]
                for law in laws
            ],
        )  # fmt: skip
        console.print(f"seen: pass rates in samples that put no problem in its bucket "
                      f"({fitted.buckets.method})")  # fmt: skip
    for forecast in answer.forecasts:
        _show_forecast(console, forecast)
    for rung in fitted.hidden:
        off = ", ".join(f"{z:+.1f}" for z in rung.z)
        console.print(
            f"models at {rung.compute_flops:.2e} FLOPs hidden: by thirds of difficulty {off} "
            f"standard deviations worse than forecast"
        )
    for code in sorted({*fitted.reasons, *(c for one in answer.forecasts for c in one.reasons)}):
        console.print(f"  {code.value}: {code.text}")
    console.print(f"verdict: {answer.verdict}")


def _show_forecast(console: Console, forecast: CapabilityForecast) -> None:
    if not forecast.groups:
        return
    _table(
        console,
        f"Mean pass rate at {forecast.compute_flops:.2e} FLOPs, {forecast.ratio:.1f} times the "
        f"largest model: {forecast.verdict}",
        ["group", "problems", "point", "50 %", "80 %", "95 %"],
        [
            [
                one.name,
                str(one.problems),
                f"{one.pass_rate.point:.3f}",
                *(f"{low:.3f} - {high:.3f}" for low, high in one.pass_rate.intervals.values()),
            ]
            for one in forecast.groups
        ],
    )
    _table(
        console,
        f"There, with 95 % intervals; seen: in {forecast.samples} samples of each problem",
        ["group", "E log p", f"pass@{forecast.k}", "seen pass rate"],
        [
            [
                one.name,
                _range(one.mean_log_pass_rate, 95, 2),
                _range(one.pass_at, 95, 3),
                _range(one.observed, 95, 3),
            ]
            for one in forecast.groups
        ],
    )


def _range(estimate: Estimate, level: int, digits: int) -> str:
    low, high = estimate.intervals[level]
    return f"{estimate.point:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
