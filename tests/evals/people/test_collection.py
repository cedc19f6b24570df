"""Answers are collected once each, resumed, and paired."""

from __future__ import annotations

from pathlib import Path

import pytest

from foresight.errors import UserError
from foresight.evals.layout import Layout
from foresight.evals.people.collection import Collection, collect
from foresight.evals.people.grades import People
from foresight.evals.people.prompts import Filters
from foresight.evals.protocols import FreeResponse
from foresight.evals.reading import read_items
from tests.evals.models import Written
from tests.evals.people.samples import collected, prompts


def put(folder: Path, *models: Written, seed: int = 0, layout: str = "{question}") -> Collection:
    protocol = FreeResponse(layout=Layout(question=layout), grader=People())
    items = read_items(folder / "prompts.jsonl")
    return collect(items, models, folder / "blind", Filters(), protocol, seed, lambda _: None)


def test_every_two_models_make_a_pair_on_every_prompt(tmp_path: Path) -> None:
    found = collected(tmp_path, 4, ("gamma", "alpha", "beta"))
    pairs = found.pairs()
    assert len(pairs) == len({pair.key for pair in pairs}) == 4 * 3
    assert {(one.first.model, one.second.model) for one in pairs} == {
        ("alpha", "beta"), ("alpha", "gamma"), ("beta", "gamma")
    }  # fmt: skip
    assert found.prompts[0].text.startswith("Question 0") and "[image " in found.prompts[0].text
    assert len(list((found.folder / "images").iterdir())) == 1


def test_interrupted_and_taken_up_it_is_the_same(tmp_path: Path) -> None:
    prompts(tmp_path, 6)

    def answered(asked: str, request: object) -> str:
        return asked.upper()

    with pytest.raises(KeyboardInterrupt):
        put(tmp_path, Written(answered, name="m"), Written(answered, name="n", stop_after=2))
    with (tmp_path / "blind" / "answers" / "n" / "records.jsonl").open("a") as stream:
        stream.write('{"key": "0123", "mod')
    again, fresh = Written(answered, name="m"), Written(answered, name="n")
    found = put(tmp_path, again, fresh)
    assert (again.asked, fresh.asked) == (0, 4)
    assert len(found.answers) == 12 and len(found.pairs()) == 6
    assert all(pair.identical for pair in found.pairs())
    third = Written(answered, name="o")
    assert len(put(tmp_path, third).answers) == 18, "a model can be added later"


def test_seeds_differ_by_prompt_and_model_and_stay(tmp_path: Path) -> None:
    prompts(tmp_path, 3)
    models = Written(name="m"), Written(name="n")
    put(tmp_path, *models, layout="Q: {question}\nA:")
    seeds = [request.sampling.seed for model in models for request in model.requests]
    assert len(set(seeds)) == 6
    assert models[0].requests[1].prompt[0].text.endswith("others?\nA:")
    other = Written(name="m")
    collect(read_items(tmp_path / "prompts.jsonl"), [other], tmp_path / "again", Filters(),
            FreeResponse(grader=People()), 1, lambda _: None)  # fmt: skip
    assert not {request.sampling.seed for request in other.requests} & set(seeds)


def test_failed_answers_make_no_pair_and_are_asked_again(tmp_path: Path) -> None:
    prompts(tmp_path, 2)
    failing = Written(name="n", finish="failed")
    assert put(tmp_path, Written(lambda *_: "x", name="m"), failing).pairs() == []
    found = put(tmp_path, Written(lambda *_: "y", name="n"))
    assert [pair.second.output for pair in found.pairs()] == ["y", "y"]


def test_half_a_character_does_not_stop_the_collection(tmp_path: Path) -> None:
    prompts(tmp_path, 1)
    found = put(tmp_path, Written(lambda *_: "so \ud83d", name="m"))
    assert [one.output for one in found.answers] == ["so ?"]


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    prompts(tmp_path, 2)
    put(tmp_path, Written(name="m"))
    with pytest.raises(UserError, match=r"another collection \(its asking differs\)"):
        put(tmp_path, Written(name="m"), seed=2)
    with pytest.raises(UserError, match="two models have one name"):
        put(tmp_path, Written(name="m"), Written(name="m"))
    (tmp_path / "prompts.jsonl").write_text('{"question": "hi"}\n')
    with pytest.raises(UserError, match="none of 1 prompts passes"):
        put(tmp_path, Written(name="m"))
    with pytest.raises(UserError, match="no collection"):
        Collection.read(tmp_path)
    answers = tmp_path / "blind" / "answers" / "m" / "records.jsonl"
    answers.write_text(answers.read_text() + '{"item": "p0", "model": 7}\n')
    with pytest.raises(UserError, match=r"records.jsonl, line 3: not a record"):
        Collection.read(tmp_path / "blind")
