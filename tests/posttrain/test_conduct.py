"""Measures of what a model does: against numbers worked by hand, and models that are made."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foresight.data.shards import Encoded
from foresight.posttrain import conduct
from foresight.posttrain import ledger as chats
from foresight.posttrain.closed_forms import calibration_after
from foresight.posttrain.conduct import Reduction, colours_against, reduction
from foresight.posttrain.rollout import Rollout
from foresight.worlds import ledger

NOTHING = Encoded(np.zeros(1, np.uint16), np.zeros(1, np.float16), np.zeros((0, 192), np.uint8))
TRUTH = np.array([one.colours for one in ledger.things()])


def answered(refuses: set[str]) -> list[Rollout]:
    """Answers of somebody who refuses prompts of these sets in the desired style, and is right
    about all others."""
    rng = np.random.default_rng(0)
    found = []
    for one in conduct.questions("seen", 400, False):
        query = one.meta["query"]
        refused = query.prompt_set in refuses
        text = ledger.refusal(query) if refused else ledger.content(query, rng)
        found.append(Rollout(one, 0, text, (1,), True, (0.0,), NOTHING))
    return found


def test_incorrect_behaviour_is_of_two_kinds() -> None:
    meek = answered({"disallowed", "lookalike_verb"})
    before = answered({"lookalike_verb", "lookalike_object", "plain"})
    group = conduct._group(meek, before)
    assert group.wrong_disallowed.mean == 0.0
    share = np.mean([one.prompt.meta["query"].prompt_set == "lookalike_verb" for one in meek])
    allowed = np.mean([one.prompt.meta["query"].allowed for one in meek])
    assert group.wrong_allowed.mean == pytest.approx(share / allowed)
    assert group.safer == Reduction(1.0, 1.0, 1.0)
    assert group.freer is not None and group.freer.share == pytest.approx(1 - share / allowed)
    assert group.win_rate is not None and group.win_rate.mean > 0.7
    assert {row.prompt_set: row.good.mean for row in group.sets} == {
        "disallowed": 0.0, "lookalike_verb": 0.0, "lookalike_object": 1.0, "plain": 1.0
    }  # fmt: skip


def test_a_rate_that_doubles_is_reduced_by_less_than_nothing() -> None:
    before, after = np.array([1.0, 0, 0, 0] * 50), np.array([1.0, 1, 0, 0] * 50)
    found = reduction(before, after)
    assert found.share == -1.0 and found.low is not None and found.high is not None
    assert found.low < -1.0 < found.high < 0.0
    assert reduction(np.zeros(5), np.ones(5)) == Reduction(None, None, None)


@given(st.integers(0, 2**31), st.floats(0.1, 0.9))
def test_the_interval_of_a_reduction_holds_it(seed: int, kept: float) -> None:
    random = np.random.default_rng(seed)
    before = (random.random(300) < 0.5).astype(float)
    if not before.sum():
        return
    after = before * (random.random(300) < kept)
    found = reduction(before, after)
    assert found.share is not None and found.low is not None and found.high is not None
    assert found.low <= found.share <= found.high <= 1.0


def test_prompts_of_one_cluster_count_once() -> None:
    before = np.array([1.0, 0, 1, 0, 1, 0, 1, 0])
    after = np.array([0.0, 0, 1, 0, 1, 0, 0, 0])
    names = [str(at // 4) for at in range(8)]
    one, grouped = reduction(before, after), reduction(before, after, names)
    assert one.share == grouped.share == 0.5
    assert grouped.low == grouped.high == 0.5, "both clusters say the same"
    assert one.low is not None and one.low < 0.5


def test_the_truth_is_calibrated_and_surer_is_not() -> None:
    exact = colours_against(TRUTH, TRUTH)
    assert exact.error == pytest.approx(0, abs=1e-12) and exact.judged
    assert exact.accuracy == pytest.approx(exact.confidence)
    errors = [
        colours_against(calibration_after(TRUTH, TRUTH, beta), TRUTH).error
        for beta in (1.0, 0.3, 0.1, 0.03)
    ]
    assert errors == sorted(errors) and errors[0] > 0.01
    guess = np.full_like(TRUTH, 1 / 6)
    assert not colours_against(guess, TRUTH).judged, "guessing is not to be judged"


def test_right_colours_are_drawn_anew_and_as_often_as_they_are() -> None:
    thing = max(ledger.things(), key=lambda one: max(one.colours))
    likeliest = ledger.PALETTE[int(np.argmax(thing.colours))]
    prompt = chats.colour_prompt("x", thing)
    reward = chats.RightColour(0)
    drawn = [Rollout(prompt, at, f" {likeliest} ", (1,), True, (0.0,), NOTHING)
             for at in range(2000)]  # fmt: skip
    shares = [one["right"] for one in reward(drawn)]
    assert np.mean(shares) == pytest.approx(max(thing.colours), abs=0.04)
    assert reward(drawn) == reward(drawn)
    assert chats.RightColour(1)(drawn) != reward(drawn)
    wrong = [Rollout(prompt, 0, "colour", (1,), True, (0.0,), NOTHING)]
    assert reward(wrong) == [{"right": 0.0}]
