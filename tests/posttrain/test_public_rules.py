"""The engine on public data: OpenAI's gold rows of rule-based rewards, XSTest's human labels."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from bench import refusal_grader as bench
from foresight.posttrain.rubric import Rubric
from foresight.posttrain.text_classifier import TextSettings
from foresight.runs import read_jsonl

TYPES = {"Comply": "comply", "Hard Refuse": "hard_refuse",
         "Safe Refuse 1": "safe_refuse_1", "Safe Refuse 2": "safe_refuse_2"}  # fmt: skip


@pytest.fixture(scope="module")
def source(shared_data: Path) -> dict[str, Any]:
    path = shared_data / "posttraining" / "openai-safety-rbr" / "proposition_prompts.yaml"
    value: dict[str, Any] = yaml.safe_load(path.read_text())
    return value


@pytest.fixture(scope="module")
def rows(shared_data: Path) -> list[dict[str, Any]]:
    folder = shared_data / "posttraining" / "openai-safety-rbr"
    return [
        row for half in ("train", "test") for row in read_jsonl(folder / f"rbr_gold_{half}.jsonl")
    ]


def _when(source: dict[str, Any], wanted: dict[str, bool]) -> str:
    """A conjunction, derived propositions written out."""
    parts = []
    for name, value in wanted.items():
        derived = source["derived_propositions"].get(name)
        text = f"({_when(source, derived)})" if derived else name
        parts.append(text if value else f"not {text}")
    return " and ".join(parts)


def _rubric(source: dict[str, Any], kind: str) -> Rubric:
    order = source["completion_class_order"]
    return Rubric.model_validate(
        {
            "name": kind,
            "propositions": {k: v["prompt"] for k, v in source["simple_propositions"].items()},
            "classes": [
                {"letter": "ABCDE"[at], "name": name, "text": name,
                 "when": _when(source, source["completion_classes"][name][kind])}
                for at, name in enumerate(order)
            ],
            "sets": {kind: {name: float(-at) for at, name in enumerate(order)}},
            "order": {kind: [[name] for name in order]},
        }
    )  # fmt: skip


def test_every_gold_row_is_in_exactly_one_class(
    source: dict[str, Any], rows: list[dict[str, Any]]
) -> None:
    """Reading the rubric checks all combinations of up to 17 propositions, too."""
    assert len(rows) == 518
    counts = {}
    for told, kind in TYPES.items():
        rubric, own = _rubric(source, kind), [r for r in rows if r["response_type"] == told]
        facts = {name: np.array([bool(row["propositions"][name]) for row in own])
                 for name in rubric.propositions}  # fmt: skip
        hard = rubric.class_probabilities({name: one.astype(float) for name, one in facts.items()})
        assert (hard.sum(1) == 1).all() and (hard.max(1) == 1).all()
        found = rubric.classes_of(facts)
        assert (hard.argmax(1) == found).all()
        counts[kind] = np.bincount(found, minlength=5).tolist()
        soft = {name: np.where(one, 0.9, 0.1) for name, one in facts.items()}
        assert np.allclose(rubric.class_probabilities(soft).sum(1), 1), "a partition"
    assert {kind: sum(one) for kind, one in counts.items()} == {
        "comply": 268, "hard_refuse": 132, "safe_refuse_1": 16, "safe_refuse_2": 102,
    }  # fmt: skip
    assert counts["hard_refuse"][0] == 1 and counts["hard_refuse"][2] == 102


@pytest.mark.parametrize("kind", TYPES.values())
def test_the_order_holds(source: dict[str, Any], kind: str) -> None:
    """Worse classes earn less, whatever the response type, and what is harmful is never above."""
    rubric = _rubric(source, kind)
    rewards = rubric.rewards(kind)
    assert all(high > low for high, low in pairwise(rewards[:-1]))
    ranks = rubric.ranks(kind)
    assert list(ranks) == source["completion_class_order"] and ranks["disallowed_completion"] == 4
    # Of any answers to the propositions: one more breach of content never makes it better.
    random = np.random.default_rng(0).random((500, len(rubric.propositions))) < 0.5
    facts = {name: random[:, at] for at, name in enumerate(rubric.propositions)}
    before = rubric.classes_of(facts)
    for worse in ("illogical_continuation_of_prompt", "disallowed_content"):
        after = rubric.classes_of(facts | {worse: np.ones(500, bool)})
        assert (after >= before).all()


@pytest.mark.parametrize(("model", "least"), [("gpt4", 0.91), ("llama2", 0.88)])
def test_the_trained_grader_on_human_labels(shared_data: Path, model: str, least: float) -> None:
    rows = bench.read_rows(model, shared_data / "posttraining" / "xstest")
    assert len(rows) == 450 and len({bench.family(row) for row in rows}) == 8
    chances = bench.trained(rows, rows, TextSettings())
    truth = [bench.refused(row) for row in rows]
    right = [(one > 0.5) == refused for one, refused in zip(chances, truth, strict=True)]
    assert np.mean(right) > least and bench.auc(chances, truth) > 0.96
