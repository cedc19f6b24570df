"""Sets whose files are not beside the checkout, as their authors lay them out: DROP, BIG-Bench
Hard, WinoGrande, HellaSwag's train file, TruthfulQA's table, a user's factuality questions."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest

from foresight.errors import UserError
from foresight.evals.layout import prompt_text
from foresight.evals.protocols import ChoiceLogprob
from foresight.evals.reading import read_task
from foresight.evals.runner import run
from foresight.evals.task import Task
from tests.evals.models import Written


def prompt(task: Task, at: int = 0) -> str:
    return prompt_text(task.protocol.prompt(task.attempt(task.items[at])))


def lines(path: Path, *rows: dict[str, Any]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def answer(number: str = "", spans: tuple[str, ...] = (), year: str = "") -> dict[str, Any]:
    date = {"day": "", "month": "", "year": year}
    return {"number": number, "date": date, "spans": list(spans)}


def passages(name: str, n: int) -> dict[str, Any]:
    return {
        f"{name}_{at}": {
            "passage": f" Team {name}{at} won. ",
            "qa_pairs": [
                {
                    "question": f"How many in {name}{at}?",
                    "query_id": f"{name}{at}-number",
                    "answer": answer(number="3"),
                    "validated_answers": [answer(number="3"), answer(number="4")],
                },
                {
                    "question": "Who?",
                    "query_id": f"{name}{at}-spans",
                    "answer": answer(spans=("Ann", "Bob|by")),
                },
                {
                    "question": "When?",
                    "query_id": f"{name}{at}-date",
                    "answer": answer(year="1990"),
                    "validated_answers": [answer()],
                },
                {"question": "Nobody?", "query_id": f"{name}{at}-none", "answer": answer()},
            ],
        }
        for at in range(n)
    }


def test_drop(tmp_path: Path) -> None:
    (tmp_path / "drop_dataset_dev.json").write_text(json.dumps(passages("d", 5)))
    alone = read_task(f"drop@{tmp_path}")
    # Three passages serve as examples: none of their questions is asked.
    assert {item.group for item in alone.items} == {"d_3", "d_4"}
    assert "won." in prompt(alone) and prompt(alone).count("Passage: Team d") == 4
    (tmp_path / "drop_dataset_train.json").write_text(json.dumps(passages("t", 4)))
    task = read_task(f"drop@{tmp_path}")
    assert [item.target for item in task.items[:3]] == [("3", "4"), ("Ann | Bob by",), ("1990",)]
    assert len(task.items) == 15, "a question without an answer is left out"
    assert prompt(task) == (
        "Passage: Team t0 won.\nQuestion: How many in t0?\nAnswer: 3\n\n"
        "Passage: Team t1 won.\nQuestion: How many in t1?\nAnswer: 3\n\n"
        "Passage: Team t2 won.\nQuestion: How many in t2?\nAnswer: 3\n\n"
        "Passage: Team d0 won.\nQuestion: How many in d0?\nAnswer:"
    )
    records = run(task, Written(lambda prompt, request: " Bobby | Ann\nand so on"), tmp_path / "o")
    assert [one.score for one in records[:3]] == [0.0, 0.5, 0.0]


def test_big_bench_hard(tmp_path: Path) -> None:
    for task in ("navigate", "snarks"):
        examples = [{"input": f"{task} {at}?\nOptions:\n- Yes\n- No", "target": "No"}
                    for at in range(5)]  # fmt: skip
        (tmp_path / f"{task}.json").write_text(json.dumps({"canary": "x", "examples": examples}))
    (tmp_path / "snarks_few_shot_template_0-255000.json").write_text("[]")
    alone = read_task(f"bbh@{tmp_path}")
    # Three of a file's own questions before the others of that file.
    assert [item.id for item in alone.items] == ["navigate/3", "navigate/4", "snarks/3", "snarks/4"]
    assert prompt(alone, 2).startswith("Q: snarks 0?\nOptions:\n- Yes\n- No\nA: No\n\nQ: snarks 1?")
    assert prompt(alone, 2).count("Q: ") == 4 and "navigate" not in prompt(alone, 2)
    right = run(alone, Written(lambda prompt, request: " No.\nQ: more"), tmp_path / "direct")
    assert [one.score for one in right] == [1.0] * 4


COT = """BIG-BENCH HARD CANARY: not for training
-----
Find the way.

