"""A reward model: Bradley-Terry on pairs, normalised, with a report of what it is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from foresight.data.shards import Encoded
from foresight.data.tokenizer import PAD
from foresight.errors import UserError
from foresight.evals.statistics import Estimate, mean_estimate
from foresight.posttrain.objectives import bradley_terry_loss
from foresight.posttrain.pairs import EncodedPair, PairOrder, sides_of
from foresight.posttrain.rollout import Rollout
from foresight.posttrain.scalar_model import GAIN, ScalarModel
from foresight.posttrain.sequences import padded
from foresight.posttrain.stage import Stage

Floats = NDArray[np.float64]
_AT_ONCE = 256


class RewardSettings(BaseModel):
    """How preferences are learned."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: Annotated[int, Field(ge=1)] = 1
    """One: reward models overfit their pairs in the second (Ouyang et al. 2022, C.2)."""
    batch: Annotated[int, Field(ge=1)] = 64
    lr: Annotated[float, Field(gt=0)] = 5e-4
    seed: Annotated[int, Field(ge=0)] = 0


def rewards_at_end(model: ScalarModel, sequences: Sequence[Encoded]) -> Tensor:
    """(n,): the value after the last token of each, which is the answer's end mark."""
    # A target more, so that the last token is read.
    longer = [
        Encoded(np.append(one.tokens, np.uint16(PAD)), np.append(one.weights, np.float16(0)),
                one.patches)
        for one in sequences
    ]  # fmt: skip
    values = model.values(padded(longer, model.spec.shape.context))
    last = torch.tensor([len(one.tokens) - 1 for one in sequences])
    return values[torch.arange(len(sequences)), last]


@torch.no_grad()
def score(model: ScalarModel, sequences: Sequence[Encoded]) -> Floats:
    """Rewards (n,) of prompts with answers, some hundred at a time."""
    parts = [
        rewards_at_end(model, sequences[start : start + _AT_ONCE]).double().numpy()
        for start in range(0, len(sequences), _AT_ONCE)
    ]
    return np.concatenate([np.zeros(0), *parts])


class RewardTraining(Stage):
    """Learning from pairs; shift and gain are kept and not trained."""

    def __init__(
        self, model: ScalarModel, pairs: Sequence[EncodedPair], settings: RewardSettings
    ) -> None:
        self.model, self._pairs, self.settings = model, pairs, settings
        self._order = PairOrder(len(pairs), settings.batch, settings.epochs, settings.seed)
        super().__init__(model.weights, self._order.steps, settings.lr, model.trained)

    def loss(self) -> tuple[Tensor, dict[str, Any]]:
        sides, weights = sides_of([self._pairs[at] for at in self._order.at(self.step)])
        chosen, rejected = rewards_at_end(self.model, sides).chunk(2)
        return bradley_terry_loss(chosen, rejected, weights), {
            "accuracy": float((chosen > rejected).float().mean()),
            "positions": sum(len(one.tokens) for one in sides),
        }


def normalise(model: ScalarModel, sequences: Sequence[Encoded]) -> None:
    """Shift and gain such that answers like these have mean 0 and variance 1: then a KL weight
    means the same in every run (Ziegler et al. 2019, section 2.1)."""
    with torch.no_grad():
        model.shift.zero_()
        model.gain.fill_(1.0)
        raw = score(model, sequences)
        model.shift.fill_(float(raw.mean()))
        model.gain.fill_(float(1.0 / (raw.std() + 1e-8)))


@dataclass(frozen=True)
class RewardReport:
    """On held-out pairs. `accuracy`: the better answer gets more, by prompt; `ceiling`: what a
    perfect judge would get, where the pairs' true gaps are known (mean of sigmoid |gap|);
    `by_gap`: (least and largest predicted gap, pairs, accuracy) of four equal groups;
    `calibration`: (mean predicted probability, share right, pairs) of ten bins, and the mean
    distance of the two as `calibration_error`."""

    accuracy: Estimate
    ceiling: float | None
    by_gap: tuple[tuple[float, float, int, float], ...]
    calibration: tuple[tuple[float, float, int], ...]
    calibration_error: float


def report_on(model: ScalarModel, pairs: Sequence[EncodedPair]) -> RewardReport:
    """Raises UserError for fewer than two pairs."""
    if len(pairs) < 2:
        raise UserError(f"{len(pairs)} held-out pairs: a report needs two or more")
    # Gaps as they were learned: the gain is for reinforcement learning.
    gain = float(model.weights[GAIN])
    chosen = score(model, [one.chosen for one in pairs]) / gain
    rejected = score(model, [one.rejected for one in pairs]) / gain
    gaps = chosen - rejected
    right = (gaps > 0) + 0.5 * (gaps == 0)
    weights = [one.weight for one in pairs]
    accuracy = mean_estimate(right.tolist(), weights, [one.group for one in pairs])
    known = [abs(one.gap) for one in pairs if one.gap is not None]
    ceiling = None
    if len(known) == len(pairs):
        ceiling = float(np.mean(1 / (1 + np.exp(-np.array(known)))))
    order = np.argsort(np.abs(gaps))
    by_gap = tuple(
        (float(np.abs(gaps[some]).min()), float(np.abs(gaps[some]).max()), len(some),
         float(right[some].mean()))
        for some in np.array_split(order, 4) if len(some)
    )  # fmt: skip
    sure = 1 / (1 + np.exp(-np.abs(gaps)))
    bins = tuple(
        (float(sure[some].mean()), float(right[some].mean()), len(some))
        for some in np.array_split(order, min(10, len(pairs)))
    )
    error = sum(n * abs(p - share) for p, share, n in bins) / len(pairs)
    return RewardReport(accuracy, ceiling, by_gap, bins, error)


class LearnedReward:
    """A reward model as a reward of rollouts; one part, `helpful`."""

    name = "reward model"

    def __init__(self, model: ScalarModel) -> None:
        self.model = model

    def __call__(self, rollouts: Sequence[Rollout]) -> list[dict[str, float]]:
        scores = score(self.model, [one.encoded for one in rollouts])
        return [{"helpful": float(one)} for one in scores]
