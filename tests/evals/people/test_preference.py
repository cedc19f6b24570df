"""What votes come to: closed forms on known votes, bias, agreement, pairs for a reward model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import special

from foresight.errors import UserError
from foresight.evals.people.collection import Collection, Pair
from foresight.evals.people.preference import export, preference
from foresight.evals.statistics import mcnemar_exact
from foresight.forecast.coverage import wilson
from tests.evals.people.samples import collected, vote


def cast(collection: Collection, judge: str, action: Callable[[int, Pair], str]) -> None:
    """Append one judge's vote on every pair, the first model's answer on the left."""
    lines = [
        vote(pair.key, action(at, pair), judge, (pair.first.model, pair.second.model)).to_line()
        for at, pair in enumerate(collection.pairs())
        if not pair.identical
    ]
    with collection.votes.open("a") as stream:
        stream.write("".join(line + "\n" for line in lines))


def test_win_rate_of_known_votes(tmp_path: Path) -> None:
    collection = collected(tmp_path, 20)
    cast(collection, "ann", lambda at, _: "left" if at < 13 else "right")
    found = preference(collection)
    [duel] = found.duels
    assert (duel.first, duel.wins, duel.ties, duel.losses) == ("alpha", 13, 0, 7)
    assert (duel.win_rate.mean, duel.win_rate.method) == (13 / 20, "wilson")
    assert (duel.win_rate.low, duel.win_rate.high) == pytest.approx(wilson(13, 20))
    assert duel.sign_p == mcnemar_exact(13, 7)
    assert duel.permutation_p == pytest.approx(duel.sign_p, abs=0.02)
    assert duel.categories["even"].mean == 7 / 10 and duel.categories["odd"].mean == 6 / 10
    assert found.left is not None and found.left.mean == 13 / 20
    assert found.strengths is not None
    gap = found.strengths.strengths[0].strength - found.strengths.strengths[1].strength
    assert gap == pytest.approx(special.logit(13 / 20))
    assert (found.waiting, found.judges, found.agreement) == (0, {"ann": 20}, None)


def test_ties_are_half_and_skips_are_none(tmp_path: Path) -> None:
    collection = collected(tmp_path, 20)
    actions = ["left"] * 5 + ["tie"] * 9 + ["right"] * 2 + ["skip"] * 4
    cast(collection, "ann", lambda at, _: actions[at])
    found = preference(collection)
    [duel] = found.duels
    assert duel.win_rate.mean == pytest.approx((5 + 4.5) / 16)
    assert (duel.pairs, found.skipped, found.waiting) == (16, 4, 4)
    assert found.left is not None and (found.left.mean, found.left.n) == (5 / 7, 7)


def test_the_side_does_not_matter_but_is_told(tmp_path: Path) -> None:
    """A judge who always takes the left gives a win rate of about one half, and a bias of one."""
    collection = collected(tmp_path, 60)
    random = np.random.default_rng(0)
    for pair in collection.pairs():
        names = [pair.first.model, pair.second.model]
        random.shuffle(names)
        line = vote(pair.key, "left", "ann", (names[0], names[1])).to_line()
        with collection.votes.open("a") as stream:
            stream.write(line + "\n")
    found = preference(collection)
    assert found.left is not None and found.left.mean == 1.0
    assert found.left.low is not None and found.left.low > 0.9
    assert found.duels[0].permutation_p > 0.05


def test_equal_answers_are_ties_that_nobody_is_asked_about(tmp_path: Path) -> None:
    from foresight.evals.people.desk import Sharing
    from foresight.evals.people.vote import VoteDesk

    collection = collected(tmp_path, 6)
    for path in (collection.folder / "answers").glob("*/records.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for row in rows:
            row["output"] = "the same" if row["item"] in ("p1", "p2") else row["output"]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    collection = Collection.read(collection.folder)
    with VoteDesk(collection, Sharing(("ann",))) as desk:
        assert desk.card("ann")["left"] == 4
    cast(collection, "ann", lambda at, _: "left")
    [duel] = preference(collection).duels
    assert (duel.wins, duel.ties, duel.identical, duel.win_rate.mean) == (4, 2, 2, 5 / 6)


def test_two_judges_are_one_verdict_and_their_agreement(tmp_path: Path) -> None:
    collection = collected(tmp_path, 20)
    cast(collection, "ann", lambda at, _: "left" if at % 2 else "right")
    cast(collection, "ben", lambda at, _: "left" if at % 2 or at < 4 else "right")
    found = preference(collection)
    [duel] = found.duels
    assert (duel.wins, duel.ties, duel.losses, duel.win_rate.mean) == (10, 2, 8, 11 / 20)
    assert found.agreement is not None
    assert (found.agreement.n, found.agreement.same.mean) == (20, 18 / 20)
    # Alpha: 2 disagreements of 20; 22 of 40 values are 1.
    expected = 1 - (2 / 20) / (2 * 22 * 18 / (40 * 39))
    assert found.agreement.alpha.value == pytest.approx(expected)


def test_several_models_are_corrected_for_and_ranked(tmp_path: Path) -> None:
    collection = collected(tmp_path, 12, ("a", "b", "c"))
    order = {"a": 2, "b": 0, "c": 1}

    def better(at: int, pair: Pair) -> str:
        gap = order[pair.first.model] - order[pair.second.model]
        return "left" if (gap > 0) != (at % 5 == 0) else "right"

    cast(collection, "ann", better)
    found = preference(collection)
    assert len(found.duels) == 3
    assert found.strengths is not None and not found.strengths.unbounded
    assert [one.model for one in found.strengths.strengths] == ["a", "c", "b"]
    assert found.strengths.clusters == 12 and found.strengths.matches == 36
    assert all(one.adjusted_p >= one.permutation_p for one in found.duels)


def test_reward_pairs(tmp_path: Path) -> None:
    collection = collected(tmp_path, 6)
    actions = ["left", "right", "tie", "skip", "left", "left"]
    cast(collection, "ann", lambda at, _: actions[at])
    cast(collection, "ben", lambda at, _: "right" if at == 4 else "left" if at == 5 else "skip")
    out = tmp_path / "pairs.jsonl"
    found = export(collection, out)
    assert (found.pairs, found.tied, found.split) == (3, 2, 1)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    pairs = collection.pairs()
    assert [row["judges"] for row in rows] == [1, 1, 2]
    assert rows[0]["chosen"] == [{"role": "assistant", "content": pairs[0].first.output}]
    assert rows[0]["rejected"] == [{"role": "assistant", "content": pairs[0].second.output}]
    assert rows[1]["chosen"][0]["content"] == pairs[1].second.output
    assert rows[1]["prompt"] == [{"role": "user", "content": pairs[1].prompt.text}]
    [message] = rows[0]["prompt"]
    assert [part["type"] for part in message["content"]] == ["text", "image_url"]
    assert message["content"][1]["image_url"]["url"].startswith("data:image/png;base64,iVBOR")


def test_nothing_to_say_is_told(tmp_path: Path) -> None:
    collection = collected(tmp_path, 2)
    with pytest.raises(UserError, match="no votes yet"):
        preference(collection)
    collection.votes.write_text(vote("0" * 64, "left").to_line() + "\n")
    with pytest.raises(UserError, match="which is no pair of answers"):
        preference(collection)
    collection.votes.write_text('{"key": "x", "action": "left"}\n')
    with pytest.raises(UserError, match=r"votes.jsonl, line 1, field at: missing"):
        preference(collection)
