"""Tables of what to train: sizes for a compute, ladders for a budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from foresight.views import between, say, show_rows

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
    rows = [
        {
            "FLOPs": f"{one.compute_flops:.2e}",
            "params N": f"{one.params:.3g}",
            "95 %": between(*one.params_interval95, ".3g") if one.params_interval95 else "",
            "tokens D": f"{one.tokens:.3g}",
            "from": ", ".join((_BASES[one.basis], *one.flags)),
        }
        for one in found
    ]
    first = found[0]
    title = f"Recommended size: N ~ C^{first.exponent:.3f}"
    if first.exponent_interval95 is not None:
        title += f" [{between(*first.exponent_interval95)}]"
    show_rows(console, f"{title} from {first.optima} points", rows)


def show_plan_of_ladder(console: Console, plan: Plan, recommended: Sizes | None) -> None:
    """The best ladder rung by rung, its rivals, other budgets, and the next single run."""
    best = plan.designs[0].design
    rows = []
    for compute, seeds in zip(best.compute_flops, best.seeds, strict=True):
        size = recommended(compute) if recommended else None
        rows.append({
            "rung FLOPs": f"{compute:.2e}",
            "seeds": str(seeds),
            "params N": f"{size.params:.3g}" if size else "",
            "tokens D": f"{size.tokens:.3g}" if size else "",
            "cost FLOPs": f"{compute * seeds:.2e}",
            "% of cost": f"{100 * compute * seeds / best.cost_flops:.0f}",
        })  # fmt: skip
    show_rows(console, f"Ladder for {plan.budget_flops:.3g} FLOPs", rows)
    title = f"Expected 95 % interval at {plan.target_flops:.3g} FLOPs (from {plan.basis})"
    compared = [*plan.designs, plan.equal]
    show_rows(console, title, [{"ladder": one.name, **_expected(one)} for one in compared])
    curve = [{"budget FLOPs": f"{budget:.2e}", **_expected(one)} for budget, one in plan.curve]
    show_rows(console, "Best ladder of other budgets", curve)
    if plan.one_more is not None and plan.now is not None:
        for found, what in (
            (plan.one_more.best, "narrows most"),
            (plan.one_more.best_per_flop, "narrows most per FLOP"),
        ):
            say(console,
                f"one more run, {what}: C = {found.design.compute_flops[0]:.3g}, 95 % half-width "
                f"from {100 * plan.now:.2f} to {100 * found.width.half_width95:.2f} %")  # fmt: skip
    told = "widths: means over simulated ladders, each fitted as a table is; half-width as a share"
    say(console, f"{told} of the loss", style="dim")


def _expected(one: Expected) -> dict[str, str]:
    width = one.width
    return {
        "runs": str(sum(one.design.seeds)),
        "rungs": str(len(one.design.seeds)),
        "cost FLOPs": f"{one.design.cost_flops:.2e}",
        "largest / target": f"1/{one.extrapolation_ratio:.3g}",
        "half-width %": f"{100 * width.half_width95:.2f}",
        "s.e.": f"{100 * width.half_width95 * width.standard_error:.2f}",
    }
