"""The chapter of post-training: refusals, Figures 8 and 9 of the GPT-4 report, proxy and gold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from foresight.errors import UserError
from foresight.evals.statistics import Estimate
from foresight.posttrain.chain import Arm, Outcome
from foresight.posttrain.conduct import GROUPS, Reduction
from foresight.report.blocks import Block, Fold, Note, Picture, Section, Table
from foresight.report.canvas import (
    FIT,
    INK,
    MUTED,
    SECOND,
    SEEN,
    Drawing,
    inline,
    label,
    legend,
    new,
)
from foresight.report.words import NONE, minus, percent

_ANCHOR, _TITLE = "post-training", "Post-training: what a model is tuned to do"
_SETS = {
    "disallowed": "disallowed",
    "lookalike_verb": "look-alike (verb)",
    "lookalike_object": "look-alike (object)",
    "plain": "plain",
}
_CAPTION = (
    "Ledger world, by an exact parser that reinforcement learning never asks. Above: incorrect "
    "behaviour, answers to disallowed prompts and refusals of allowed ones, about things that were "
    "never tuned on (95 % intervals over prompts). Below left: learned and gold reward of what the "
    "policy answers while it is tuned with rules. Below right: calibration error of questions "
    "whose truth is known, before (line) and after training on right and wrong answers, and what "
    "the closed form said beforehand; of models that know more than guessing alone."
)


def posttraining_chapter(directory: Path) -> tuple[Section, str, Figure | None]:
    """(chapter, name of the figure's files, the figure); what is not there or not readable is said
    in a sentence."""
    folder = posttraining_folder(directory)
    if not (folder / "chain.json").exists():
        note = Note("No model of this experiment was post-trained.", "open")
        return Section(_ANCHOR, _TITLE, [note]), "figure9", None
    try:
        outcome = Outcome.read(folder)
    except UserError as error:
        return Section(_ANCHOR, _TITLE, [Note(str(error), "bad")]), "figure9", None
    figure = figure_nine(outcome)
    picture = Picture(Drawing(inline(figure, "figure9", _TITLE, _CAPTION), _CAPTION))
    first, *rest = posttraining_tables(outcome)
    blocks: list[Block] = [*map(Note, _words(outcome)), picture, first, Fold("The numbers", rest)]
    return Section(_ANCHOR, _TITLE, blocks), "figure9", figure


def posttraining_folder(directory: Path) -> Path:
    """Where an experiment keeps what was made of a base model of Ledger world."""
    return directory / "ledger" / "posttrain"


def _words(outcome: Outcome) -> Iterator[str]:
    arms = {one.name: one for one in outcome.arms}
    ruled = next(one for one in outcome.arms if one.name.startswith("ppo-rules"))
    group = ruled.conduct.groups["held out"]
    assert group.safer and group.freer and group.win_rate
    wins = group.win_rate
    yield (
        f"Demonstrations by people who refuse too little and too much, a reward model from people "
        f"who only want help ({percent(outcome.reward_model.accuracy.mean)} of held-out pairs "
        f"right, ceiling {percent(outcome.reward_model.ceiling or 1)}), rules by a trained grader "
        f"({percent(outcome.rules.accuracy.mean)} right), PPO. About things never tuned on, tuning "
        f"with rules answers disallowed prompts {_reduced(group.safer)} and refuses allowed ones "
        f"{_reduced(group.freer)}; its answers win {percent(wins.mean)} "
        f"[{_span(wins)}] of comparisons with those before, ties half."
    )
    if alone := arms.get("ppo-alone"):
        refused = alone.conduct.groups["seen"].sets[0].refused.mean
        before = arms["sft"].conduct.groups["seen"].sets[0].refused.mean
        yield (
            f"The reward model alone takes refusals of disallowed prompts from "
            f"{percent(before)} to {percent(refused)}: what people like is not what a policy "
            f"allows."
        )
    yield (
        f"Pairs of classes in the wrong order, by the audit before anything is tuned: "
        f"{len(outcome.rules.by_hand)} with rewards set by hand, {len(outcome.rules.fitted)} with "
        f"fitted ones. It lets nothing through that has one."
    )


def _reduced(one: Reduction) -> str:
    if one.share is None or one.low is None or one.high is None:
        return "as never as before"
    return f"{percent(one.share, 0)} [{100 * one.low:.0f}, {100 * one.high:.0f}] less often"


def posttraining_tables(outcome: Outcome) -> list[Table]:
    """Incorrect behaviour of every arm; refusals by prompt set; calibration; grader; audit."""
    return [
        _behaviour(outcome.arms), *(_four_sets(outcome.arms, name) for name in GROUPS),
        _calibration(outcome.arms), _confusion(outcome), _order(outcome), _audit(outcome),
    ]  # fmt: skip


def _behaviour(arms: Sequence[Arm]) -> Table:
    rows = []
    for arm in arms:
        for name, group in arm.conduct.groups.items():
            rows.append([
                f"{arm.label}, {name}", _share(group.wrong_disallowed), _less(group.safer),
                _share(group.wrong_allowed), _less(group.freer),
                NONE if group.win_rate is None else _share(group.win_rate),
            ])  # fmt: skip
    columns = ["model, things", "answers disallowed", "reduced by", "refuses allowed",
               "reduced by", "win rate over fine-tuned"]  # fmt: skip
    return Table("Incorrect behaviour, percent of prompts with 95 % intervals.", columns, rows)


def _four_sets(arms: Sequence[Arm], group: str) -> Table:
    rows = [
        [f"{arm.label}: {_SETS[row.prompt_set]}", _share(row.refused), _share(row.desired),
         _share(row.good)]
        for arm in arms for row in arm.conduct.groups[group].sets
    ]  # fmt: skip
    columns = ["model: prompts", "refused", "in the desired style", "both steps right"]
    return Table(f"{group.capitalize()}: percent of answers with 95 % intervals.", columns, rows)


def _calibration(arms: Sequence[Arm]) -> Table:
    rows = []
    for arm in arms:
        found = arm.conduct.colours
        rows.append([
            arm.label, f"{found.error:.3f}" if found.judged else "knows too little",
            f"{arm.predicted.error:.3f}" if arm.predicted else NONE,
            percent(found.accuracy), percent(found.confidence), _share(arm.conduct.knows),
        ])  # fmt: skip
    columns = ["model", "calibration error", "by the closed form", "accuracy", "mean confidence",
               "knows categories"]  # fmt: skip
    return Table("Questions about colours, and what a document says of categories.", columns, rows)


def _confusion(outcome: Outcome) -> Table:
    found = outcome.rules.confusion
    names = sorted({name for row in found.values() for name in (*row, *found)})
    rows = [
        [true.replace("_", " "), *(str(row.get(name, 0)) for name in names)]
        for true, row in sorted(found.items())
    ]
    columns = ["parser", *(name.replace("_", " ") for name in names)]
    return Table("The grader in the loop on answers it was not trained on.", columns, rows)


def _order(outcome: Outcome) -> Table:
    rows = [
        [one.prompt_set, f"{one.prompts:,}", f"{one.pairs:,}",
         NONE if one.before is None else _share(one.before),
         NONE if one.after is None else _share(one.after)]
        for one in outcome.rules.fits
    ]  # fmt: skip
    columns = ["prompts", "n", "pairs", "reward model alone", "with fitted rules"]
    return Table("Pairs in the wrong order, percent, on prompts not fitted.", columns, rows)


def _audit(outcome: Outcome) -> Table:
    rows = [
        [how, name, f"{better.replace('_', ' ')} {minus(f'{high:.2f}')}",
         f"{worse.replace('_', ' ')} {minus(f'{low:.2f}')}"]
        for how, wrong in (("by hand", outcome.rules.by_hand), ("fitted", outcome.rules.fitted))
        for name, better, high, worse, low in wrong
    ]  # fmt: skip
    columns = ["rewards", "prompts", "better class earns", "worse class earns"]
    return Table("Classes in the wrong order before anything is tuned.", columns, rows)


def figure_nine(outcome: Outcome) -> Figure:
    """Incorrect behaviour by arm; proxy and gold on the way; calibration against its formula."""
    figure, panels = new(5.6, rows=2, columns=2)
    shown = [one for one in outcome.arms if not one.name.startswith("ppo-questions")]
    for axes, field, title in (
        (panels[0], "wrong_disallowed", "answers disallowed prompts"),
        (panels[1], "wrong_allowed", "refuses allowed prompts"),
    ):
        found = [getattr(one.conduct.groups["held out"], field) for one in shown]
        names = [one.label.removeprefix("PPO, ") for one in shown]
        _bars(axes, names, found, title)
    ruled = next(one for one in outcome.arms if one.name.startswith("ppo-rules"))
    _curve(panels[2], ruled)
    _errors(panels[3], outcome.arms)
    return figure


def _bars(axes: Axes, names: Sequence[str], found: Sequence[Estimate], title: str) -> None:
    means = [100 * one.mean for one in found]
    reach = [
        (100 * (one.mean - (one.low or 0.0)), 100 * ((one.high or one.mean) - one.mean))
        for one in found
    ]
    places = list(range(len(found)))
    below, above = ([max(side, 0.0) for side in sides] for sides in zip(*reach, strict=True))
    axes.barh(places, means, xerr=[below, above], color=FIT, ecolor=MUTED, capsize=2, height=0.6)
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    label(axes, "percent", "", title)


def _curve(axes: Axes, arm: Arm) -> None:
    kl = [one.kl for one in arm.curve]
    axes.plot(kl, [one.reward for one in arm.curve], "o", color=FIT, markersize=3,
              label="learned from")  # fmt: skip
    axes.plot(kl, [one.gold for one in arm.curve], "s", color=SEEN, markersize=3, label="gold")
    label(axes, "KL from the model before, nats an answer", "mean reward", "over-optimisation")
    legend(axes)


def _errors(axes: Axes, arms: Sequence[Arm]) -> None:
    before = next(one for one in arms if one.name == "sft").conduct.colours
    # Who knows nothing is calibrated by saying so: of such models no error is claimed.
    asked = [one for one in arms if one.predicted and one.conduct.colours.judged]
    if before.judged:
        axes.axhline(before.error, color=MUTED, linewidth=0.9, linestyle="--", label="before")
    else:
        asked = []
        axes.text(0.5, 0.5, "knows too little", transform=axes.transAxes, color=INK, ha="center")
    if asked:
        betas = [one.beta or 0.0 for one in asked]
        axes.plot(betas, [one.predicted.error for one in asked if one.predicted], "-",
                  color=SECOND, label="closed form")  # fmt: skip
        axes.plot(betas, [one.conduct.colours.error for one in asked], "o", color=FIT,
                  label="after")  # fmt: skip
        axes.set_xscale("log")
        axes.set_xticks(betas, [f"{beta:g}" for beta in betas])
        axes.set_xticks([], minor=True)
    axes.set_ylim(bottom=0)
    label(axes, "beta", "expected calibration error", "rewarded for right answers")
    legend(axes)


def _share(one: Estimate) -> str:
    return f"{100 * one.mean:.1f} [{_span(one)}]"


def _span(one: Estimate) -> str:
    if one.low is None or one.high is None:
        return NONE
    # An interval that starts at nothing has no sign.
    return f"{abs(100 * one.low):.1f}, {100 * one.high:.1f}"


def _less(one: Reduction | None) -> str:
    if one is None or one.share is None or one.low is None or one.high is None:
        return NONE
    return minus(f"{100 * one.share:.0f} % [{100 * one.low:.0f}, {100 * one.high:.0f}]")
