"""Which of two answers a person prefers, asked without telling whose they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from foresight.errors import UserError
from foresight.evals.people.collection import Collection, Pair
from foresight.evals.people.desk import Desk, Sharing
from foresight.evals.people.entry import Entry

POINTS = {"left": 1.0, "tie": 0.5, "right": 0.0}
"""What a vote is worth to the answer on the left."""


class Vote(Entry):
    """A line of `votes.jsonl`; `key` is the pair's, `left` and `right` name the models as shown."""

    prompt: str
    judge: str
    left: str
    right: str
    action: Literal["left", "right", "tie", "skip", "undo"]

    @property
    def person(self) -> str:
        return self.judge

    def points(self, model: str) -> float:
        """1 if the judge prefers that model's answer, .5 for a tie, 0."""
        left = POINTS[self.action]
        return left if model == self.left else 1.0 - left


class VoteDesk(Desk[Vote]):
    """Pairs of a collection. Which answer stands left is drawn for each pair and judge.

    Raises UserError if there is no pair of different answers.
    """

    def __init__(self, collection: Collection, sharing: Sharing) -> None:
        pairs = [pair for pair in collection.pairs() if not pair.identical]
        if not pairs:
            raise UserError(f"{collection.folder}: no two models' answers to judge; `foresight "
                            f"prefer collect` with another --model adds its answers")  # fmt: skip
        self._pairs = {pair.key: pair for pair in pairs}
        self._images, self._sharing = collection.folder / "images", sharing
        super().__init__(collection.votes, Vote, list(self._pairs), sharing)

    def picture(self, sha256: str) -> Path:
        return self._images / f"{sha256}.png"

    def _sides(self, key: str, person: str) -> tuple[Pair, bool]:
        """The pair, and whether its first answer stands left."""
        return self._pairs[key], self._sharing.drawn(key, person, "side") < 0.5

    def _shown(self, key: str, person: str) -> dict[str, Any]:
        pair, kept = self._sides(key, person)
        texts = pair.first.output, pair.second.output
        left, right = texts if kept else texts[::-1]
        return {"prompt": pair.prompt.text, "left": left, "right": right}

    def _fields(self, key: str, person: str, said: Mapping[str, Any]) -> dict[str, Any]:
        pair, kept = self._sides(key, person)
        names = pair.first.model, pair.second.model
        left, right = names if kept else names[::-1]
        return {"prompt": pair.prompt.id, "judge": person, "left": left, "right": right}
