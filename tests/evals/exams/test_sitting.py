"""Exams put to models: prompts, arms, holdout runs that happen once."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from foresight.errors import UserError
from foresight.evals.exams.exam import Exam
from foresight.evals.exams.reading import read_exam
from foresight.evals.exams.sitting import Arm, Sat, sit, tasks
from foresight.evals.graders import Graded
from foresight.evals.layout import prompt_text
from foresight.evals.protocols import ChoiceGenerate, ChoiceLogprob, Code, FreeResponse
from foresight.evals.record import Reason
from foresight.evals.runner import Progress
from tests.evals.exams.folders import ROWS, write_exam
from tests.evals.models import Written


def silent(title: str) -> AbstractContextManager[Callable[[Progress], None]]:
    return nullcontext(lambda progress: None)


@pytest.fixture
def exam(tmp_path: Path) -> Exam:
    return read_exam(write_exam(tmp_path / "exam"))


def take(exam: Exam, out: Path, model: Written | None = None, arm: Arm | None = None) -> Sat:
    model = model or Written(lambda prompt, request: "A")
    return sit(exam, arm or Arm("holdout"), model, out, exam.folder / "holdout.jsonl", silent)


def ledger(exam: Exam) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (exam.folder / "holdout.jsonl").read_text().splitlines()]


def test_protocols_are_those_of_the_report(exam: Exam) -> None:
    asked = tasks(exam, Arm("holdout"))
    letter, free = asked["mc"].protocol, asked["frq"].protocol
    assert isinstance(letter, ChoiceGenerate) and isinstance(free, FreeResponse)
    assert (letter.temperature, letter.explanation_tokens) == (0.3, 512)
    assert letter.phrase == "\nThe answer is therefore"
    assert free.temperature == 0.6
    first = asked["mc"].items[0]
    assert prompt_text(letter.prompt(asked["mc"].attempt(first))) == (
        "ANSWER KEY\n\nHere are the answers for the problems in the exam.\n\n"
        "Problem 1. Is 0 even?\nChoose from the following options:\n[A] yes\n[B] no\n"
        "Explanation for Problem 1: 0 / 2 leaves 0.\nThe answer is therefore [A]\n\n"
        "Problem 2. Is 1 even?\nChoose from the following options:\n[A] yes\n[B] no\n"
        "Explanation for Problem 2: 1 / 2 leaves 1.\nThe answer is therefore [B]\n\n"
        "Problem 3. Is 0 odd?\nChoose from the following options:\n[A] yes\n[B] no\n"
        "Explanation for Problem 3:"
    )
    assert prompt_text(free.prompt(asked["frq"].attempt(asked["frq"].items[0]))) == (
        "Why is 0 a number?"
    )
    by_logprob = tasks(exam, Arm("holdout", choices="logprob"))
    assert isinstance(by_logprob["mc"].protocol, ChoiceLogprob)


def test_examples_are_of_the_development_half_alone(tmp_path: Path) -> None:
    rows = [{**row, "solution": "SECRET"} for row in ROWS["holdout/mc.jsonl"]]
    exam = read_exam(write_exam(tmp_path / "exam", rows={"holdout/mc.jsonl": rows}))
    model = Written(lambda prompt, request: "A")
    for half in ("development", "holdout"):
        take(exam, tmp_path / half, model, Arm(half))  # type: ignore[arg-type]
    prompts = [prompt_text(request.prompt) for request in model.requests]  # type: ignore[arg-type]
    assert len(prompts) == 2 * 6 + 1 + 2 * 10 + 4
    assert not any("SECRET" in prompt for prompt in prompts)
    # What serves as an example is not asked, or its answer would stand in its own prompt.
    assert all(prompt.count("Is 0 even?") <= 1 for prompt in prompts)


def test_pictures_and_their_placeholders(exam: Exam, tmp_path: Path) -> None:
    seen = take(exam, tmp_path / "seen").records["mc"]
    blind = take(exam, tmp_path / "blind", arm=Arm("holdout", images=False)).records["mc"]
    (shown,), (hidden,) = ([one for one in some if one.item == "hp"] for some in (seen, blind))
    assert "[image " in shown.prompt and "IMAGE: " not in shown.prompt
    assert "IMAGE: " in hidden.prompt and "red-square" not in hidden.prompt
    assert len(ledger(exam)) == 4, "without pictures it is another method"


def test_pictures_that_are_required(tmp_path: Path) -> None:
    exam = read_exam(write_exam(tmp_path / "exam", {"images": "required"}))
    with pytest.raises(UserError, match="field images: required"):
        tasks(exam, Arm("holdout", images=False))


def test_a_second_run_is_known_as_such(exam: Exam, tmp_path: Path) -> None:
    first = take(exam, tmp_path / "one")
    assert first.run and first.run.number == 1
    model = Written(lambda prompt, request: "B")
    again = take(exam, tmp_path / "one", model)
    assert model.asked == 0 and again == first, "the finished run is read, not asked"
    second = take(exam, tmp_path / "two")
    assert second.run and second.run.number == 2
    other = take(exam, tmp_path / "three", Written(lambda prompt, request: "A", name="other"))
    assert other.run and other.run.number == 1
    by_logprob = take(exam, tmp_path / "four", arm=Arm("holdout", choices="logprob"))
    assert by_logprob.run and by_logprob.run.number == 1
    assert by_logprob.run.other_methods == 1


def test_an_interrupted_run_goes_on_as_the_same(exam: Exam, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        take(exam, tmp_path / "one", Written(lambda prompt, request: "A", stop_after=14))
    assert [row["event"] for row in ledger(exam)] == ["begun"]
    model = Written(lambda prompt, request: "A")
    done = take(exam, tmp_path / "one", model)
    assert done.run and (done.run.number, done.run.abandoned) == (1, 0)
    assert [row["event"] for row in ledger(exam)] == ["begun", "finished"]
    assert model.asked < 24
    whole = take(exam, tmp_path / "two")
    assert whole.records == done.records


def test_a_run_that_is_dropped_is_told(exam: Exam, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        take(exam, tmp_path / "one", Written(lambda prompt, request: "A", stop_after=14))
    run = take(exam, tmp_path / "two").run
    assert run and (run.number, run.abandoned) == (1, 1)


def test_unanswered_questions_leave_the_run_open(exam: Exam, tmp_path: Path) -> None:
    broken = Written(lambda prompt, request: "A", finish="failed")
    assert take(exam, tmp_path / "one", broken).run is None
    mended = take(exam, tmp_path / "one")
    assert mended.run and mended.run.number == 1


def test_edited_records_and_ledgers_are_refused(exam: Exam, tmp_path: Path) -> None:
    take(exam, tmp_path / "one")
    records = tmp_path / "one" / "mc" / "records.jsonl"
    kept = records.read_text()
    records.write_text(kept.replace('"score":0.0', '"score":1.0'))
    with pytest.raises(UserError, match="not those that were finished"):
        take(exam, tmp_path / "one")
    records.write_text(kept)
    path = exam.folder / "holdout.jsonl"
    first, second = path.read_text().splitlines()
    for text in (first.replace("written", "another") + f"\n{second}\n", f"{second}\n"):
        path.write_text(text)
        with pytest.raises(UserError, match=r"holdout.jsonl, line .*chain is broken"):
            take(exam, tmp_path / "two")
    path.write_text("{}\n")
    with pytest.raises(UserError, match="line 1: no line of a holdout's ledger"):
        take(exam, tmp_path / "two")
    path.unlink()
    with pytest.raises(UserError, match="knows no run"):
        take(exam, tmp_path / "one")


def test_a_directory_is_of_one_model(exam: Exam, tmp_path: Path) -> None:
    take(exam, tmp_path / "one")
    with pytest.raises(UserError, match="another model, method or exam"):
        take(exam, tmp_path / "one", Written(name="other"))


def test_answers_wait_for_people_and_are_not_asked_again(exam: Exam, tmp_path: Path) -> None:
    model = Written(lambda prompt, request: "because")
    arm = Arm("development")
    first = take(exam, tmp_path / "one", model, arm)
    assert [one.reason for one in first.records["frq"]] == [Reason.UNGRADED]
    asked = model.asked
    assert take(exam, tmp_path / "one", model, arm) == first and model.asked == asked


def test_codes_are_attempted_several_times(tmp_path: Path) -> None:
    rows = [{"question": "Write f.", "target": "assert f() == 1", "group": "c1",
             "meta": {"rating": 800}}]  # fmt: skip
    change = {
        "sections": [{"name": "code", "format": "code", "attempts": 10}],
        "scoring": {"method": "elo", "source": "GPT-4 report, appendix A.6"},
    }
    folder = write_exam(tmp_path / "exam", change, {"holdout/code.jsonl": rows},
                        {"scale.csv": None})  # fmt: skip
    protocol = tasks(read_exam(folder), Arm("holdout"))["code"].protocol
    assert isinstance(protocol, Code) and protocol.temperature == 0.6 and not protocol.continues
    rows[0].pop("group")
    bad = write_exam(tmp_path / "bad", change, {"holdout/code.jsonl": rows}, {"scale.csv": None})
    with pytest.raises(UserError, match=r"code.jsonl, line 1: scoring method elo needs `group`"):
        read_exam(bad)


@pytest.mark.parametrize(
    ("kind", "target", "output", "right"),
    [
        ("choices", ["A", "C"], "Both.\nThe answer is therefore [C, A]", 1.0),
        ("choices", ["A", "C"], "The answer is therefore [AC]\n\nProblem 9", 1.0),
        ("choices", ["A", "C"], "The answer is therefore [A and C]", 1.0),
        ("choices", ["A", "C"], "The answer is therefore [A]", 0.0),
        ("choices", ["A", "C"], "The answer is therefore [A, B, C]", 0.0),
        ("choices", ["A", "C"], "A and C", None),
        ("choices", ["A", "C"], "The answer is therefore [both]", None),
        ("short", "1,000", "So.\nThe answer is therefore [$1000.0]", 1.0),
        ("short", "x + 1", "The answer is therefore [x  + 1]", 1.0),
        ("short", "12", "The answer is therefore [13]", 0.0),
        ("short", "12", "The answer is therefore [12", None),
    ],
)
def test_answers_in_brackets(
    tmp_path: Path, kind: str, target: Any, output: str, right: float | None
) -> None:
    row = {"question": "?", "target": target}
    row |= {"choices": ["a", "b", "c"]} if kind == "choices" else {}
    change = {
        "sections": [{"name": "s", "format": kind}],
        "scoring": {"method": "raw", "source": "t"},
    }
    folder = write_exam(tmp_path / "exam", change, {"holdout/s.jsonl": [row]}, {"scale.csv": None})
    task = tasks(read_exam(folder), Arm("holdout"))["s"]
    assert isinstance(task.protocol, FreeResponse)
    (verdict,) = task.protocol.grader.grade([Graded(task.items[0], "", output)])
    assert verdict.reason == (Reason.INVALID_FORMAT if right is None else Reason.OK)
    assert verdict.score == (right or 0.0)
    assert task.protocol.temperature == (0.3 if kind == "choices" else 0.6)


def test_sections_without_pictures_are_answered_once_for_both_arms(
    exam: Exam, tmp_path: Path
) -> None:
    first, second = (Written(lambda prompt, request: "A") for _ in range(2))
    seen = take(exam, tmp_path / "holdout", first)
    arm = Arm("holdout", images=False)
    blind = take(exam, tmp_path / arm.name, second, arm)
    assert blind.records["frq"] == seen.records["frq"] and len(seen.records["frq"]) == 4
    assert first.asked - second.asked == 4, "the letters are asked again: one has a picture"
    other = take(exam, tmp_path / "other" / arm.name, Written(name="other"), arm)
    assert {one.model for one in other.records["frq"]} == {"other"}
