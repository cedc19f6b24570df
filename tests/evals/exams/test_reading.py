"""Folders of exams: what is read, and what is said of bad ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from foresight.document import Image
from foresight.errors import UserError
from foresight.evals.exams.exam import without_pictures
from foresight.evals.exams.reading import read_exam
from foresight.evals.layout import image_sha256
from tests.evals.exams.folders import EXAM, ROWS, write_exam

HOLDOUT = "holdout/mc.jsonl"


def test_a_folder_is_read(tmp_path: Path) -> None:
    exam = read_exam(write_exam(tmp_path / "exam"))
    assert (exam.name, exam.has_pictures) == ("Numbers 2021", True)
    mc, frq = exam.file.sections
    assert [one.id for one in exam.examples(mc)] == ["d0", "d1"]
    assert [one.id for one in exam.asked("development", mc)] == [f"d{at}" for at in range(2, 8)]
    assert len(exam.asked("holdout", mc)) == 10 and exam.examples(frq) == ()
    question = exam.halves["holdout"]["frq"][0]
    assert question.weight == 3 and len(question.meta["rubric"]) == 2
    parts = exam.parts
    assert (parts["mc"].points, parts["mc"].weight, parts["frq"].points) == (10, 1.2, 12)
    assert [one.ranges[0].date for one in exam.percentiles] == ["2021-05"]


def test_the_hash_is_of_the_holdout(tmp_path: Path) -> None:
    first = read_exam(write_exam(tmp_path / "a")).hash
    more = [*ROWS["development/mc.jsonl"], {"question": "New?", "choices": ["a", "b"], "target": 0}]
    scale = {"scale.csv": "raw,scaled\n0,1\n"}
    mended = write_exam(tmp_path / "b", rows={"development/mc.jsonl": more}, files=scale)
    assert read_exam(mended).hash == first
    rows = [*ROWS[HOLDOUT][:-1], {**ROWS[HOLDOUT][-1], "target": "B"}]
    assert read_exam(write_exam(tmp_path / "c", rows={HOLDOUT: rows})).hash != first


def test_placeholders_say_nothing(tmp_path: Path) -> None:
    exam = read_exam(write_exam(tmp_path / "exam"))
    (shown,) = (one for one in exam.halves["holdout"]["mc"] if one.id == "hp")
    (picture,) = (part for part in shown.parts if isinstance(part, Image))
    text = without_pictures(shown).text
    assert text == f"What is this?\nIMAGE: {image_sha256(picture)[:8]}.png\n"


def test_an_exam_whose_pictures_are_not_there(tmp_path: Path) -> None:
    rows = [{"parts": [{"text": "See "}, {"image": "red.png"}], "choices": ["a", "b"], "target": 0}]
    folder = write_exam(tmp_path / "exam", {"images": "placeholder"}, {HOLDOUT: rows},
                        {"scale.csv": "raw,scaled\n0,1\n"})  # fmt: skip
    (item,) = read_exam(folder).halves["holdout"]["mc"]
    assert "IMAGE: " in item.text and "red" not in item.text


def test_several_right_letters(tmp_path: Path) -> None:
    sections = [{"name": "mc", "format": "choices"}]
    rows = [{"question": "Even?", "choices": ["1", "2", "4"], "target": ["C", "B"]}]
    change = {"sections": sections, "scoring": {"method": "raw", "source": "t"}}
    folder = write_exam(tmp_path / "exam", change, {HOLDOUT: rows, "development/mc.jsonl": []},
                        {"scale.csv": None})  # fmt: skip
    (item,) = read_exam(folder).halves["holdout"]["mc"]
    assert (item.target, item.choices) == (("BC",), ("1", "2", "4"))


def test_line_signs_of_other_scripts_end_no_line(tmp_path: Path) -> None:
    """JSON strings may hold U+2028 and U+0085 unescaped."""
    row = {"question": "a\u2028b\x85c", "choices": ["a", "b"], "target": 0}
    text = json.dumps(row, ensure_ascii=False) + "\n"
    folder = write_exam(tmp_path / "exam", files={HOLDOUT: text, "scale.csv": "raw,scaled\n0,1\n"})
    (item,) = read_exam(folder).halves["holdout"]["mc"]
    assert item.text == "a\u2028b\x85c"


def line(text: str) -> int:
    """The line of the written exam.yaml that begins so."""
    import yaml

    lines = yaml.safe_dump(EXAM, sort_keys=False).splitlines()
    return next(at for at, one in enumerate(lines, start=1) if one.strip().startswith(text))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sections": None}, "exam.yaml, line 1, field sections: missing"),
        ({"source": None}, "exam.yaml, line 1, field source: missing"),
        ({"colour": "red"}, "exam.yaml, line 17, field colour: unknown"),
        ({"images": "some"}, "field images: Input should be 'required', 'optional' or"),
        ({"scoring": {"method": "table"}}, f"line {line('scoring')}, field scoring.sou"),
        ({"scoring": {"method": "guess", "source": "x"}}, "field scoring: Input tag 'guess'"),
        ({"scoring": "table"}, "field scoring: "),
        ({"report_row": "AP Magic"}, f"line {line('report_row')}, .*no row of it"),
        (
            {"sections": [{"name": "mc", "format": "choice"}, {"name": "frq", "format": "oral"}]},
            "line 9, field sections.1.format: Input should be 'choice'",
        ),
        (
            {"sections": [{"name": "mc", "format": "choice"}] * 2},
            "field sections: .*two sections have one name",
        ),
        (
            {"sections": [{"name": "mc", "format": "choice", "attempts": 10}]},
            "only problems of format code",
        ),
        (
            {"sections": [*EXAM["sections"], {"name": "lab", "format": "short"}]},
            "section lab has no questions; expected .*holdout/lab.jsonl",
        ),
        (
            {"sections": [{"name": "mc", "format": "choice"}]},
            "field scoring: scale.csv goes up to raw 22, the exam has at most 10",
        ),
        ({"scoring": {"method": "elo", "source": "x"}}, "all sections must have format code"),
    ],
)  # fmt: skip
def test_bad_exam_yaml(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_exam(write_exam(tmp_path / "exam", change))


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"question": "?", "choices": ["a", "b"]}, "field target: missing"),
        ({"question": "?", "choices": ["a", "b"], "target": "C"}, "field target: 'C'"),
        ({"choices": ["a", "b"], "target": "A"}, "give either `question`"),
        ({"question": "?", "choices": ["a", "b"], "target": "A", "answer": 1}, "field answer: unk"),
        ({"id": "h0", "question": "?", "choices": ["a", "b"], "target": 0}, "'h0' stands in .*1,"),
        (
            {"parts": [{"image": "images/gone.png"}], "choices": ["a", "b"], "target": 0},
            "images/gone.png: cannot be read",
        ),
        (
            {"parts": [{"image": "exam.yaml"}], "choices": ["a", "b"], "target": 0},
            "exam.yaml: not a readable image",
        ),
        (
            {"question": "Is 3 even?", "choices": ["yes", "no"], "target": "B"},
            "the same question is in the development half .*mc.jsonl, line 4",
        ),
        ({"question": "?", "choices": ["a", "b"], "target": 0, "points": 0}, "field points: .* 0"),
    ],
)  # fmt: skip
def test_bad_choice_questions(tmp_path: Path, question: dict[str, Any], message: str) -> None:
    rows = [*ROWS[HOLDOUT], question]
    folder = write_exam(tmp_path / "exam", rows={HOLDOUT: rows})
    with pytest.raises(UserError, match=message) as told:
        read_exam(folder)
    assert f"{folder / HOLDOUT}, line {len(rows)}" in str(told.value)


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (
            {"question": "?", "points": 4, "rubric": [{"criterion": "a", "points": 3}]},
            "field rubric: adds up to 3 points, `points` is 4",
        ),
        ({"question": "?", "rubric": [{"points": 3}]}, r"rubric, field criteria\.0\.name: missing"),
        ({"question": "?", "rubric": "good"}, "rubric, field .*should be a valid dictionary"),
        ({"question": "?", "points": 4}, "field rubric: missing"),
    ],
)
def test_bad_free_responses(tmp_path: Path, question: dict[str, Any], message: str) -> None:
    folder = write_exam(tmp_path / "exam", rows={"holdout/frq.jsonl": [question]})
    with pytest.raises(UserError, match=f"holdout/frq.jsonl, line 1.*{message}"):
        read_exam(folder)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"scale.csv": "raw,scaled\n0,2\n3,1\n"}, "scale.csv, line 3, field scaled"),
        ({"scale.csv": None}, "exam.yaml, field scoring: .*needs a scale.csv"),
        ({"percentiles.csv": "score,lower,upper\n"}, "percentiles.csv, line 1: no column popul"),
        ({"exam.yaml": "name: [\n"}, "exam.yaml: not valid YAML"),
        ({"exam.yaml": "- a\n"}, "exam.yaml, line 1: expected a mapping"),
        ({"exam.yaml": None}, "exam.yaml: cannot be read"),
        ({HOLDOUT: "{}\n{\n"}, "holdout/mc.jsonl, line 1"),
    ],
)  # fmt: skip
def test_bad_files(tmp_path: Path, files: dict[str, str | None], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_exam(write_exam(tmp_path / "exam", files=files))
