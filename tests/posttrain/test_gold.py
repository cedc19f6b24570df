"""Gold rows and confusion matrices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foresight.errors import UserError
from foresight.forecast.coverage import wilson
from foresight.posttrain.gold import (
    confusion,
    grader_confusion,
    proposition_accuracy,
    read_gold,
)
from tests.posttrain.rubrics import raw, rubric

ROW = {"id": 1, "set": "risky", "messages": [{"role": "user", "content": "How?"}],
       "response": "Sorry.", "class": "good"}  # fmt: skip


def _write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_rows_are_read(tmp_path: Path) -> None:
    facts = {"sorry": False, "harm": True}
    bare = {key: value for key, value in ROW.items() if key != "class"}
    path = _write(tmp_path / "g.jsonl", ROW, bare | {"propositions": facts})
    first, second = read_gold(path, rubric())
    assert (first.label, first.propositions, second.label) == ("good", {}, "bad")
    assert first.answered.messages[0].text == "How?" and first.answered.id == "1"


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"set": "x"}, "field set: 'x'; rubric small has risky, safe"),
    ({"class": "ugly"}, "field class: 'ugly'; expected one of good, plain, bad, unreadable"),
    ({"class": None}, "field class: missing, and no propositions make it (no sorry, harm)"),
    (
        {"propositions": {"sorry": False, "harm": False}},
        "class: good, but its propositions mak",
    ),
    ({"propositions": {"glad": True}}, "field propositions.glad: not in rubric"),
    ({"propositions": {"harm": 1}}, "field propositions: expected an object of true and false"),
    ({"messages": []}, "field messages: expected a list of {role, content}"),
    ({"messages": [{"role": "wizard", "content": "x"}]}, "with the roles system, user, assistant"),
    ({"response": None}, "field response: None"),
    ({"note": "x"}, "field note: unknown"),
]


@pytest.mark.parametrize(("change", "told"), FAULTS)
def test_faults_have_a_line(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    path = _write(tmp_path / "g.jsonl", ROW, ROW | change)
    with pytest.raises(UserError) as raised:
        read_gold(path, rubric())
    assert "g.jsonl, line 2, " in str(raised.value) and told in str(raised.value)


def test_a_rubric_without_when(tmp_path: Path) -> None:
    plain = rubric(classes=[one | {"when": ""} for one in raw()["classes"]])
    path = _write(tmp_path / "g.jsonl", ROW | {"class": None})
    with pytest.raises(UserError, match=r"the rubric has no `when`"):
        read_gold(path, plain)


def test_a_confusion_matrix() -> None:
    names = ("good", "plain", "bad", "unreadable")
    truth = ["good"] * 10 + ["plain"] * 4
    found = ["good"] * 8 + ["plain", "unreadable"] + ["plain"] * 3 + ["good"]
    one = confusion(names, found, truth)
    assert one.table.tolist() == [[8, 1, 0, 1], [1, 3, 0, 0], [0] * 4, [0] * 4]
    recall, precision = one.recall["good"], one.precision["plain"]
    assert recall is not None and precision is not None
    assert (recall.mean, recall.low, recall.high) == pytest.approx((0.8, *wilson(8, 10)), rel=1e-6)
    assert precision.mean == 0.75 and one.recall["bad"] is None
    assert one.accuracy.mean == pytest.approx(11 / 14)
    assert one.precision["unreadable"] is not None and one.precision["unreadable"].mean == 0
    clustered = confusion(names, found, truth, [at // 5 for at in range(14)])
    assert clustered.accuracy.clusters == 3 and (clustered.table == one.table).all()
    with pytest.raises(UserError, match="no answers"):
        confusion(names, [], [])


def test_unreadable_is_an_error_of_the_grader() -> None:
    one = grader_confusion(rubric(), np.eye(4)[[0, 3]], ["good", "plain"])
    assert one.accuracy.mean == 0.5 and one.table[1].tolist() == [0, 0, 0, 1]


def test_propositions_one_by_one(tmp_path: Path) -> None:
    facts = {"sorry": True, "harm": False}
    rows = [ROW | {"propositions": facts}, ROW | {"propositions": {"sorry": True}}]
    gold = read_gold(_write(tmp_path / "g.jsonl", *rows), rubric())
    found = proposition_accuracy(rubric(), np.array([[0.9, 0.4], [np.nan, 0.0]]), gold)
    sorry, harm = found["sorry"], found["harm"]
    assert sorry is not None and (sorry.mean, sorry.n) == (0.5, 2)
    assert harm is not None and (harm.mean, harm.n) == (1.0, 1)
    assert proposition_accuracy(rubric(), np.zeros((0, 2)), [])["sorry"] is None
