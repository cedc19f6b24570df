"""Tables of the hub read like the official files: same items, same prompts, same hash."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from foresight.errors import UserError
from foresight.evals.layout import prompt_text
from foresight.evals.reading import read_task

datasets: Any = pytest.importorskip("datasets", reason="the extra `hf` is not installed")


def save(folder: Path, **splits: list[dict[str, Any]]) -> Path:
    """As `save_to_disk` writes it."""
    made = {name: datasets.Dataset.from_list(rows) for name, rows in splits.items()}
    datasets.DatasetDict(made).save_to_disk(folder)
    return folder


def parquet(folder: Path, **splits: list[dict[str, Any]]) -> Path:
    """As the hub stores it."""
    for name, rows in splits.items():
        (folder / "data").mkdir(parents=True, exist_ok=True)
        datasets.Dataset.from_list(rows).to_parquet(
            folder / "data" / f"{name}-00000-of-00001.parquet"
        )
    return folder


def test_mmlu_is_the_same_from_files_and_from_parquet(tmp_path: Path) -> None:
    rows = [{"question": f"a, \"b\" {at}?\nOr", "subject": "law", "choices": list("wxyz"),
             "answer": at % 4} for at in range(8)]  # fmt: skip
    for split, some in (("dev", rows[:5]), ("test", rows[5:])):
        text = io.StringIO()
        csv.writer(text).writerows(
            [one["question"], *one["choices"], "ABCD"[one["answer"]]] for one in some
        )
        (tmp_path / f"law_{split}.csv").write_text(text.getvalue())
    folder = parquet(tmp_path / "hub", dev=rows[:5], test=rows[5:], auxiliary_train=rows)
    for suite in ("mmlu", "mmlu_language", "mmlu:law"):
        ours, theirs = (read_task(f"{suite}@{one}") for one in (tmp_path, f"hub:{folder}"))
        assert ours.hash == theirs.hash and len(theirs.items) == 3


def test_lines_that_are_the_official_ones(tmp_path: Path) -> None:
    math = [
        {"question": f"1 + {at}?", "answer": f"So.\u2028Yes.\n#### {at + 1}"} for at in range(7)
    ]
    folder = save(tmp_path / "gsm", train=math[:5], test=math[5:])
    assert len(read_task(f"gsm8k@hub:{folder}").items) == 2
    code = {
        "task_id": "HumanEval/0",
        "prompt": 'def f():\n    """One."""\n',
        "entry_point": "f",
        "canonical_solution": "    return 1\n",
        "test": "def check(c):\n    assert c() == 1\n",
    }
    (item,) = read_task(f"humaneval@hub:{save(tmp_path / 'he', test=[code])}").items
    assert item.id == "HumanEval/0"
    schema = [{"sentence": f"{at} _ x.", "option1": "a", "option2": "b", "answer": "1"}
              for at in range(9)]  # fmt: skip
    folder = save(tmp_path / "wino", train=schema[:6], validation=schema[6:], test=schema)
    assert len(read_task(f"winogrande@hub:{folder}").items) == 3


def test_tables_that_are_laid_out_otherwise(tmp_path: Path) -> None:
    arc = [{"id": f"q{at}", "question": "Why?", "answerKey": "B",
            "choices": {"text": ["p", "q"], "label": ["A", "B"]}} for at in range(30)]  # fmt: skip
    folder = save(tmp_path / "arc", train=arc[:25], test=arc[25:])
    task = read_task(f"arc@hub:{folder}")
    assert len(task.items) == 5 and task.items[0].target == 1
    mc = {"choices": ["yes", "no"], "labels": [0, 1]}
    rows = [{"question": "Is it?", "mc1_targets": mc, "mc2_targets": mc}]
    folder = save(tmp_path / "tqa", validation=rows)
    (item,) = read_task(f"truthfulqa@hub:{folder}").items
    assert item.choices[int(str(item.target))] == "no"
    assert read_task(f"truthfulqa:mc2@hub:{folder}").items[0].target == ("no",)
    bbh = save(tmp_path / "bbh", test=[{"input": f"{at}?", "target": "(A)"} for at in range(5)])
    assert read_task(f"bbh@hub:{bbh}:navigate").items[0].id == "navigate/3"
    drop = [
        {"section_id": f"p{at}", "query_id": f"q{at}", "passage": "P.", "question": "Q?",
         "answer": {"number": "", "date": {"day": "", "month": "", "year": ""},
                    "spans": ["x", "y"], "worker_id": "", "hit_id": ""},
         "validated_answers": {"number": ["2", ""], "spans": [[], ["z"]],
                               "date": [{"day": "", "month": "", "year": ""}] * 2,
                               "worker_id": ["", ""], "hit_id": ["", ""]}}
        for at in range(4)
    ]  # fmt: skip
    (item,) = read_task(f"drop@hub:{save(tmp_path / 'drop', validation=drop)}").items
    assert item.target == ("x | y", "2", "z")
    mgsm = [{"question": "1 + 1?", "answer": None, "answer_number": 2}]
    worked = [{"question": "Frage: 2 + 2?", "answer": "Antwort: Vier. 4", "answer_number": 4}] * 8
    folder = save(tmp_path / "mgsm", train=worked, test=mgsm)
    task = read_task(f"mgsm@hub:{folder}:de")
    asked = prompt_text(task.protocol.prompt(task.attempt(task.items[0])))
    assert asked.startswith("Frage: 2 + 2?\nAntwort: Vier. 4\n\nFrage: 2 + 2?")
    assert asked.endswith("\n\nFrage: 1 + 1?\nAntwort:") and task.items[0].target == ("2",)
    mbpp = [{"task_id": at, "text": "Add.", "code": "def f(): return 1", "test_setup_code": "",
             "test_list": ["assert f() == 1"], "challenge_test_list": []}
            for at in (11, 12, 1, 2, 3)]  # fmt: skip
    folder = save(tmp_path / "mbpp", test=mbpp[:2], prompt=mbpp[2:])
    assert [one.id for one in read_task(f"mbpp@hub:{folder}").items] == ["11", "12"]
    context = [{"ind": at, "activity_label": "a", "ctx_a": "b", "ctx_b": "c", "label": "1",
                "endings": ["d", "e"]} for at in range(12)]  # fmt: skip
    folder = save(tmp_path / "hs", train=context[:10], validation=context[10:])
    assert len(read_task(f"hellaswag@hub:{folder}").items) == 2


def test_a_suite_in_yaml_may_come_from_the_hub(tmp_path: Path) -> None:
    bbh = save(tmp_path / "bbh", test=[{"input": f"{at}?", "target": "(A)"} for at in range(5)])
    spec = {"suite": "bbh", "path": f"hub:{bbh}:navigate", "shots": 0}
    (tmp_path / "t.yaml").write_text(json.dumps(spec))
    assert len(read_task(str(tmp_path / "t.yaml")).items) == 5


def test_other_columns_and_what_is_not_there_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save(tmp_path / "x", test=[{"text": "?"}])
    with pytest.raises(UserError, match=r"not the columns of mmlu's table .* cais/mmlu"):
        read_task(f"mmlu@hub:{folder}")
    with pytest.raises(UserError, match="agieval is read from files; from the hub can be arc"):
        read_task("agieval@hub:x")
    # Offline: the hub's client is told so, and asks nobody.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"hub:no/such:de: cannot be opened .*is there a network"):
        read_task("mgsm@hub:no/such:de")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"pip install 'foresight\[hf\]'"):
        read_task("mgsm@hub:no/such:de")
