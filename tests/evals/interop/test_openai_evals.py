"""Evals of a registry in the form of OpenAI Evals."""

from __future__ import annotations

import gzip
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from foresight.errors import UserError
from foresight.evals.graders import Graded
from foresight.evals.interop.openai_evals import CLASSES, OpenAIMatch, Rule, chat_text, read_eval
from foresight.evals.item import Item
from foresight.evals.reading import read_task
from foresight.evals.record import Reason
from foresight.evals.runner import run
from foresight.evals.suites.openai_evals import openai_evals
from tests.evals.models import Written

BY_RULE = {rule: name for name, rule in CLASSES.items()}
SAMPLES: list[dict[str, Any]] = [
    {"input": "2 + 2 =", "ideal": "4"},
    {
        "input": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "The {capital} of France?"},
        ],
        "ideal": ["Paris", "paris"],
        "level": "easy",
    },
]


class Registry:
    """A registry folder with one eval, `sums`, to be changed by a test."""

    def __init__(self, folder: Path, rule: str = "match", **args: Any) -> None:
        self.folder = folder
        self.spec: dict[str, Any] = {
            "sums": {"id": "sums.dev.v0", "metrics": ["accuracy"]},
            "sums.dev.v0": {
                "class": BY_RULE[rule], "args": {"samples_jsonl": "sums/samples.jsonl", **args},
            },
        }  # fmt: skip
        self.samples("sums/samples.jsonl", SAMPLES)
        self.write()

    def write(self) -> None:
        (self.folder / "evals").mkdir(exist_ok=True)
        (self.folder / "evals" / "sums.yaml").write_text(yaml.safe_dump(self.spec))
        (self.folder / "evals" / "other.yaml").write_text("other:\n  id: nowhere\n")

    def samples(self, name: str, rows: list[dict[str, Any]]) -> None:
        path = self.folder / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_items_of_texts_and_chats(tmp_path: Path) -> None:
    Registry(tmp_path)
    read = read_eval(tmp_path, "sums")
    first, second = read.items
    assert (first.id, first.text, first.target) == ("0", "2 + 2 =", ("4",))
    assert second.text == "Be brief.\n\nThe {capital} of France?"
    assert second.target == ("Paris", "paris") and second.meta["level"] == "easy"
    assert [one["role"] for one in second.meta["messages"]] == ["system", "user"]
    assert read.rule is not None and read.rule.rule == "match" and read.template is None
    # The YAML file itself, and the versioned name, lead to the same.
    again = read_eval(tmp_path / "evals" / "sums.yaml", "sums.dev.v0")
    assert [one.text for one in again.items] == [one.text for one in read.items]


def test_few_shots_stand_before_the_last_message(tmp_path: Path) -> None:
    registry = Registry(tmp_path, num_few_shot=1, few_shot_jsonl="sums/few.jsonl")
    turns = [{"role": "user", "content": "Q?"}, {"role": "assistant", "content": "A."}]
    registry.samples("sums/few.jsonl", [{"sample": turns}, {"sample": turns[:1]}])
    assert read_eval(tmp_path, "sums").items[1].text == (
        "System: Be brief.\n\nUser: Q?\n\nAssistant: A.\n\nUser: The {capital} of France?\n\n"
        "Assistant:"
    )


def test_packed_samples(tmp_path: Path) -> None:
    registry = Registry(tmp_path, samples_jsonl="sums/samples.jsonl.gz")
    data = (tmp_path / "data" / "sums" / "samples.jsonl").read_bytes()
    (tmp_path / "data" / "sums" / "samples.jsonl.gz").write_bytes(gzip.compress(data))
    registry.write()
    assert len(read_eval(tmp_path, "sums").items) == 2


@pytest.mark.parametrize(
    ("rule", "output", "ideal", "right"),
    [
        ("match", "Paris, of course", "Paris", True),
        ("match", "It is Paris", "Paris", False),
        ("match", "paris", "Paris", False),
        ("includes", "It is Paris", "Paris", True),
        ("includes", "It is PARIS", "Paris", False),
        ("fuzzy_match", "the paris!", "Paris", True),
        ("fuzzy_match", "Par", "Paris", True),
        ("fuzzy_match", "", "Paris", False),
        ("fuzzy_match", "the", "a", True),
        ("json_match", '{"b": [1, 2], "a": "x"}', '{"a": "x", "b": [1, 2]}', True),
        ("json_match", '{"a": [2, 1]}', '{"a": [1, 2]}', False),
        ("json_match", '{"a": 1, "c": 2}', '{"a": 1}', False),
        ("json_match", '{"a": null}', '{"a": null}', False),
        ("json_match", "none of it", '{"a": 1}', False),
    ],
)
def test_rules(rule: Rule, output: str, ideal: str, right: bool) -> None:
    item = Item("i", (), target=("something else", ideal))
    verdict = OpenAIMatch(rule=rule).read(Graded(item, "", output))
    assert (verdict.score, verdict.answer) == ((1.0, ideal) if right else (0.0, None))


@given(st.text(max_size=20), st.text(min_size=1, max_size=5))
def test_rules_include_each_other(output: str, ideal: str) -> None:
    def right(rule: Rule, ignore_case: bool = False) -> bool:
        item = Item("i", (), target=(ideal,))
        grader = OpenAIMatch(rule=rule, ignore_case=ignore_case)
        return grader.read(Graded(item, "", output)).score == 1.0

    assert right("match") == output.startswith(ideal)
    if right("match"):
        assert right("includes") and right("match", ignore_case=True)
    if right("includes"):
        assert right("includes", ignore_case=True)


