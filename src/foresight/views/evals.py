"""What `eval` and `compare` show on a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from foresight.evals.compare import Comparison
from foresight.evals.record import Record
from foresight.evals.runner import Progress
from foresight.evals.summary import Summary, disagreement
from foresight.evals.task import Task
from foresight.views import between, progress, say, show_rows


@contextmanager
def running(console: Console, name: str) -> Iterator[Callable[[Progress], None]]:
    """A bar with rate, time left and running score."""
    rate = TextColumn("{task.fields[rate]}")
    left = TimeElapsedColumn(), TimeRemainingColumn()
    bars = progress(console, MofNCompleteColumn(), rate, *left)
    bar = bars.add_task(name, total=None, rate="")
    begun, shown = time.monotonic(), 0.0

    def watch(now: Progress) -> None:
        nonlocal shown
        moment = time.monotonic()
        # Ten times a second is enough; drawing would cost more than scoring.
        if moment - shown < 0.1 and now.done < now.total:
            return
        shown = moment
        speed = f"{(now.done - now.kept) / max(moment - begun, 1e-9):.1f}/s"
        score = "" if now.mean is None else f"  score {now.mean:.3f}"
        bars.update(bar, total=now.total, completed=now.done, description=name + score, rate=speed)

    with bars:
        yield watch


def warnings(tasks: Sequence[Task], records: Sequence[Sequence[Record]]) -> list[str]:
    """Where tasks ask the same questions by log-probability and by generation, and the scores
    disagree. Few-shot examples may take some questions from one of them."""
    asked = [{(item.id, item.text, item.choices) for item in task.items} for task in tasks]
    told = []
    for at, (task, rows) in enumerate(zip(tasks, records, strict=True)):
        for other in range(at + 1, len(tasks)):
            ways = {type(one.protocol).__name__ for one in (task, tasks[other])}
            same = 2 * len(asked[at] & asked[other]) > len(asked[at])
            if ways == {"ChoiceLogprob", "ChoiceGenerate"} and same:
                told.append(disagreement(rows, records[other]))
    return [one for one in told if one]


def show_evaluation(
    console: Console, found: Sequence[tuple[Task, Summary]], told: Sequence[str], folder: Path
) -> None:
    show_rows(console, f"Scores of {found[0][1].model}", [_score_row(one) for _, one in found])
    for task, one in found:
        say(
            console, *(f"  {one.task}: {line}" for line in (f"SHA-256 {task.hash}", *_details(one)))
        )
    say(console, *(f"  warning: {warning}" for warning in told), style="yellow")
    say(console, f"records in {folder}")


def _score_row(one: Summary) -> dict[str, str]:
    score, bad, ece = one.score, one.invalid_format_rate, ""
    if one.calibration is not None:
        ece = f"{one.calibration.view('all', 'width').error.debiased:.3f}"
    return {
        "task": one.task,
        "score": f"{score.mean:.4f}" if score else "",
        "95 %": between(score.low, score.high) if score else "",
        "n": str(score.n if score else 0),
        "no score": str(one.unscored),
        "bad format": "" if bad is None else f"{100 * bad:.1f} %",
        "ECE": ece,
    }


def _details(one: Summary) -> list[str]:
    lines = [
        f"pass@{k} {estimate.mean:.4f}, 95 % {between(estimate.low, estimate.high)}"
        for k, estimate in one.pass_at.items()
    ]
    if len(one.reasons) > 1 or "ok" not in one.reasons:
        lines.append(", ".join(f"{count} {reason}" for reason, count in one.reasons.items()))
    if one.cut_at_length:
        lines.append(f"{one.cut_at_length} answers cut at the token limit")
    if one.normalised:
        lines.append(", ".join(f"{name} {value:.4f}" for name, value in one.normalised.items()))
    if one.mean_logprob is not None:
        lines.append(f"{one.mean_logprob:.3f} nats per target")
    if len(one.categories) > 1:
        means = [mean for mean, _ in one.categories.values()]
        lowest = min(one.categories, key=lambda name: one.categories[name][0])
        lines.append(
            f"mean over {len(means)} categories {sum(means) / len(means):.4f}, lowest "
            f"{min(means):.3f} ({lowest})"
        )
    return lines


def show_comparisons(console: Console, found: Sequence[Comparison]) -> None:
    p = "p, Holm" if len(found) > 1 else "p"
    rows = [
        {
            "task": one.task,
            "items": str(one.items),
            "first": f"{one.first.mean:.4f}",
            "second": f"{one.second.mean:.4f}",
            "difference": f"{one.difference.mean:+.4f}",
            "95 %": between(one.difference.low, one.difference.high, "+.3f"),
            p: f"{one.adjusted_p:.2g}",
        }
        for one in found
    ]
    models = dict.fromkeys(" against ".join(one.models) for one in found)
    show_rows(console, "; ".join(models), rows)
    say(console, "  p: paired permutation test, clusters flipped whole")
    for one in found:
        say(console, *(f"  {one.task}: {line}" for line in (*_tests(one), *one.remarks)))


def _tests(one: Comparison) -> list[str]:
    lines = []
    if one.mcnemar_p is not None:
        lines.append(
            f"exact McNemar p = {one.mcnemar_p:.2g}: {one.only_first} items only the first has "
            f"right, {one.only_second} only the second"
        )
    if one.detectable is not None:
        lines.append(f"detectable with 80 % power: a difference of {one.detectable:.4f}")
    if one.unpaired_p is not None:
        lines.append(f"a test that forgets the pairing would say p = {one.unpaired_p:.2g}")
    return lines
