"""What `prefer` and `grade` show on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from foresight.evals.people.agreement import Beside, Coefficient
from foresight.evals.people.bradley_terry import BradleyTerry
from foresight.evals.people.grading import Grading
from foresight.evals.people.preference import Preference
from foresight.evals.statistics import Estimate
from foresight.views import between, say, show_rows, show_table

SHOWN = 10
"""Prompts left out that are named on the terminal."""


def show_collection(console: Console, value: Mapping[str, Any]) -> None:
    reasons = ", ".join(f"{n} {reason}" for reason, n in value["filtered"].items()) or "none"
    lines = [
        f"{value['prompts']} prompts; left out: {reasons}",
        *(f"  {one['id']}: {one['reason']} ({one['detail']})" for one in value["left_out"][:SHOWN]),
    ]
    if len(value["left_out"]) > SHOWN:
        lines.append(f"  all of them in {value['out']}/filtered.jsonl")
    lines.append(f"{value['answers']} answers of {', '.join(value['models'])}")
    if value["missing"] > 0:
        lines.append(f"{value['missing']} answers did not come; call again to ask for them")
    lines.append(f"{value['pairs']} pairs, {value['identical']} of equal answers (ties)")
    say(console, *lines)


def show_pages(console: Console, people: Sequence[Mapping[str, Any]]) -> None:
    say(console, *(f"{one['person']}, {one['left']} left: {one['url']}" for one in people))
    say(console, "an address is its person's alone; Ctrl-C ends, everything said is kept")


def show_preference(console: Console, found: Preference) -> None:
    rows = []
    for one in found.duels:
        names = f"{one.first} over {one.second}"
        counts = f"{one.wins} / {one.ties} / {one.losses}"
        p = f"{one.adjusted_p:.2g}"
        rows.append([names, *_shares(one.win_rate), counts, p, f"{one.sign_p:.2g}"])
        rows += [
            [f"  {name or '(no category)'}", *_shares(rate), "", "", ""]
            for name, rate in one.categories.items()
        ]
    several = ", Holm" if len(found.duels) > 1 else ""
    columns = ["", "win rate", "95 %", "pairs", "won / tied / lost", f"p{several}", "sign test"]
    show_table(console, "Preferred by people, ties as half", columns, rows)
    judges = ", ".join(f"{name} {n}" for name, n in found.judges.items())
    lines = [f"votes: {judges}; {found.skipped} skipped; {found.waiting} pairs wait"]
    if same := sum(one.identical for one in found.duels):
        lines.append(f"{same} pairs of equal answers count as ties, nobody was asked")
    if found.left is not None:
        rate, interval, n = _shares(found.left)
        lines.append(f"the left answer was chosen in {rate} of {n} votes, 95 % {interval}")
    if found.agreement is not None:
        rate, interval, n = _shares(found.agreement.same)
        lines.append(
            f"two judges agreed on {rate} of {n} pairs, 95 % {interval}; Krippendorff's alpha "
            f"{_coefficient(found.agreement.alpha)}"
        )
    say(console, *lines)
    if len(found.duels) > 1 and found.strengths is None:
        say(console, "no strengths: some models never met, not even by way of others")
    elif len(found.duels) > 1 and found.strengths is not None:
        _show_strengths(console, found.strengths)


def _show_strengths(console: Console, found: BradleyTerry) -> None:
    rows = [
        {
            "model": one.model,
            "log-odds": f"{one.strength:+.3f}",
            "95 %": between(one.low, one.high, "+.3f"),
            "Elo": f"{one.elo:+.0f}",
        }
        for one in found.strengths
    ]
    show_rows(console, f"Bradley-Terry strengths, {found.matches} pairs of answers", rows)
    if found.unbounded:
        told = "unbounded: some models never lost to the others; a tie was added between every two"
        say(console, f"{told} that met, and how far they are apart is the doing of that tie")


def show_export(console: Console, value: Mapping[str, Any]) -> None:
    tied = f"{value['tied']} ties left out, {value['split']} of them because judges disagree"
    say(console, f"{value['pairs']} pairs in {value['out']}; {tied}")


def show_grading(console: Console, found: Grading) -> None:
    rows = [[name, *_shares(one)] for name, one in found.models.items()]
    show_table(console, "Scores by people", ["model", "score", "95 %", "answers"], rows)
    graders = ", ".join(f"{name} {n}" for name, n in found.graders.items())
    say(console, f"{found.graded} of {found.answers} answers graded: {graders}")
    show_agreement(console, [*found.agreement, *([found.records] if found.records else [])])


def show_agreement(console: Console, found: Sequence[Beside]) -> None:
    """How far graders agree, two at a time."""
    show_rows(console, "Agreement (quadratic weights)", [_beside(one) for one in found])


def _beside(one: Beside) -> dict[str, str]:
    return {
        "": f"{one.first}, {one.second}",
        "answers": str(one.n),
        "same, 95 %": " ".join(_shares(one.same)[:2]).rstrip(),
        "weighted kappa, 95 %": _coefficient(one.kappa),
        "mean difference": f"{one.difference.mean:+.3f}",
        "95 %": between(one.difference.low, one.difference.high, "+.3f"),
    }


def _shares(one: Estimate) -> list[str]:
    return [f"{one.mean:.3f}", between(one.low, one.high), str(one.n)]


def _coefficient(one: Coefficient) -> str:
    if one.value is None:
        return "undefined (all the same)"
    span = between(one.low, one.high, ".2f")
    return f"{one.value:.2f}" + (f" [{span}]" if span else "")
