"""The embedded exam: in order, taken once per run, ranked among the ladder's models."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from foresight.errors import UserError
from foresight.evals.exams.ladder import (
    exam_folder,
    examine,
    is_examined,
    prepare,
    rank_among,
    read_marks,
)
from foresight.evals.exams.library import GUESSED, QUESTIONS
from foresight.evals.exams.reading import read_exam
from foresight.evals.layout import prompt_text
from foresight.report.exam_chapter import exam_chapter
from foresight.runs import Run, write_json
from foresight.views.exams import show_marks
from tests.evals.models import Written


def run(directory: Path, name: str, flops: float) -> Run:
    found = Run(directory / "ladder" / name)
    found.path.mkdir(parents=True)
    write_json(found.result_path, {"compute_flops": flops})
    return found


def knows(directory: Path) -> dict[str, str]:
    """Right answers by question, told to the model that knows them all."""
    questions = read_exam(exam_folder(directory)).questions.values()
    return {
        prompt_text(one.parts): one.choices[one.target]
        for one in questions
        if isinstance(one.target, int)
    }


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Run]]:
    directory = tmp_path_factory.mktemp("experiment")
    prepare(directory)
    runs = [run(directory, "guesses", 1e9), run(directory, "knows", 1e12)]
    right = knows(directory)

    def nats(prompt: str, choice: str) -> float:
        return 0.0 if choice.strip() == right.get(prompt) else -9.0

    models = {"guesses": Written(name="guesses"), "knows": Written(nats=nats, name="knows")}
    for one in runs:
        examine(directory, one, lambda path: models[path.name])
    rank_among(directory, runs)
    return directory, runs


def test_the_exam_is_in_order_and_its_halves_share_no_fact(taken: tuple[Path, list[Run]]) -> None:
    exam = read_exam(exam_folder(taken[0]))
    for half, sections in exam.halves.items():
        for kind, items in sections.items():
            assert len(items) == QUESTIONS[kind], (half, kind)
    for kind in QUESTIONS:
        halves = [{one.group for one in sections[kind]} for sections in exam.halves.values()]
        assert not halves[0] & halves[1]
    told = [one.meta["told"] for one in exam.questions.values()]
    assert 0.5 < sum(told) / len(told) < 0.95


def test_who_knows_is_above_who_guesses(taken: tuple[Path, list[Run]]) -> None:
    guesses, blind, knows_all, unseeing = read_marks(*taken)
    assert guesses.images and not blind.images
    assert guesses.low is not None and guesses.high is not None
    assert guesses.low < GUESSED < guesses.high
    # All choices right, no program: 135 of 165 points; and without pictures these cannot be known.
    assert knows_all.score == pytest.approx(135 / 165)
    assert knows_all.low is not None and knows_all.low > GUESSED
    assert knows_all.sections["table"] == 1.0 and unseeing.sections["table"] < 0.5
    assert unseeing.sections["module"] == 1.0
    assert knows_all.sections["complete"] == 0.0


def test_percentiles_are_of_models_and_say_so(taken: tuple[Path, list[Run]]) -> None:
    marks = read_marks(*taken)
    ranks = [one.percentile for one in marks if one.images]
    assert [(rank.lower, rank.upper) for rank in ranks if rank] == [(0, 50), (50, 100)]
    assert ranks[0] and ranks[0].population.startswith("2 models of this ladder")


def test_the_terminal_shows_it(taken: tuple[Path, list[Run]]) -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    show_marks(console, read_marks(*taken))
    text = console.export_text()
    assert "guessing brings 20.5 %" in text and "100/100/100/100/0" in text
    show_marks(console, [])


def test_a_run_takes_the_holdout_once(taken: tuple[Path, list[Run]], tmp_path: Path) -> None:
    """Again: nothing is asked. With its records thrown away: told as a second run."""
    directory = tmp_path / "copy"
    shutil.copytree(taken[0], directory)
    one = Run(directory / "ladder" / "guesses")
    asked = Written(name="guesses")
    assert is_examined(directory, one)
    examine(directory, one, lambda path: asked)
    assert asked.asked == 0
    shutil.rmtree(directory / "exams" / "runs" / "guesses")
    assert not is_examined(directory, one)
    examine(directory, one, lambda path: asked)
    assert asked.asked > 0
    assert [mark.repeated for mark in read_marks(directory, [one])] == [2, 2]
    text = json.dumps([vars(block) for block in exam_chapter(directory, [one]).blocks])
    assert "Took the holdout more than once: guesses." in text


def test_the_chapter_shows_every_run_and_says_what_is_missing(
    taken: tuple[Path, list[Run]], tmp_path: Path
) -> None:
    text = json.dumps([vars(block) for block in exam_chapter(*taken).blocks])
    assert "guesses" in text and "81.8" in text and "no people took it" in text
    assert "Not taken yet" in str(exam_chapter(tmp_path, []).blocks)
    prepare(tmp_path)
    (exam_folder(tmp_path) / "exam.yaml").write_text("name: 1\n")
    assert "field sections: missing" in str(exam_chapter(tmp_path, []).blocks)
    with pytest.raises(UserError):
        read_marks(tmp_path, [])
