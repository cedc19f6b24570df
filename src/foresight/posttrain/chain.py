"""Ledger world from a base model to a tuned one: demonstrations, a reward model, rules, PPO.

Each stage is a run beside the others (FOLDER/sft, reward, ppo-...) that a killed chain goes on
with; FOLDER/chain.json is what came out. The policy is tuned against a *trained* grader and
measured by the exact parser: what exploits the one is seen by the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from foresight.data.tokenizer import Tokenizer
from foresight.errors import UserError
from foresight.evals.journal import read_records
from foresight.evals.statistics import Estimate
from foresight.inference.checkpoints import load_model
from foresight.model.decoder import Decoder
from foresight.posttrain import conduct
from foresight.posttrain import ledger as chats
from foresight.posttrain.closed_forms import calibration_after
from foresight.posttrain.composition import with_rules
from foresight.posttrain.conduct import MAX_TOKENS, Answers, Colours, Conduct
from foresight.posttrain.conversations import ChatPrompt
from foresight.posttrain.gold import Confusion, grader_confusion
from foresight.posttrain.graders import TrainedGrader
from foresight.posttrain.pairs import divide, encode_pairs
from foresight.posttrain.ppo import PPO, PPOSettings
from foresight.posttrain.reward_audit import Audit, audit_rewards
from foresight.posttrain.reward_model import (
    LearnedReward,
    RewardReport,
    RewardSettings,
    RewardTraining,
    normalise,
    report_on,
    score,
)  # fmt: skip
from foresight.posttrain.rollout import Reward, Rollout, roll_out, rollouts_path
from foresight.posttrain.rubric import read_rubric
from foresight.posttrain.rule_weights import Rated, RuleWeights, SetFit
from foresight.posttrain.ruled_reward import RuledReward, answered_of
from foresight.posttrain.scalar_model import ScalarModel
from foresight.posttrain.sft import SFT, SFTSettings, encode_demonstrations
from foresight.posttrain.tuning import Begin, Finish, corpus_rows, load_reward_model, tune
from foresight.runs import Run, read_json, sha256_json, write_json
from foresight.training.loop import Stepper

Count = Annotated[int, Field(ge=1)]
Watch = Callable[[str, int, dict[str, Any]], None]
"""Told of every step: the stage's name, how many steps it has, the step's metrics."""
_PPO = PPOSettings(
    updates=200, prompts=48, max_tokens=MAX_TOKENS, lr=1e-3, critic_lr=3e-3, critic_first=12,
    beta=0.1,
)  # fmt: skip
_QUESTIONS = PPOSettings(
    updates=80, prompts=64, samples=4, max_tokens=6, lr=1e-3, missing_end=0.0, beta=0.1
)
_POINTS = 30
WILD, WILD_EVERY = 1.7, 4
"""Temperature and share of answers that are like nothing the policy says yet. A reward model and a
grader that have not seen such are exploited: at 12 nats one policy answered "Sorta: trifle" to all
that is disallowed, for the reward of an answer liked by both."""


class ChainSettings(BaseModel):
    """How much of everything; the defaults take some minutes on one core with the base of recipe
    `ledger`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: Annotated[int, Field(ge=0)] = 0
    pictured: bool = False
    """A picture, not a name, says what is a hazard."""
    demonstrations: Count = 12_000
    compared: Count = 24_000
    """Prompts of which two answers are compared for the reward model."""
    labelled: Count = 4000
    """Answers whose class people told, for the grader; twice as many are graded to fit rules."""
    asked: Count = 800
    """Prompts that measure a model, of each group."""
    sft: SFTSettings = SFTSettings(lr=1.5e-3)
    reward: RewardSettings = RewardSettings(epochs=4, lr=1e-3)
    ppo: PPOSettings = _PPO
    control_updates: Annotated[int, Field(ge=0)] = 40
    """Updates of the arm that has no rules."""
    betas: tuple[float, ...] = ()
    """Further arms with rules, for what beta does to calibration."""
    questions: PPOSettings = _QUESTIONS
    question_betas: tuple[float, ...] = (0.3, 0.1, 0.03)
    """Arms that are rewarded for right answers to questions alone."""


