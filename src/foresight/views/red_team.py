"""What `redteam` shows on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from foresight.posttrain.red_team import Replayed


def show_replay(console: Console, model: str, found: Sequence[Replayed]) -> None:
    """Every answer that changed, both texts, and how many did."""
    for one in found:
        if one.same:
            continue
        judged = one.entry.judged
        said = f"{judged.verdict}, severity {judged.severity}" if judged else "not judged"
        lines = [
            f"{one.entry.asked.id}: {one.entry.asked.turns[-1].content}",
            f"  then ({said}): {one.entry.asked.answer}",
            f"  now ({one.finish}): {one.answer}",
        ]
        for line in lines:
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    changed = sum(not one.same for one in found)
    console.print(f"{model}: {changed} of {len(found)} answers changed", highlight=False)
