"""What `foresight capability` shows on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from foresight.views import between, say, show_rows
from foresight.views.forecasts import show_reasons

if TYPE_CHECKING:
    from foresight.forecast.capability import BucketLaw, CapabilityAnswer, CapabilityForecast
    from foresight.forecast.draws import Estimate


def show_capability(console: Console, answer: CapabilityAnswer) -> None:
    fitted = answer.fitted
    for remark in fitted.counts.remarks:
        console.print(f"  [dim]{remark}[/dim]")
    laws = fitted.laws()
    if laws:
        ends = {at: f"{fitted.counts.compute[at]:.0e}" for at in (0, -1)}
        title = "Law by group, -E log p = level (C / C_top)^-k"
        show_rows(console, title, [_law_row(law, ends) for law in laws])
        method = fitted.buckets.method
        say(console, f"seen: pass rates in samples that put no problem in its bucket ({method})")
    for forecast in answer.forecasts:
        _show_forecast(console, forecast)
    for rung in fitted.hidden:
        off = ", ".join(f"{z:+.1f}" for z in rung.z)
        console.print(
            f"models at {rung.compute_flops:.2e} FLOPs hidden: by thirds of difficulty {off} "
            f"standard deviations worse than forecast"
        )
    show_reasons(console, answer.reasons)
    console.print(f"verdict: {answer.verdict}")


def _law_row(law: BucketLaw, ends: dict[int, str]) -> dict[str, str]:
    seen = {at: law.observed[at] for at in ends}
    return {
        "group": law.name,
        "problems": str(len(law.problems)),
        "k (95 %)": _range(law.exponent, 3),
        "level (95 %)": _range(law.level, 2),
        **{f"seen at {ends[at]}": "" if one is None else f"{one:.3f}" for at, one in seen.items()},
    }


def _show_forecast(console: Console, forecast: CapabilityForecast) -> None:
    rows = [
        {
            "group": one.name,
            "problems": str(one.problems),
            "pass rate": f"{one.pass_rate.point:.3f}",
            **{f"{k} %": between(*pair) for k, pair in one.pass_rate.intervals.items()},
            "E log p": _range(one.mean_log_pass_rate, 2),
            f"pass@{forecast.k}": _range(one.pass_at, 3),
            f"seen in {forecast.samples}": _range(one.observed, 3),
        }
        for one in forecast.groups
    ]
    title = (
        f"Mean pass rate at {forecast.compute_flops:.2e} FLOPs, {forecast.ratio:.1f} times the "
        f"largest model: {forecast.verdict}; in brackets 95 %"
    )
    show_rows(console, title, rows)


def _range(estimate: Estimate, digits: int) -> str:
    low, high = estimate.intervals[95]
    return f"{estimate.point:.{digits}f} [{between(low, high, f'.{digits}f')}]"
