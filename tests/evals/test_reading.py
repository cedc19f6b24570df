"""Tasks from YAML files, items and Python functions; what is said of bad ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image as Pillow

from foresight.document import Image, Text
from foresight.errors import UserError
from foresight.evals.graders import NumericAnswer
from foresight.evals.model_grader import ModelGrader
from foresight.evals.protocols import ChoiceGenerate, ChoiceLogprob, FreeResponse
from foresight.evals.reading import read_items, read_task
from foresight.evals.task import Task
from tests.evals.models import Written, open_items

CHOICE = {"question": "2 + 2?", "choices": ["3", "4"], "target": "B"}


def write(folder: Path, task: dict[str, Any], *rows: dict[str, Any]) -> str:
    (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "task.yaml").write_text(yaml.safe_dump(task))
    return str(folder / "task.yaml")


def test_a_task_of_ones_own(tmp_path: Path) -> None:
    shots = tmp_path / "shots.jsonl"
    shots.write_text(json.dumps(CHOICE | {"id": "s", "target": 0}) + "\n")
    task = read_task(write(
        tmp_path,
        {"name": "sums", "items": "items.jsonl", "few_shot": "shots.jsonl",
         "protocol": {"kind": "choice_logprob", "layout": {"instruction": "Add."}}},
        CHOICE,
        CHOICE | {"id": "two", "target": 0, "group": "g", "weight": 2, "meta": {"a": [1]}},
    ))  # fmt: skip
    first, second = task.items
    assert (first.id, first.target, second.id, second.group, second.weight, second.meta) == (
        "1", 1, "two", "g", 2.0, {"a": [1]},
    )  # fmt: skip
    assert isinstance(task.protocol, ChoiceLogprob)
    # What the file does not say of the layout is the protocol's own.
    assert task.attempt(first).prefix == (Text("Add.2 + 2?\nA. 3\nB. 4\nAnswer: A\n\n"),)


def test_examples_of_the_items_own_category(tmp_path: Path) -> None:
    rows = [CHOICE | {"id": c + str(n), "meta": {"category": c}} for c in "ab" for n in range(3)]
    (tmp_path / "shots.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    raw = {"items": "items.jsonl", "few_shot": "shots.jsonl", "shots": 2,
           "protocol": "choice_generate"}  # fmt: skip
    task = read_task(write(tmp_path, raw, CHOICE | {"meta": {"category": "b"}}))
    assert isinstance(task.protocol, ChoiceGenerate)
    assert [shot.id for shot in task.shots(task.items[0])] == ["b0", "b1"]


def test_pictures_lie_beside_the_items(tmp_path: Path) -> None:
    Pillow.fromarray(np.full((2, 3, 3), 7, np.uint8)).save(tmp_path / "dot.png")
    row = {"parts": [{"text": "See "}, {"image": "dot.png"}], "target": ["7", 8]}
    task = read_task(write(tmp_path, {"items": "items.jsonl", "protocol": "free_response"}, row))
    text, image = task.items[0].parts
    assert text == Text("See ") and isinstance(image, Image) and image.pixels.shape == (2, 3, 3)
    assert task.items[0].target == ("7", "8")


def test_graders_in_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"question": "?", "target": "4"}
    raw = {"items": "items.jsonl", "protocol": {"kind": "free_response", "grader": "numeric"}}
    task = read_task(write(tmp_path, raw, row))
    assert isinstance(task.protocol, FreeResponse)
    assert task.protocol.grader == NumericAnswer()
    opened = []

    def open_model(text: str) -> Written:
        opened.append(text)
        return Written(name=text)

    monkeypatch.setattr("foresight.evals.reading.open_model", open_model)
    template = {"prompt": "{completion}?", "choice_strings": "YN",
                "choice_scores": {"Y": 1.0, "N": 0.0}}  # fmt: skip
    (tmp_path / "judge.yaml").write_text(yaml.safe_dump({"one": template, "two": template}))
    grader = {"kind": "model", "model": "api:j@http://x", "template": "judge.yaml#two"}
    raw["protocol"] = {"kind": "free_response", "grader": grader}
    task = read_task(write(tmp_path, raw, row))
    assert isinstance(task.protocol, FreeResponse)
    assert isinstance(task.protocol.grader, ModelGrader)
    assert task.protocol.grader.template.name == "two" and opened == ["api:j@http://x"]
    grader["template"] = "judge.yaml"
    with pytest.raises(UserError, match="which template"):
        read_task(write(tmp_path, raw, row))


def own_task() -> Task:
    return Task("own", open_items(2), FreeResponse())


def not_a_task() -> int:
    return 3


def test_a_function_of_ones_own() -> None:
    assert read_task(f"{__name__}:own_task").name == "own"
    with pytest.raises(UserError, match="returned int, expected a Task"):
        read_task(f"{__name__}:not_a_task")
    with pytest.raises(UserError, match="cannot be imported"):
        read_task("nowhere:task")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"question": None}, "line 2: give either `question` (a text) or"),
        ({"target": 2}, "line 2: item 2: target 2 is no index of its 2 choices"),
        ({"target": "C"}, "line 2, field target: 'C'; expected the index"),
        ({"target": True}, "line 2, field target: True"),
        ({"choices": "AB"}, "line 2, field choices: Input should be a valid list, got 'AB'"),
        ({"choices": ["a", 1]}, "line 2, field choices.1: Input should be a valid string, got 1"),
        ({"weight": "much"}, "line 2, field weight: Input should be a valid number, got 'much'"),
        ({"weight": -1}, "weight -1.0 is negative"),
        ({"answer": 1}, "line 2, field answer: unknown"),
        ({"parts": []}, "line 2: give either `question` "),
        ({"id": "1"}, "item id '1' occurs twice"),
        ({"meta": 3}, "line 2, field meta: Input should be a valid dictionary, got 3"),
        ({"target": None}, "needs two or more `choices` and the index"),
    ],
)
def test_bad_items_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    raw = {"items": "items.jsonl", "protocol": "choice_logprob"}
    with pytest.raises(UserError) as error:
        read_task(write(tmp_path, raw, CHOICE, CHOICE | change))
    assert message in str(error.value)


def test_bad_parts_and_lines_are_named(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    for text, message in [
        ('{"parts": ["x"]}', 'field parts: "x"; expected a list of'),
        ('{"parts": "x"}', "field parts: Input should be a valid list, got 'x'"),
        ('{"parts": [{"image": "no.png"}]}', "no.png: cannot be read"),
        ('{"question": ', "line 1: not valid JSON"),
        ("[1]", "line 1: expected an object"),
        ('{"question": "?", "target": {}}', "field target: {}; expected an answer"),
    ]:
        path.write_text(text + "\n")
        with pytest.raises(UserError) as error:
            read_items(path)
        assert message in str(error.value) and str(tmp_path) in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"protocol": "essay"}, "protocol.kind: 'essay'; expected one of choice_logprob"),
        ({"protocol": ""}, "field protocol: missing"),
        ({"protocol": {"kind": "cloze", "temp": 1}}, "protocol, field temp: unknown; fields: "),
        ({"protocol": {"kind": "code", "max_tokens": 0}}, "protocol, field max_tokens: "),
        ({"protocol": {"kind": "cloze", "layout": {"question": "?"}}}, "exactly once"),
        ({"protocol": {"kind": "free_response", "grader": "nice"}}, "protocol.grader.kind: 'nice'"),
        (
            {"protocol": {"kind": "free_response", "grader": {"kind": "regex"}}},
            "field pattern: missing",
        ),
        ({"suite": "mmlu"}, "give either `suite` and `path`, or `items`"),
        ({"items": "none.jsonl"}, "none.jsonl: cannot be read (No such file"),
        ({"colour": 1}, "field colour: unknown"),
        ({"name": "a b"}, "task name 'a b'"),
    ],
)
def test_bad_task_files_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    raw = {"items": "items.jsonl", "protocol": "choice_logprob"} | change
    with pytest.raises(UserError) as error:
        read_task(write(tmp_path, raw, CHOICE))
    assert message in str(error.value)


def test_what_is_no_task_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text("- 1\n")
    (tmp_path / "broken.yaml").write_text("a: [\n")
    (tmp_path / "suite.yaml").write_text("suite: glue\npath: .\n")
    for text, message in [
        ("nothing", "expected SUITE@PATH"),
        ("mmlu@/nowhere", "no such file or folder"),
        (str(tmp_path / "absent.yaml"), "cannot be read"),
        (str(tmp_path / "list.yaml"), "expected a mapping"),
        (str(tmp_path / "broken.yaml"), "not valid YAML"),
        (str(tmp_path / "suite.yaml"), "'glue'; expected one of agieval"),
    ]:
        with pytest.raises(UserError) as error:
            read_task(text)
        assert message in str(error.value)