@dataclass(frozen=True)
class Point:
    """Of an update's answers: KL from the model before (nats an answer), reward that was learned
    from, and what the gold judge gives."""

    update: int
    kl: float
    reward: float
    gold: float


@dataclass(frozen=True)
class Arm:
    """A model of the chain. `beta`: of its reinforcement learning; `predicted`: what the closed
    form said its questions would come to; `curve`: proxy and gold reward on the way."""

    name: str
    label: str
    beta: float | None
    conduct: Conduct
    predicted: Colours | None = None
    curve: tuple[Point, ...] = ()
    collapses: int = 0


@dataclass(frozen=True)
class Rules:
    """What is known of the rules before anything is tuned by them.

    `fits`: how often answers to prompts that were not fitted are in the wrong order, before and
    after; `accuracy` of the grader and its `confusion` with the parser (true class -> {given class:
    answers}), on answers that it was not trained on; what the audit said of rewards `by_hand` and
    of `fitted` ones: (set, better class, its mean, worse class, its mean) in the wrong order.
    """

    fits: tuple[SetFit, ...]
    accuracy: Estimate
    confusion: dict[str, dict[str, int]]
    by_hand: tuple[tuple[str, str, float, str, float], ...]
    fitted: tuple[tuple[str, str, float, str, float], ...]


@dataclass(frozen=True)
class Outcome:
    """What FOLDER/chain.json holds; the first arm is the base, the second the fine-tuned model."""

    settings: ChainSettings
    reward_model: RewardReport
    rules: Rules
    arms: tuple[Arm, ...]

    @classmethod
    def read(cls, folder: Path) -> Outcome:
        """Raises UserError naming the first field that is not what it should be."""
        path = folder / "chain.json"
        try:
            return _OUTCOME.validate_python(read_json(path))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(one) for one in first["loc"])
            raise UserError(f"{path}, field {place}: {first['msg']}") from None


_OUTCOME = TypeAdapter(Outcome)


