"""Tables of what to train: sizes for a compute, ladders for a budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from foresight.views import _table

if TYPE_CHECKING:
    from foresight.forecast import Plan, Recommendation
    from foresight.forecast.planning import Expected, Sizes

_BASES = {
    "isoflop": "isoFLOP optima",
    "envelope": "best of the sizes tried",
    "ladder": "the ladder's own rule, no optimum known",
}


def show_recommended(console: Console, found: Sequence[Recommendation]) -> None:
    """Size and tokens for each compute."""
    rows = []
    for one in found:
        span = one.params_interval95
        rows.append(
            [
                f"{one.compute_flops:.2e}",
                f"{one.params:.3g}",
                "" if span is None else f"{span[0]:.3g} - {span[1]:.3g}",
                f"{one.tokens:.3g}",
                ", ".join((_BASES[one.basis], *one.flags)),
            ]
        )
    title = f"Recommended size: N ~ C^{found[0].exponent:.3f}"
    if found[0].exponent_interval95 is not None:
        low, high = found[0].exponent_interval95
        title += f" [{low:.3f}, {high:.3f}]"
    title += f" from {found[0].optima} points"
    _table(console, title, ["FLOPs", "params N", "95 %", "tokens D", "from"], rows)


@contextmanager
def designing(console: Console) -> Iterator[Callable[[int, int], None]]:
    """A bar over the simulated ladders that are fitted."""
    bar = Progress(
        TextColumn("  fitting simulated ladders {task.completed:.0f}/{task.total:.0f}"),
        BarColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    task = bar.add_task("", total=1)
    with bar:
        yield lambda done, total: bar.update(task, completed=done, total=total)


def show_plan_of_ladder(console: Console, plan: Plan, recommended: Sizes | None) -> None:
    """The best ladder rung by rung, its rivals, other budgets, and the next single run."""
    best = plan.designs[0]
    rows = []
    for compute, seeds in zip(best.design.compute_flops, best.design.seeds, strict=True):
        size = recommended(compute) if recommended else None
        rows.append(
            [
                f"{compute:.2e}",
                str(seeds),
                f"{size.params:.3g}" if size else "",
                f"{size.tokens:.3g}" if size else "",
                f"{compute * seeds:.2e}",
                f"{100 * compute * seeds / best.design.cost_flops:.0f}",
            ]
        )
    columns = ["rung FLOPs", "seeds", "params N", "tokens D", "cost FLOPs", "% of cost"]
    _table(console, f"Ladder for {plan.budget_flops:.3g} FLOPs", columns, rows)
    title = f"Expected 95 % interval at {plan.target_flops:.3g} FLOPs (from {plan.basis})"
    columns = ["ladder", "runs", "rungs", "cost FLOPs", "largest / target", "half-width %", "s.e."]
    compared = [*plan.designs, plan.equal]
    _table(console, title, columns, [_expected_row(one.name, one) for one in compared])
    curve = [_expected_row(f"{budget:.2e}", one) for budget, one in plan.curve]
    _table(console, "Best ladder of other budgets", ["budget FLOPs", *columns[1:]], curve)
    if plan.one_more is not None and plan.now is not None:
        for found, what in (
            (plan.one_more.best, "narrows most"),
            (plan.one_more.best_per_flop, "narrows most per FLOP"),
        ):
            console.print(
                f"one more run, {what}: C = {found.design.compute_flops[0]:.3g}, 95 % half-width "
                f"from {100 * plan.now:.2f} to {100 * found.width.half_width95:.2f} %",
                highlight=False,
            )
    console.print(
        "widths: means over simulated ladders, each fitted as a table is; "
        "half-width as a share of the loss",
        style="dim",
        highlight=False,
    )


def _expected_row(name: str, one: Expected) -> list[str]:
    width = one.width
    return [
        name,
        str(sum(one.design.seeds)),
        str(len(one.design.seeds)),
        f"{one.design.cost_flops:.2e}",
        f"1/{one.extrapolation_ratio:.3g}",
        f"{100 * width.half_width95:.2f}",
        f"{100 * width.half_width95 * width.standard_error:.2f}",
    ]