def test_a_basic_eval_runs(tmp_path: Path) -> None:
    Registry(tmp_path, rule="includes", ignore_case=True)
    task = read_task(f"openai_evals:sums@{tmp_path}")
    model = Written(lambda prompt, _: "4" if "2" in prompt else "PARIS it is")
    records = run(task, model, tmp_path / "out")
    assert [one.score for one in records] == [1.0, 1.0]
    assert records[1].prompt.startswith("Be brief.")
    asked = model.requests[0]
    assert asked.sampling.temperature == 0.0 and asked.sampling.max_tokens == 500  # type: ignore[union-attr]


def graded(tmp_path: Path, shared_data: Path, **args: Any) -> Registry:
    source = shared_data / "evals" / "openai_evals_modelgraded" / "modelgraded_yaml.tar.xz"
    with tarfile.open(source) as archive:
        archive.extractall(tmp_path, filter="data")
    return Registry(tmp_path, rule="model_graded", **args)


def test_a_model_graded_eval_runs(tmp_path: Path, shared_data: Path) -> None:
    criteria = "conciseness: is it short?"
    graded(
        tmp_path, shared_data, modelgraded_spec="closedqa", eval_type="cot_classify",
        modelgraded_spec_args={"criteria": criteria},
    )  # fmt: skip
    judge = Written(
        lambda prompt, _: "It is.\nY" if "four" in prompt else "Hard to say.", name="judge"
    )
    task = openai_evals(tmp_path, "sums", judge).task("sums")
    model = Written(lambda prompt, _: "four" if "2" in prompt else "a town")
    right, failed = run(task, model, tmp_path / "out")
    assert (right.score, right.answer, right.reason) == (1.0, "Y", Reason.OK)
    assert (failed.score, failed.reason) == (None, Reason.GRADER_FAILED)
    prompt = "".join(part.text for part in judge.requests[0].prompt)  # type: ignore[union-attr]
    assert criteria in prompt and "four" in prompt
    # The eval names the type, so the instruction is appended to the template.
    assert prompt.rstrip().endswith("Reasoning:") and '"Y" or "N"' in prompt


def test_without_a_judge_it_says_what_to_do(tmp_path: Path, shared_data: Path) -> None:
    graded(tmp_path, shared_data, modelgraded_spec="closedqa")
    with pytest.raises(UserError, match="graded by a model with the template closedqa; name the"):
        read_task(f"openai_evals:sums@{tmp_path}")


def test_renamed_samples(tmp_path: Path, shared_data: Path) -> None:
    registry = graded(
        tmp_path, shared_data, modelgraded_spec="humor_likert",
        samples_renamings={"joke": "input"}, match_fn="exact",
    )  # fmt: skip
    registry.samples("sums/samples.jsonl", [{"joke": "Knock knock."}])
    read = read_eval(tmp_path, "sums")
    assert read.items[0].text == "Knock knock." and read.items[0].target == ()
    assert read.template is not None and read.template.match_fn == "exact"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class": "evals.elsuite.ballots.eval:BallotsEval"}, "field class: 'evals.elsuite.ball"),
        ({"args": None}, "field args: missing"),
        ({"args": {"samples_jsonl": "none.jsonl"}}, "field args.samples_jsonl: neither"),
        ({"args": {"samples_jsonl": 3}}, "field args.samples_jsonl: 3"),
        ({"args": {"multicomp_n": 4}}, "field args.multicomp_n: not read"),
        ({"class": BY_RULE["model_graded"]}, "field args.modelgraded_spec: missing"),
    ],
)
def test_errors_name_file_eval_and_field(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    registry = Registry(tmp_path)
    registry.spec["sums.dev.v0"] |= change
    registry.write()
    with pytest.raises(UserError) as caught:
        read_eval(tmp_path, "sums")
    assert message in str(caught.value) and "sums.yaml, sums" in str(caught.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"ideal": "4"}, "line 1, field input: expected a text, or messages"),
        ({"input": [], "ideal": "4"}, "field input"),
        ({"input": [{"role": "user", "content": [{"type": "image_url"}]}]}, "field input"),
        ({"input": "x"}, "line 1, field ideal: []; expected a text or a list"),
        ({"input": "x", "ideal": 4}, "line 1, field ideal: 4; expected a text or a list"),
    ],
)
def test_errors_of_samples(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    Registry(tmp_path).samples("sums/samples.jsonl", [row])
    with pytest.raises(UserError) as caught:
        read_eval(tmp_path, "sums")
    assert "samples.jsonl" in str(caught.value) and message in str(caught.value)


def test_names_that_lead_nowhere(tmp_path: Path) -> None:
    Registry(tmp_path)
    for name in ("sum", "other"):
        with pytest.raises(UserError, match=f"eval '{name}'"):
            read_eval(tmp_path, name)
    with pytest.raises(UserError, match="which eval"):
        openai_evals(tmp_path, "")


def test_chat_text() -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert chat_text(turns[:1]) == "a"
    assert chat_text([*turns, turns[0]]) == "User: a\n\nAssistant: b\n\nUser: a\n\nAssistant:"