class Chain:
    """The stages of one seed, in order; `run` carries out what is not there yet."""

    def __init__(
        self, base: Path, folder: Path, settings: ChainSettings, watch: Watch = lambda *_: None
    ) -> None:
        """`base`: a run of recipe `ledger`; `folder`: beside the folder it is in."""
        self.base, self.folder, self.settings, self._watch = base, folder, settings, watch
        self._rubric = read_rubric("refusal")

    def run(self) -> Outcome:
        """All stages and measures; the file, if it is there and of these settings."""
        path = self.folder / "chain.json"
        if path.exists():
            kept = Outcome.read(self.folder)
            if kept.settings == self.settings:
                return kept
        self._sft()
        report = self._reward()
        rules, told = self._rules()
        arms = [*self._before(), *self._tuned(rules), *self._asked()]
        outcome = Outcome(self.settings, report, told, tuple(arms))
        write_json(path, _OUTCOME.dump_python(outcome, mode="json"))
        return outcome

    # Stages

    def _tune(
        self, name: str, base: Path, settings: BaseModel, inputs: dict[str, Any], begin: Begin
    ) -> dict[str, Any]:
        def watch(steps: int, row: dict[str, Any]) -> None:
            self._watch(name, steps, row)

        s = self.settings
        hashes = {"data": sha256_json(inputs | {"pictured": s.pictured, "seed": s.seed})}
        return tune(Run(self.folder / name), base, settings, hashes, begin, watch)

    @property
    def sft(self) -> Path:
        return self.folder / "sft"

    def _sft(self) -> None:
        s = self.settings
        chosen = s.sft.model_copy(update={"seed": s.seed})

        def begin(model: Decoder, tokenizer: Tokenizer) -> tuple[Stepper, Finish]:
            shape = model.spec.shape
            read = list(chats.demonstrations(s.seed, s.demonstrations, s.pictured))
            encoded = encode_demonstrations(read, tokenizer, shape.patch, shape.context)
            return SFT(model, encoded, chosen), lambda: {"demonstrations": len(read)}

        self._tune("sft", self.base, chosen, {"demonstrations": s.demonstrations}, begin)

    def _reward(self) -> RewardReport:
        s = self.settings
        chosen = s.reward.model_copy(update={"seed": s.seed})

        def begin(model: Decoder, tokenizer: Tokenizer) -> tuple[Stepper, Finish]:
            shape = model.spec.shape
            pairs = chats.preferences(s.seed, self._drawn)
            learned, kept = divide(encode_pairs(pairs, tokenizer, shape.patch, shape.context), 0.2)
            scalar = ScalarModel(model.spec, s.seed)
            scalar.start_from(model.named_weights)
            stage = RewardTraining(scalar, learned, chosen)

            def finish() -> dict[str, Any]:
                normalise(scalar, [one.encoded for one in self._drawn[: s.labelled]])
                return {"pairs": len(pairs), "report": report_on(scalar, kept)}

            return stage, finish

        result = self._tune("reward", self.sft, chosen, {"compared": s.compared}, begin)
        report: RewardReport = TypeAdapter(RewardReport).validate_python(result["report"])
        return report

    @cached_property
    def _drawn(self) -> list[Rollout]:
        """Two answers of the fine-tuned model to each prompt: what people compare and label. A
        quarter of the pairs, spread among the others, have a wild answer as their second."""
        s = self.settings
        model, tokenizer, _ = load_model(self.sft)
        asked = chats.prompts(s.seed + 500, s.compared, True, pictured=s.pictured)
        first = roll_out(model, tokenizer, asked, 1, MAX_TOKENS, s.seed + 5)
        tame = [one for at, one in enumerate(asked) if at % WILD_EVERY]
        rest = iter(roll_out(model, tokenizer, tame, 1, MAX_TOKENS, s.seed + 6))
        wild = iter(
            roll_out(model, tokenizer, asked[::WILD_EVERY], 1, MAX_TOKENS, s.seed + 7, WILD)
        )
        found = []
        for at, one in enumerate(first):
            second = next(rest) if at % WILD_EVERY else next(wild)
            found += [one, replace(second, sample=1)]
        return found

    def _rules(self) -> tuple[RuledReward, Rules]:
        """Rules by a grader that was trained on labelled answers, fitted to the reward model;
        raises UserError where the audit refuses them."""
        s, rubric = self.settings, self._rubric
        learned = load_reward_model(self.folder / "reward")
        drawn = self._drawn[: 3 * s.labelled]
        samples = answered_of(drawn)
        labels = [
            chats.class_of(one.prompt.meta["query"], one.text) or "unreadable" for one in drawn
        ]
        grader = TrainedGrader.fit(rubric, samples[: s.labelled], labels[: s.labelled])
        rest, truth = samples[s.labelled :], labels[s.labelled :]
        classes = grader.grade(rest)
        rewards = score(learned, [one.encoded for one in drawn[s.labelled :]])
        rated = Rated.of(rubric, rest, rewards, classes, truth)
        by_hand = audit_rewards(rated, RuleWeights.by_hand(rubric).total(rated), rubric)
        reward, fitted, fits = with_rules(rated, rubric, learned, grader, s.seed)
        fitted.refuse()
        found = grader_confusion(
            rubric, classes, truth, [one.prompt.id for one in drawn[s.labelled :]]
        )
        return reward, Rules(
            tuple(fits), found.accuracy, _rows(found), _pairs(by_hand), _pairs(fitted)
        )

    # Reinforcement learning

    def _ppo(
        self, name: str, settings: PPOSettings, reward: Reward, prompts: Callable[..., Any]
    ) -> dict[str, Any]:
        learned = load_reward_model(self.folder / "reward")

        def begin(model: Decoder, tokenizer: Tokenizer) -> tuple[Stepper, Finish]:
            critic = ScalarModel(model.spec)
            critic.start_from(learned.weights)
            corpus = corpus_rows(self.base, model.spec) if settings.pretraining else None
            stage = PPO(
                model, model.copy(), critic, tokenizer, prompts, reward, settings,
                self.folder / name / "rollouts", corpus,
            )  # fmt: skip
            return stage, lambda: {"collapses": len(getattr(reward, "collapses", []))}

        return self._tune(name, self.sft, settings, {"reward": reward.name}, begin)

    def _prompts(self, update: int, count: int) -> Sequence[ChatPrompt]:
        s = self.settings
        return chats.prompts(20_000 + 1000 * s.seed + update, count, True, pictured=s.pictured)

    def _colours(self, update: int, count: int) -> Sequence[ChatPrompt]:
        return chats.colour_prompts(20_000 + 1000 * self.settings.seed + update, count, True)

    def _answers(self, run: Path) -> Answers:
        model, tokenizer, _ = load_model(run)
        return conduct.answers_of(model, tokenizer, self.settings.asked, self.settings.pictured)

    @cached_property
    def _answers_before(self) -> Answers:
        return self._answers(self.sft)

    def _measured(self, run: Path) -> Conduct:
        """Beside the answers of the fine-tuned model."""
        model, tokenizer, _ = load_model(run)
        return conduct.conduct_of(model, tokenizer, self._answers(run), self._answers_before)

    def _before(self) -> list[Arm]:
        """The two that nothing is compared with."""
        arms = []
        for name, label, run, answers in (
            ("base", "base model", self.base, self._answers(self.base)),
            ("sft", "fine-tuned", self.sft, self._answers_before),
        ):
            model, tokenizer, _ = load_model(run)
            found = conduct.conduct_of(model, tokenizer, answers)
            arms.append(Arm(name, label, None, found))
        return arms

    def _tuned(self, rules: RuledReward) -> list[Arm]:
        """With the reward model alone, then with rules."""
        s, arms = self.settings, []
        alone = LearnedReward(load_reward_model(self.folder / "reward"))
        plans: list[tuple[str, str, Reward, PPOSettings]] = []
        if s.control_updates:
            control = s.ppo.model_copy(update={"updates": s.control_updates, "seed": s.seed})
            plans.append(("ppo-alone", "PPO, reward model alone", alone, control))
        for beta in dict.fromkeys((s.ppo.beta, *s.betas)):
            ruled = s.ppo.model_copy(update={"beta": beta, "seed": s.seed})
            label = f"PPO, rules, beta {beta:g}"
            plans.append((f"ppo-rules-{beta:g}", label, rules.afresh(), ruled))
        for name, label, reward, settings in plans:
            result = self._ppo(name, settings, reward, self._prompts)
            found = self._measured(self.folder / name)
            curve = self._curve(self.folder / name, settings)
            arms.append(Arm(name, label, settings.beta, found, None, curve, result["collapses"]))
        return arms

    def _asked(self) -> list[Arm]:
        """Arms of questions that are right or wrong: what they do to calibration."""
        s, arms = self.settings, []
        sft, tokenizer, _ = load_model(self.sft)
        share, truth = conduct.colour_shares(sft, tokenizer)
        for beta in s.question_betas:
            settings = s.questions.model_copy(update={"beta": beta, "seed": s.seed})
            name = f"ppo-questions-{beta:g}"
            self._ppo(name, settings, chats.RightColour(s.seed), self._colours)
            predicted = conduct.colours_against(calibration_after(share, truth, beta), truth)
            found = self._measured(self.folder / name)
            label = f"PPO, questions, beta {beta:g}"
            arms.append(Arm(name, label, beta, found, predicted))
        return arms

    def _curve(self, run: Path, settings: PPOSettings) -> tuple[Point, ...]:
        """From the answers that the run kept, at some thirty of its updates."""
        chosen = np.unique(np.linspace(1, settings.updates, _POINTS).astype(int))
        return tuple(self._point(run, int(update), settings) for update in chosen)

    def _point(self, run: Path, update: int, settings: PPOSettings) -> Point:
        rows = read_records(rollouts_path(run / "rollouts", update))
        prompts = self._prompts(update - 1, settings.prompts)
        gold = [
            chats.worth(prompts[at // settings.samples].meta["query"], row.output)
            for at, row in enumerate(rows)
        ]
        kl, reward = (
            float(np.mean([row.details[name] for row in rows])) for name in ("kl", "scored")
        )
        return Point(update, kl, reward, float(np.mean(gold)))


def _rows(found: Confusion) -> dict[str, dict[str, int]]:
    return {
        true: {given: int(n) for given, n in zip(found.names, row, strict=True) if n}
        for true, row in zip(found.names, found.table, strict=True)
    }


def _pairs(audit: Audit) -> tuple[tuple[str, str, float, str, float], ...]:
    # Classes in the wrong order have been judged, so that they have means.
    return tuple(
        (better.prompt_set, better.label, better.mean or 0.0, worse.label, worse.mean or 0.0)
        for better, worse in audit.wrong
    )
