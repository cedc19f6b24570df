"""The public sets: counts, prompts, what is said of broken files."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from foresight.document import Text
from foresight.errors import UserError
from foresight.evals.graders import Graded, NumericAnswer
from foresight.evals.layout import prompt_text
from foresight.evals.reading import read_task
from foresight.evals.runner import run
from foresight.evals.sandbox import Sandbox
from foresight.evals.suites import SUITES
from foresight.evals.summary import summarise
from foresight.evals.task import Task
from tests.evals.models import Written


@pytest.fixture(scope="module")
def sets(shared_data: Path) -> Path:
    return shared_data / "evals"


def prompt(task: Task, at: int = 0) -> str:
    return prompt_text(task.protocol.prompt(task.attempt(task.items[at])))


@pytest.fixture(scope="module")
def mmlu(sets: Path) -> Task:
    return read_task(f"mmlu@{sets / 'mmlu'}")


def test_mmlu_is_put_as_in_the_report(mmlu: Task) -> None:
    assert len(mmlu.items) == 14_042
    assert len({item.meta["category"] for item in mmlu.items}) == 57
    assert Counter(len(mmlu.shots(item)) for item in mmlu.items) == {5: 14_042}
    text = prompt(mmlu)
    assert text.startswith(
        "The following are multiple choice questions (with answers) about abstract algebra.\n\n"
    )
    assert text.count("\nAnswer: ") == 5 and text.endswith("\nAnswer:")
    assert text.count("\nA. ") == 6
    # Key of the first question: 4, the second option.
    assert mmlu.items[0].choices[1] == "4" and mmlu.items[0].target == 1


def test_mmlus_letters_are_about_even(mmlu: Task) -> None:
    count = Counter(item.target for item in mmlu.items)
    assert set(count) == {0, 1, 2, 3} and min(count.values()) > 3000


def test_mmlu_flows_through(mmlu: Task, tmp_path: Path) -> None:
    """A model that knows the key of half of the subjects."""
    gold = {item.text: " ABCD"[int(str(item.target)) + 1] for item in mmlu.items}

    def nats(text: str, choice: str) -> float:
        question = text.rpartition("\n\n")[2].rpartition("\nA. ")[0]
        return -0.1 if choice == f" {gold.get(question)}" else -3.0

    found = summarise(run(mmlu, Written(nats=nats), tmp_path, limit=100))
    assert found.score is not None and found.score.mean > 0.9 and found.calibration is not None


def test_one_subject(sets: Path) -> None:
    task = read_task(f"mmlu:anatomy@{sets / 'mmlu'}")
    assert task.name == "mmlu-anatomy" and len(task.items) == 135
    with pytest.raises(UserError, match=r"holds no file alchemy_test.csv"):
        read_task(f"mmlu:alchemy@{sets / 'mmlu'}")


def test_a_suite_in_yaml_can_be_put_another_way(sets: Path, tmp_path: Path) -> None:
    (tmp_path / "written.yaml").write_text(
        f"suite: mmlu:anatomy\npath: {sets / 'mmlu'}\nshots: 2\nprotocol: choice_generate\n"
    )
    task = read_task(str(tmp_path / "written.yaml"))
    assert task.name == "written"
    assert prompt(task).startswith("ANSWER KEY") and "Explanation for Problem 3:" in prompt(task)
    (tmp_path / "written.yaml").write_text(
        f"suite: mmlu:anatomy\npath: {sets / 'mmlu'}\nshots: 6\n"
    )
    with pytest.raises(UserError, match="6 examples wanted, 5 there for anatomy"):
        read_task(str(tmp_path / "written.yaml"))


def test_arc(sets: Path) -> None:
    task = read_task(f"arc@{sets / 'arc'}")
    assert len(task.items) == 299 and prompt(task).count("Question: ") == 26
    assert len(read_task(f"arc:easy@{sets / 'arc'}").items) == 570


def test_hellaswag(sets: Path) -> None:
    task = read_task(f"hellaswag@{sets / 'hellaswag_subset'}")
    assert len(task.items) == 990 and len(task.shots(task.items[0])) == 10
    names = {shot.id for shot in task.shots(task.items[0])}
    assert not names & {item.id for item in task.items}
    assert not any("[" in choice for item in task.items for choice in item.choices)


def test_truthfulqa_does_not_reward_the_first_option(sets: Path) -> None:
    task = read_task(f"truthfulqa@{sets / 'truthfulqa'}")
    assert len(task.items) == 817
    first = sum(item.target == 0 for item in task.items)
    chance = sum(1 / len(item.choices) for item in task.items)
    assert abs(first - chance) < 4 * chance**0.5


def test_agieval_has_its_published_counts(sets: Path) -> None:
    task = read_task(f"agieval@{sets / 'agieval'}")
    count = Counter(item.meta["category"] for item in task.items)
    published = {"aqua-rat": 254, "lsat-ar": 230, "lsat-lr": 510, "lsat-rc": 269, "sat-en": 206,
                 "sat-math": 220, "logiqa-en": 651, "gaokao-english": 306}  # fmt: skip
    assert {name: count[name] for name in published} == published
    passages = {item.group for item in task.items if item.meta["category"] == "lsat-rc"}
    assert "" not in passages and len(passages) < 60
    with pytest.raises(UserError, match="no multiple-choice questions in math"):
        read_task(f"agieval:math@{sets / 'agieval'}")


def test_gsm8k(sets: Path) -> None:
    task = read_task(f"gsm8k@{sets / 'gsm8k'}")
    assert len(task.items) == 1319
    assert prompt(task).count("#### ") == 5 and "<<" not in prompt(task)
    assert prompt(task).endswith("\nAnswer:")


def test_published_solutions_to_gsm8k_score_as_labelled(sets: Path) -> None:
    """Solutions of four models that come with the set, each with its own verdict."""
    task = read_task(f"gsm8k@{sets / 'gsm8k'}")
    by_question = {item.text: item for item in task.items}
    path = sets / "gsm8k" / "example_model_solutions.jsonl.gz"
    checked = differ = 0
    with gzip.open(path, "rt") as stream:
        for row in map(json.loads, stream):
            item = by_question[row["question"]]
            solutions = [one for one in row.values() if isinstance(one, dict)]
            for one in solutions:
                (verdict,) = NumericAnswer().grade([Graded(item, "", one["solution"])])
                differ += (verdict.score == 1.0) != one["is_correct"]
                checked += 1
    assert checked == 4 * 1319
    assert differ == 0


def test_mgsm(sets: Path) -> None:
    task = read_task(f"mgsm@{sets / 'mgsm'}")
    assert Counter(item.meta["category"] for item in task.items) == dict.fromkeys(
        ("bn", "de", "en", "es", "fr", "ja", "ru", "sw", "te", "th", "zh"), 250
    )
    assert len({item.group for item in task.items}) == 250
    text = prompt(task, 250)
    assert text.count("Frage: ") == 9 and text.endswith("\nSchritt-für-Schritt-Antwort:")


def _solved(task: Task, limit: int, tmp_path: Path, solve: bool) -> float:
    """Share passed of a model that knows the reference solutions, or of one that does nothing."""
    by_prompt = {
        prompt_text(task.protocol.prompt(task.attempt(item))): item.meta["solution"]
        for item in task.items
    }

    def write(text: str, request: object) -> str:
        return by_prompt[text] if solve else "    return None\n"

    # Reference solutions define helpers, at which the usual stop strings would cut.
    protocol = task.protocol.model_copy(update={"stop": ()})
    known = Task(task.name, task.items, protocol, task.few_shot)
    found = summarise(run(known, Written(write), tmp_path / str(solve), limit=limit))
    assert found.score is not None and found.unscored == 0
    return found.score.mean


@pytest.mark.parametrize("name", ["humaneval", "mbpp"])
def test_reference_solutions_pass_in_the_sandbox(sets: Path, tmp_path: Path, name: str) -> None:
    task = read_task(f"{name}@{sets / name}")
    assert len(task.items) == {"humaneval": 164, "mbpp": 500}[name]
    try:
        with Sandbox():
            pass
    except UserError as error:
        pytest.skip(f"no sandbox on this machine: {error}")
    assert _solved(task, 25, tmp_path, solve=True) == 1.0
    assert _solved(task, 25, tmp_path, solve=False) == 0.0


def test_prompts_of_mbpp_show_tests_and_three_examples(sets: Path) -> None:
    task = read_task(f"mbpp@{sets / 'mbpp'}")
    assert prompt(task).count("[DONE]") == 3 and prompt(task).endswith("[BEGIN]\n")
    assert all(test in prompt(task) for test in ('assert remove_Occ("hello","l") == "heo"',))


def test_broken_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "x_test.csv").write_text("Why?,a,b,c,d,E\n")
    with pytest.raises(UserError, match=r"x_test\.csv, row 1: expected question, four choices"):
        read_task(f"mmlu@{tmp_path}")
    (tmp_path / "test.jsonl").write_text('{"question": "?"}\n')
    with pytest.raises(UserError, match=r"test\.jsonl, line 1, field answer: missing"):
        read_task(f"gsm8k@{tmp_path}")
    (tmp_path / "test.jsonl").write_text('{"question": "?", "answer": "4"}\n')
    with pytest.raises(UserError, match="does not end with"):
        read_task(f"gsm8k@{tmp_path}")
    (tmp_path / "mc_task.json").write_text("{}")
    (tmp_path / "mgsm_de.tsv").write_text("no tab\n")
    with pytest.raises(UserError, match=r"mgsm_de\.tsv, line 1"):
        read_task(f"mgsm@{tmp_path}")
    (tmp_path / "HumanEval.jsonl.gz").write_bytes(b"not gzip")
    with pytest.raises(UserError, match=r"HumanEval\.jsonl\.gz: cannot be read"):
        read_task(f"humaneval@{tmp_path}")


@pytest.mark.parametrize("name", ["hellaswag", "truthfulqa", "gsm8k", "humaneval", "mbpp"])
def test_a_subset_that_does_not_exist_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no subset 'x'"):
        SUITES[name](tmp_path, "x")


def test_examples_never_end_in_the_question(mmlu: Task) -> None:
    prefix = mmlu.attempt(mmlu.items[0]).prefix
    assert len(prefix) == 1 and isinstance(prefix[0], Text)
    assert prefix[0].text.endswith("\n\n")
