"""What `foresight improve` found, for the terminal."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from foresight.evals.statistics import Estimate
from foresight.serve.improve import Improvement
from foresight.views import say, show_table


def show_improvement(console: Console, found: Improvement, to: Path) -> None:
    rows = [
        [name, *(_told(getattr(of, field)) for of in (found.before, found.after)), _told(more)]
        for name, field, more in (
            ("violations acted upon", "caught", found.more_caught),
            ("violations blocked", "blocked", None),
            ("fine ones acted upon", "false", found.more_false),
        )
    ]
    columns = ["share of exchanges", found.before.policy, found.after.policy, "difference, paired"]
    used, kept = found.cases
    show_table(console, f"{kept} kept cases; trained on {used}", columns, rows)
    verdict = "catches more" if found.is_better else "is not shown to be better"
    say(console, f"the new policy {verdict}: {to / 'policy.yaml'}")


def _told(one: Estimate | None) -> str:
    if one is None:
        return ""
    if one.low is None or one.high is None:
        return f"{one.mean:.3f}, n = {one.n}"
    return f"{one.mean:.3f} [{one.low:.3f}, {one.high:.3f}], n = {one.n}"
