"""`foresight exam` and `foresight import-exams` as a user types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from foresight.evals.people.desk import Sharing
from foresight.evals.people.grading import Answers, GradeDesk
from foresight.evals.people.rubrics import read_rubrics
from tests.command import typed
from tests.evals.exams.folders import write_exam
from tests.evals.models import Written


@pytest.fixture(autouse=True)
def models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Models say A to everything; the judge finds every criterion met."""
    monkeypatch.chdir(tmp_path)

    def open_model(name: str, keep_end: bool = False) -> Written:
        return Written(lambda prompt, request: "Yes" if name == "judge" else "A", name=name)

    monkeypatch.setattr("foresight.inference.open.open_model", open_model)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_exam(tmp_path / "numbers")


def run(*words: object) -> Any:
    done = typed("exam", *words, "--json")
    assert done.returncode == 0, done.stderr
    (one,) = json.loads(done.stdout)["exams"]
    return one


HOLDOUT = ("--half", "holdout")


def test_an_exam_is_taken_graded_and_scored(folder: Path, tmp_path: Path) -> None:
    first = run("m", folder, *HOLDOUT)
    assert first["result"]["full"] is None and first["awaiting"] == 4
    section = tmp_path / "runs/exams/m/numbers/holdout/frq"
    answers = Answers.read(section)
    with GradeDesk(answers, read_rubrics(str(folder)), Sharing(("ann", "bob"), 1.0)) as desk:
        for name in ("ann", "bob"):
            while (shown := desk.card(name)["card"]) is not None:
                points = {one["name"]: one["points"] - 0.5 for one in shown["criteria"]}
                desk.enter(name, {"id": shown["id"], "action": "grade", "criteria": points})
    grades = section / "grades.jsonl"
    second = run("m", folder, *HOLDOUT, "--grades", grades)
    # 1.2 * 6 of 10 letters and 8 of 12 points are 15.2: a 3.
    assert second["result"]["full"]["score"] == 3 and second["awaiting"] == 0
    assert second["result"]["full"]["percentiles"][0]["lower"] == 45
    (agreed,) = second["grading"]["agreement"]
    assert agreed["n"] == 4 and agreed["same"]["mean"] == 1
    assert second["run"]["number"] == 1, "grading is no second run"
    shown = typed("exam", "m", folder, *HOLDOUT, "--grades", grades).stdout
    for words in (
        "Numbers 2021", "45-66 (95 %:", "takers of the form, 2021-05", "5 (85-100)", "arXiv:2303",
        "section frq (free_response", "4 of 4 answers graded: ann 4, bob 4", "ann, bob",
    ):  # fmt: skip
        assert words in shown, words


def test_a_second_run_is_marked(folder: Path) -> None:
    run("m", folder, *HOLDOUT, "--grader", "judge", "--out", "one")
    again = run("m", folder, *HOLDOUT, "--grader", "judge", "--out", "two")
    assert again["run"]["number"] == 2
    assert "run 2 of this model and method on the holdout" in again["notes"]
    done = typed("exam", "m", folder, *HOLDOUT, "--grader", "judge", "--out", "two")
    assert "Numbers 2021 (2nd run)" in done.stdout
    first = typed("exam", "m", folder, *HOLDOUT, "--grader", "judge", "--out", "one")
    assert "2nd run" not in first.stdout


def test_without_pictures_and_clean(folder: Path, tmp_path: Path) -> None:
    seen = run("m", folder, "--grader", "judge", *HOLDOUT)
    ids = tmp_path / "ids.txt"
    ids.write_text("hp\nh1\nh3\nh5\nf1\n")
    words = (*HOLDOUT, "--grader", "judge", "--no-images", "--contaminated", ids)
    blind = run("m", folder, *words)
    assert blind["other_arm"] == seen["result"]["full"]["score"]
    assert not blind["images"] and blind["result"]["contaminated"] == 5
    assert blind["result"]["clean"]["score"] <= blind["result"]["full"]["score"]
    shown = typed("exam", "m", folder, *words).stdout
    assert (
        "pictures removed" in shown
        and "5 questions contaminated: full 4, clean 3, of all points" in shown
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--contaminated", "ids.txt"), "ids.txt, line 2: 'nobody' is no question"),
        (("--grades", "none.jsonl"), "none.jsonl: cannot be read"),
        (("--half", "holdout", "--ledger", "."), "cannot be"),
    ],
)
def test_bad_words(folder: Path, tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    (tmp_path / "ids.txt").write_text("h0\nnobody\n")
    done = typed("exam", "m", folder, *words)
    assert done.returncode == 2 and message in done.stderr


def test_an_interruption_exits_with_130(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "foresight.inference.open.open_model",
        lambda name, keep_end: Written(lambda prompt, request: "A", stop_after=5),
    )
    done = typed("exam", "m", folder)
    assert done.returncode == 130 and "call again to go on" in done.stderr


def test_import(shared_data: Path, tmp_path: Path) -> None:
    source = f"agieval@{shared_data / 'evals' / 'agieval'}"
    done = typed("import-exams", source, "--to", tmp_path / "exams", "--json")
    assert done.returncode == 0 and len(json.loads(done.stdout)) == 17
    taken = run("m", tmp_path / "exams" / "sat-math", "--choices", "logprob")
    assert taken["published"]["gpt4"] == "700/800" and taken["result"]["unit"] == "share of points"
    assert any("not comparable" in note for note in taken["notes"])
    assert typed("import-exams", "gre@x", "--to", tmp_path).returncode == 2


def test_percentiles_are_drawn(folder: Path, tmp_path: Path) -> None:
    figure = tmp_path / "figure.svg"
    run("m", folder, *HOLDOUT, "--grader", "judge", "--figure", figure)
    drawn = figure.read_text()
    for words in ("<svg", "Numbers 2021", "GPT-4", "GPT-3.5"):
        assert words in drawn, words
    (folder / "percentiles.csv").unlink()
    refused = typed("exam", "m", folder, *HOLDOUT, "--grader", "judge", "--figure", figure)
    assert refused.returncode == 2 and "percentiles.csv" in refused.stderr
