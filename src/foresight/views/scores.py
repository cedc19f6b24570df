"""Tables of trends, accuracies and loss-to-loss maps."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from foresight.forecast import AccuracyFit, AccuracyForecast, Answer, LossMap, Mapped, Trend
from foresight.views import _table, show_forecasts


def show_trends(console: Console, found: Sequence[Trend]) -> None:
    rows = []
    for one in found:
        p = (one.p_falling, one.p_rising, one.p_u, one.p_inverted_u)
        rows.append([
            one.metric,
            one.verdict,
            *("" if value is None else f"{value:.4f}" for value in p),
            "" if one.change is None else f"{one.change:+.4g}" + _between(one.change_interval),
            "" if one.turn is None else f"{one.turn:.2e}" + _between(one.turn_interval, ".1e"),
            f"{one.models} / {one.families} / {one.sizes}",
        ])  # fmt: skip
    columns = ["metric", "verdict", "p falling", "p rising", "p U", "p inverted U",
               "change, 90 %", "turn, 95 %", "models / families / sizes"]  # fmt: skip
    _table(console, "Trend with scale (positive is better)", columns, rows)
    for one in found:
        if one.note:
            console.print(f"  {one.metric}: {one.note}")


def show_accuracies(
    console: Console, found: AccuracyFit, forecasts: Sequence[AccuracyForecast]
) -> None:
    shares = ", ".join(f"{name} {weight:.2f}" for name, weight in found.weights.items())
    console.print(f"laws of -log({found.table.metric}) by forward chaining: {shares}")
    rows = [
        [
            f"{one.compute_flops:.2e}",
            "" if one.extrapolation_ratio is None else f"{one.extrapolation_ratio:.1f}",
            "" if one.point is None else f"{one.point:.4f}",
            *(
                "" if one.intervals is None else _between(one.intervals[level]).strip()
                for level in (50, 80, 95)
            ),
            one.verdict + ("" if one.calibrated else ", not calibrated"),
        ]
        for one in forecasts
    ]
    columns = ["FLOPs", "ratio", "accuracy", "50 %", "80 %", "95 %", "verdict"]
    _table(console, "Forecast", columns, rows)
    for code in sorted({code for one in forecasts for code in one.reasons}):
        console.print(f"  {code.value}: {code.text}")


def show_map(
    console: Console,
    mapping: LossMap,
    names: tuple[str, str],
    found: Answer,
    mapped: Sequence[Mapped | None],
) -> None:
    show_forecasts(console, found.forecasts)
    law = mapping.summary()
    console.print(
        f"{names[1]} = {law['E_B']:.4g} + {law['K']:.4g} ({names[0]} - {law['E_A']:.4g})"
        f"^{law['kappa']:.3f}, scatter {100 * law['scatter']:.2g} %, {mapping.runs} runs"
    )
    rows = [
        [f"{first.compute_flops:.2e}", f"{second.point:.4f}",
         *(_between(pair).strip() for pair in second.intervals.values())]
        for first, second in zip(found.forecasts, mapped, strict=True) if second is not None
    ]  # fmt: skip
    _table(console, f"Forecast of {names[1]}", ["FLOPs", "point", "50 %", "80 %", "95 %"], rows)


def _between(pair: tuple[float, float] | None, style: str = ".4g") -> str:
    return "" if pair is None else f" {pair[0]:{style}} to {pair[1]:{style}}"
