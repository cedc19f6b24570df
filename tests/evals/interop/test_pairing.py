"""Foreign records under the names of our items."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from foresight.evals.compare import compare
from foresight.evals.interop.lm_eval import LoggedRun
from foresight.evals.interop.pairing import pair
from foresight.evals.record import Reason, Record

WORDS = ["river", "city", "desert", "mountain", "capital", "island", "border", "harbour"]


def ours(number: int, question: str, choices: tuple[str, ...], group: str = "") -> Record:
    return Record(
        key=f"k{number}", task="geo", item=f"{group}/{number}", sample=0, model="ours",
        group=group, weight=2.0, prompt=f"About the world.\n\n{question}\nA) {choices[0]}\n"
        f"B) {choices[1]}\nAnswer:", output="", answer="A", target=0, score=1.0,
        reason=Reason.OK, choices=choices,
    )  # fmt: skip


def theirs(number: int, question: str, choices: tuple[str, ...]) -> Record:
    doc = {"question": question, "choices": list(choices), "answer": 0}
    return replace(
        ours(number, question, choices),
        key=f"t{number}", task="lm_geo", item=str(number), model="theirs", group="", weight=1.0,
        prompt=f"Question: {question}\nAnswer:", details={"doc_id": number, "doc": doc},
    )  # fmt: skip


def test_a_logged_run_pairs_with_ours_and_compares(logged: Callable[..., LoggedRun]) -> None:
    run = logged("tiny_geo")
    mine = [
        replace(one, item=f"world/{at}", model="ours", score=1.0, weight=1.0)
        for at, one in enumerate(reversed(run.records))
    ]
    found = pair(run.records, mine)
    assert [one.item for one in found.paired] == ["world/3", "world/2", "world/1", "world/0"]
    assert found.paired[0].details["item"] == "geo-0" and not found.unpaired
    result = compare(mine, found.paired)
    assert result.items == 4 and result.difference.mean == 0.75
    assert not [one for one in result.remarks if "target" in one]


@given(st.integers(2, 12), st.integers(0, 10_000))
def test_any_order_any_subset(n: int, seed: int) -> None:
    random_ = random.Random(seed)
    asked = [
        (f"Which {random_.choice(WORDS)} is number {at}?", (f"one {at}", f"two {at}"))
        for at in range(n)
    ]
    mine = [ours(at, *one, group=WORDS[at % 3]) for at, one in enumerate(asked)]
    random_.shuffle(mine)
    foreign = [theirs(at, *one) for at, one in enumerate(asked) if random_.random() < 0.7]
    random_.shuffle(foreign)
    found = pair(foreign, mine)
    assert len(found.paired) == len(foreign)
    by_item = {one.item: one for one in mine}
    for one in found.paired:
        mine_ = by_item[one.item]
        assert one.details["doc"]["question"] in mine_.prompt
        assert (one.task, one.group, one.weight) == (mine_.task, mine_.group, mine_.weight)
        assert one.model == "theirs"


def test_what_nobody_asked_is_unpaired() -> None:
    mine = [ours(0, "Which river is long?", ("Nile", "Rhine"))]
    foreign = [theirs(0, "Which lake is deep?", ("Baikal", "Como"))]
    found = pair(foreign, mine)
    assert found.paired == [] and found.unpaired == foreign


def test_one_question_with_other_options_is_told_apart() -> None:
    mine = [ours(0, "Which is long?", ("Nile", "Rhine")), ours(1, "Which is long?", ("Po", "Don"))]
    found = pair([theirs(7, "Which is long?", ("Po", "Don"))], mine)
    assert [one.item for one in found.paired] == ["/1"]


def test_equal_questions_are_told_apart_by_position_or_not_at_all() -> None:
    mine = [ours(at, "Which is long?", ("Nile", "Rhine")) for at in range(3)]
    found = pair([theirs(1, "Which is long?", ("Nile", "Rhine"))], mine)
    assert [one.item for one in found.paired] == ["/1"]
    lost = pair([theirs(9, "Which is long?", ("Nile", "Rhine"))], mine)
    assert lost.paired == []
    twice = pair([theirs(1, "Which is long?", ("Nile", "Rhine"))] * 2, mine)
    assert len(twice.paired) == 1 and len(twice.unpaired) == 1


def test_a_question_in_another_prompts_examples_is_no_match() -> None:
    mine = ours(0, "Which lake is deep?", ("Baikal", "Como"))
    mine = replace(mine, prompt=f"Which is long?\nAnswer: C\n\n{mine.prompt}")
    found = pair([theirs(5, "Which is long?", ("Nile", "Rhine"))], [mine])
    assert found.paired == []