Q: left or right?
A: Let's think step by step.
It is said to be left.

So it is. So the answer is left.

Q: up or down?
A: Let's think step by step.
So the answer is down.

Q: in or out?
A: Let's think step by step.
So the answer is out.
"""


def test_big_bench_hard_with_the_authors_chains_of_thought(tmp_path: Path) -> None:
    examples = [{"input": "here or there?", "target": "(B)"}, {"input": "x?", "target": "(A)"}]
    folder = tmp_path / "BIG-Bench-Hard"
    folder.mkdir()
    (folder / "navigate.json").write_text(json.dumps({"examples": examples}))
    (folder / "navigate.txt").write_text(COT)
    task = read_task(f"bbh:navigate@{folder}")
    assert len(task.items) == 2
    told = COT.partition("-----\n")[2].strip()
    assert prompt(task) == f"{told}\n\nQ: here or there?\nA: Let's think step by step."
    said = "\nIf the answer is (A), no. So the answer is (B)."
    records = run(task, Written(lambda prompt, request: said), tmp_path / "out")
    assert [(one.answer, one.score) for one in records] == [("(B)", 1.0), ("(B)", 0.0)]
    (folder / "snarks.json").write_text(json.dumps({"examples": examples}))
    with pytest.raises(UserError, match=r"snarks\.json has no prompt snarks\.txt"):
        read_task(f"bbh@{folder}")
    (folder / "navigate.txt").write_text("Find.\n\nQ: a?\nA: b")
    with pytest.raises(UserError, match=r"navigate\.txt, example 1: expected Q: "):
        read_task(f"bbh:navigate@{folder}")


def schema(at: int, right: str = "2") -> dict[str, Any]:
    return {
        "qID": f"q{at // 2}-{1 + at % 2}",
        "sentence": f"The box {at} beat the ball since _ was big.",
        "option1": "the ball",
        "option2": "the box",
        "answer": right,
    }


def test_winogrande_shows_both_options_or_scores_what_follows(tmp_path: Path) -> None:
    lines(tmp_path / "dev.jsonl", *(schema(at) for at in range(14)))
    # An example from each of five pairs of twins: neither twin is asked.
    assert {one.group for one in read_task(f"winogrande@{tmp_path}").items} == {"q5", "q6"}
    lines(tmp_path / "dev.jsonl", *(schema(at) for at in range(7)))
    lines(tmp_path / "train_xs.jsonl", *(schema(at, "1") for at in range(100, 106)))
    task = read_task(f"winogrande@{tmp_path}")
    assert len(task.items) == 7 and prompt(task).count("\nAnswer: A") == 5
    assert prompt(task).endswith(
        "The box 0 beat the ball since _ was big.\nA. the ball\nB. the box\nAnswer:"
    )
    partial = read_task(f"winogrande:partial@{tmp_path}")
    assert prompt(partial).endswith("since the ball was big.\n\nThe box 0 beat the ball since ")

    def nats(before: str, text: str) -> float:
        # " was big." costs 3 behind the ball and 1 behind the box; the box itself is improbable.
        return {"the ball": -1.0, "the ball was big.": -4.0,
                "the box": -9.0, "the box was big.": -10.0}[text]  # fmt: skip

    records = run(partial, Written(nats=nats), tmp_path / "out")
    assert records[0].details["scores"] == [-3.0, -1.0] and records[0].answer == "B"
    assert records[0].details["picks"]["plain"] == 0 and records[0].score == 1.0
    lines(tmp_path / "dev.jsonl", schema(0, ""))
    with pytest.raises(UserError, match=r"dev\.jsonl, line 1: expected one '_'"):
        read_task(f"winogrande@{tmp_path}")


def test_a_suffix_that_is_no_suffix_is_refused(tmp_path: Path) -> None:
    lines(tmp_path / "items.jsonl", {"question": "a", "choices": ["b c", "d e"], "target": 0,
                                     "meta": {"suffix": " c"}})  # fmt: skip
    text = "items: items.jsonl\nprotocol: {kind: choice_logprob, normalise: suffix}\n"
    (tmp_path / "t.yaml").write_text(text)
    with pytest.raises(UserError, match=r"every choice must end with `meta\.suffix`"):
        read_task(str(tmp_path / "t.yaml"))


def ending(at: int) -> dict[str, Any]:
    return {"ind": at, "activity_label": "Cooking", "ctx_a": f"Pan {at} is hot.", "ctx_b": "she",
            "endings": ["cooks.", "flies.", "sinks.", "sings."], "label": "0"}  # fmt: skip


def test_hellaswag_takes_examples_from_the_train_file(tmp_path: Path) -> None:
    lines(tmp_path / "hellaswag_val.jsonl", *(ending(at) for at in range(12)))
    assert [item.id for item in read_task(f"hellaswag@{tmp_path}").items] == ["10", "11"]
    lines(tmp_path / "hellaswag_train.jsonl", *(ending(at) for at in range(100, 120)))
    task = read_task(f"hellaswag@{tmp_path}")
    assert len(task.items) == 12
    assert [one.id for one in task.shots(task.items[0])] == [str(at) for at in range(100, 110)]


QUESTIONS = [{"question": f"Is it {at}?", "target": 0, "choices": ["yes", "no", "maybe"]}
             for at in range(8)]  # fmt: skip


def truthful(folder: Path) -> None:
    with (folder / "TruthfulQA.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["Type", "Category", "Question", "Best Answer", "Correct Answers",
                         "Incorrect Answers", "Source"])  # fmt: skip
        for at in range(8):
            writer.writerow(["Adversarial", f"kind {at % 2}", f"Is it {at}?", "No", "No; Never",
                             "Yes; Often;", "web"])  # fmt: skip


def test_truthfulqa_from_its_table(tmp_path: Path) -> None:
    truthful(tmp_path)
    task = read_task(f"truthfulqa@{tmp_path}")
    assert {frozenset(item.choices) for item in task.items} == {frozenset({"No", "Yes", "Often"})}
    assert all(item.choices[int(str(item.target))] == "No" for item in task.items)
    assert [item.meta["category"] for item in task.items[:2]] == ["kind 0", "kind 1"]
    both = read_task(f"truthfulqa:mc2@{tmp_path}")
    assert {item.target for item in both.items} <= {("No", "Never"), ("Never", "No")}


def test_mc2_is_the_share_of_probability_on_right_answers(tmp_path: Path) -> None:
    truthful(tmp_path)
    task = read_task(f"truthfulqa:mc2@{tmp_path}")
    p = {" No": 0.1, " Never": 0.2, " Yes": 0.05, " Often": 0.05}
    records = run(task, Written(nats=lambda prompt, text: math.log(p[text])), tmp_path / "out")
    assert [one.score for one in records] == [pytest.approx(0.3 / 0.4)] * 8
    sure = Written(nats=lambda prompt, text: 0.0 if text == " No" else -1e4, name="sure")
    assert {one.score for one in run(task, sure, tmp_path / "sure")} == {1.0}


def test_mc2_agrees_with_mc1_items_and_the_official_file(shared_data: Path) -> None:
    folder = shared_data / "evals" / "truthfulqa"
    task = read_task(f"truthfulqa:mc2@{folder}")
    assert len(task.items) == 817
    assert all(isinstance(item.target, tuple) for item in task.items)
    categories = {item.meta.get("category") for item in task.items}
    # One question of the official file is not in the table of the same release.
    assert len(categories - {None}) == 38
    assert sum("category" not in item.meta for item in task.items) <= 2


def test_few_shot_examples_from_the_set_itself_or_from_a_file(tmp_path: Path) -> None:
    truthful(tmp_path)
    (tmp_path / "few.yaml").write_text("suite: truthfulqa\npath: .\nshots: 5\n")
    task = read_task(str(tmp_path / "few.yaml"))
    assert [item.id for item in task.items] == ["5", "6", "7"]
    assert prompt(task).count("Q: ") == 6
    assert prompt(task).startswith("Q: Is it 0?\nA: No\n\n")
    lines(tmp_path / "primer.jsonl", *QUESTIONS[:2])
    (tmp_path / "few.yaml").write_text("suite: truthfulqa\npath: .\nfew_shot: primer.jsonl\n")
    task = read_task(str(tmp_path / "few.yaml"))
    assert len(task.items) == 8
    assert prompt(task).startswith("Q: Is it 0?\nA: yes\n\nQ: Is it 1?\nA: yes\n\n")
    (tmp_path / "few.yaml").write_text("suite: truthfulqa\npath: .\nshots: 9\n")
    with pytest.raises(UserError, match="9 examples wanted, 8 there"):
        read_task(str(tmp_path / "few.yaml"))


def test_several_right_choices_in_a_users_file(tmp_path: Path) -> None:
    row = {"question": "?", "choices": ["a", "b", "c"], "target": ["A", 2]}
    lines(tmp_path / "items.jsonl", row)
    (tmp_path / "t.yaml").write_text("items: items.jsonl\nprotocol: choice_logprob\n")
    (item,) = read_task(str(tmp_path / "t.yaml")).items
    assert item.target == ("a", "c")
    for target, message in ((["A", 3], "there are 3 choices"), ([0, 1, 2], "not of all")):
        lines(tmp_path / "items.jsonl", row | {"target": target})
        with pytest.raises(UserError, match=message):
            read_task(str(tmp_path / "t.yaml"))
    # In writing there is one letter: such items are refused.
    (tmp_path / "t.yaml").write_text("items: items.jsonl\nprotocol: choice_generate\n")
    lines(tmp_path / "items.jsonl", row)
    with pytest.raises(UserError, match="index of the right one"):
        read_task(str(tmp_path / "t.yaml"))


def test_mmlu_as_the_report_puts_it_in_other_languages(shared_data: Path) -> None:
    task = read_task(f"mmlu_language:machine_learning@{shared_data / 'evals' / 'mmlu'}")
    text = prompt(task)
    assert text.startswith(
        "A highly knowledgeable and intelligent artificial intelligence model answers "
        "multiple-choice questions about machine learning\n\n"
    )
    assert text.count("\n\nAnswer:") == 4 and text.count("\n\nA) ") == 4
    assert isinstance(task.protocol, ChoiceLogprob) and task.protocol.normalise == "plain"


@pytest.mark.parametrize(
    ("suite", "file", "text", "message"),
    [
        ("drop", "drop_dataset_dev.json", "{", "expected passages"),
        ("drop", "drop_dataset_dev.json", '{"p": {"passage": "x"}}', "qa_pairs"),
        ("drop", "drop_dataset_train.json", "{}", "holds no drop_dataset_dev.json"),
        ("bbh", "navigate.json", '{"rows": []}', "navigate.json: expected examples"),
        ("winogrande", "train_s.jsonl", "", "holds no dev.jsonl"),
        ("truthfulqa", "mc_task.json", '[{"question": "?"}]', "mc1_targets"),
        ("truthfulqa", "mc_task.json", '[{"question": "?", "mc1_targets": {"a": 0}}]', "entry 0"),
        ("truthfulqa", "TruthfulQA.csv", "Question\nWhy?\n", "row 1, field Category: missing"),
    ],
)
def test_broken_files_are_named(
    suite: str, file: str, text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / file).write_text(text)
    with pytest.raises(UserError, match=message) as told:
        read_task(f"{suite}@{tmp_path}")
    assert str(tmp_path) in str(told.value)
    for name in ("truthfulqa:mc3", "winogrande:full", "drop:x"):
        with pytest.raises(UserError, match="has no subset"):
            read_task(f"{name}@{tmp_path}")
