"""Tables of what to train: sizes for a compute, ladders for a budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from foresight.views import _table

if TYPE_CHECKING:
    from foresight.forecast import Recommendation

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
