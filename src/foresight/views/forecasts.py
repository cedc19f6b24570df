"""What forecasts of losses and scores show on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from foresight.report.tables import (
    backtest_table,
    forecasts_table,
    hits,
    runs_table,
    shown,
    totals_table,
)
from foresight.views import between, say, show, show_rows

if TYPE_CHECKING:
    from foresight.forecast import (
        AccuracyFit,
        AccuracyForecast,
        Answer,
        Estimate,
        Fit,
        Forecast,
        LossMap,
        Registration,
        Report,
        Score,
        Trend,
    )
    from foresight.forecast.codes import Reason


def show_reasons(console: Console, reasons: Iterable[Reason]) -> None:
    for code in sorted(set(reasons)):
        console.print(f"  {code.told}")


def show_fit(console: Console, fitted: Fit) -> None:
    show(console, runs_table(fitted.table.rows, fitted.table.metric))
    show(console, backtest_table(fitted.backtest_rows()))
    show_reasons(console, fitted.reasons)


def show_answer(console: Console, answers: Sequence[tuple[str, Answer]], verdict: str) -> None:
    """One or several groups (name and answer), and the verdict over all."""
    for name, found in answers:
        if name:
            console.rule(f"group {name}: {found.verdict}")
        _show_group(console, found)
    console.print(f"verdict: {verdict}")


def _show_group(console: Console, found: Answer) -> None:
    from foresight.views.planning import show_recommended

    for remark in found.table.remarks:
        console.print(f"  [dim]{remark}[/dim]")
    rows = [
        {
            "FLOPs": f"{point.compute_flops:.3e}",
            "value": f"{point.loss:.4f}",
            "standard error %": "" if point.sigma is None else f"{100 * point.sigma:.2f}",
            "params": "" if point.params is None else f"{point.params:.3g}",
            "tokens": "" if point.tokens is None else f"{point.tokens:.3g}",
        }
        for point in found.frontier
    ]
    show_rows(console, f"Frontier of {len(found.table.rows)} runs: {found.table.metric}", rows)
    show_fit(console, found.fitted)
    if found.forecasts:
        show_forecasts(console, found.forecasts)
    sized = [found.recommended(one.compute_flops) for one in found.forecasts]
    if any(sized):
        show_recommended(console, [one for one in sized if one])
    if found.planned is not None and found.planned.excess is not None:
        mean, sd = found.planned.excess
        console.print(
            f"  N = {found.planned.params:.3g}, D = {found.planned.tokens:.3g}: "
            f"{100 * mean:.1f} +- {100 * sd:.1f} % above the best run of its compute (L(N, D))"
        )


def show_forecasts(
    console: Console, forecasts: Sequence[Forecast] | Sequence[AccuracyForecast]
) -> None:
    show(console, forecasts_table(forecasts))
    show_reasons(console, (code for one in forecasts for code in one.reasons))


def show_accuracies(
    console: Console, found: AccuracyFit, forecasts: Sequence[AccuracyForecast]
) -> None:
    shares = ", ".join(f"{name} {weight:.2f}" for name, weight in found.weights.items())
    console.print(f"laws of -log({found.table.metric}) by forward chaining: {shares}")
    show_forecasts(console, forecasts)


def show_map(
    console: Console,
    mapping: LossMap,
    names: tuple[str, str],
    found: Answer,
    mapped: Sequence[Estimate | None],
) -> None:
    show_forecasts(console, found.forecasts)
    law = mapping.summary()
    console.print(
        f"{names[1]} = {law['E_B']:.4g} + {law['K']:.4g} ({names[0]} - {law['E_A']:.4g})"
        f"^{law['kappa']:.3f}, scatter {100 * law['scatter']:.2g} %, {mapping.runs} runs"
    )
    rows = [
        {
            "FLOPs": f"{first.compute_flops:.2e}",
            "point": f"{second.point:.4f}",
            **{f"{level} %": between(*pair, ".4g") for level, pair in second.intervals.items()},
        }
        for first, second in zip(found.forecasts, mapped, strict=True)
        if second is not None
    ]
    show_rows(console, f"Forecast of {names[1]}", rows)


def show_trends(console: Console, found: Sequence[Trend]) -> None:
    rows = []
    for one in found:
        p = {"p falling": one.p_falling, "p rising": one.p_rising, "p U": one.p_u,
             "p inverted U": one.p_inverted_u}  # fmt: skip
        change = turn = ""
        if one.change is not None and one.change_interval is not None:
            change = f"{one.change:+.4g} {between(*one.change_interval, '.4g')}"
        if one.turn is not None and one.turn_interval is not None:
            turn = f"{one.turn:.2e} {between(*one.turn_interval, '.1e')}"
        rows.append({
            "metric": one.metric,
            "verdict": one.verdict,
            **{name: "" if value is None else f"{value:.4f}" for name, value in p.items()},
            "change, 90 %": change,
            "turn, 95 %": turn,
            "models / families / sizes": f"{one.models} / {one.families} / {one.sizes}",
        })  # fmt: skip
    show_rows(console, "Trend with scale (positive is better)", rows)
    for one in found:
        if one.note:
            console.print(f"  {one.metric}: {one.note}")


def show_registration(console: Console, made: Registration) -> None:
    record, forecast = made.record, made.record["forecast"]
    bands = ", ".join(
        f"{level} % [{low:.5g}, {high:.5g}]" for level, (low, high) in forecast["intervals"].items()
    )
    say(
        console,
        f"prediction ({made.kind}): {record['metric']} of {record['target']['run']} = "
        f"{forecast['point']:.5g}, {bands}",
        record["falsification"]["text"],
        f"{made.path}  SHA-256 {made.sha256}",
    )


def _scored(score: Score) -> dict[str, str]:
    # A metric without a zero that means something has no error in per cent.
    percent = None if score.scale == "linear" else score.error_percent
    return {
        "registration": score.name + ("" if score.kind == "registered" else f" ({score.kind})"),
        "predicted": f"{score.predicted:.4f}",
        "observed": shown(score.observed),
        "error %": "" if percent is None else f"{percent:+.2f}",
        "|error| / sd": shown(score.error_in_sd),
        "CRPS": shown(score.crps),
        "interval": score.status if score.observed is None else f"inside {hits(score)}",
    }


def show_verification(console: Console, report: Report) -> None:
    show(console, totals_table(report.to_json()["totals"]))
    show_rows(console, "Verification", [_scored(score) for score in report.scores])
    for remark in report.remarks:
        console.print(f"  [yellow]{remark.check}[/yellow] {remark.file}: {remark.message}")
    for failure in report.failures:
        console.print(f"  [red]{failure.check}[/red] {failure.file}: {failure.message}")
    verdict = "[green]all holds[/green]" if report.holds else "[red]does not hold[/red]"
    console.print(f"{len(report.findings)} checks, {len(report.failures)} failed: {verdict}")


def show_board(console: Console, board: Mapping[str, Any], page: Path) -> None:
    show(console, totals_table(board["totals"]))
    for failure in board["failures"]:
        text = f"{failure['directory']}/{failure['file']}: {failure['message']}"
        say(console, f"  {failure['check']} {text}", style="red")
    say(console, f"wrote {page}")
