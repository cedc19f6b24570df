"""A good exam is read; a bad one is refused with file and line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foresight.errors import UserError
from foresight.evals.exams.folder import import_agieval, write_library_exam
from foresight.evals.exams.reading import read_exam
from tests.evals.exams.folders import essays, lines, questions, write


def test_a_folder_is_read(tmp_path: Path) -> None:
    exam = read_exam(write(tmp_path))
    choice, essay = exam.sections
    assert [item.id for item in choice.examples()] == ["q0"]
    assert [item.id for item in choice.asked("development")] == ["q2", "q4", "q6"]
    assert [item.id for item in choice.asked("holdout")] == ["q1", "q3", "q5", "q7"]
    assert [item.id for item in essay.asked("holdout")] == ["eholdout"]
    assert exam.percentiles and exam.sha256 == read_exam(tmp_path).sha256


def test_the_hash_covers_questions_percentiles_and_pictures(tmp_path: Path) -> None:
    first = read_exam(write(tmp_path)).sha256
    rows = questions()
    lines(tmp_path / "choice.jsonl", rows[:-1] + [rows[-1] | {"target": "A"}])
    changed = read_exam(tmp_path).sha256
    write(tmp_path)
    (tmp_path / "p.png").write_bytes((tmp_path / "p.png").read_bytes())
    assert read_exam(tmp_path).sha256 == first != changed


def _key(rows: list[dict[str, Any]]) -> None:
    del rows[4]["target"]


def _half(rows: list[dict[str, Any]]) -> None:
    rows[2]["meta"] = {}


def _picture(rows: list[dict[str, Any]]) -> None:
    rows[1]["parts"] = [{"image": "gone.png"}, {"text": "?"}]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_key, r"choice\.jsonl, line 5, field target"),
        (_half, r"choice\.jsonl, line 3, field meta\.half"),
        (_picture, r"choice\.jsonl, line 2: .*gone\.png"),
    ],
)
def test_bad_questions(
    tmp_path: Path, spoil: Callable[[list[dict[str, Any]]], None], told: str
) -> None:
    write(tmp_path)
    rows = questions()
    spoil(rows)
    lines(tmp_path / "choice.jsonl", rows)
    with pytest.raises(UserError, match=told):
        read_exam(tmp_path)


def test_rubric_points_must_add_up(tmp_path: Path) -> None:
    write(tmp_path)
    lines(tmp_path / "essay.jsonl", [essays()[0], essays()[1] | {"weight": 5}])
    with pytest.raises(UserError, match=r"essay\.jsonl, line 2, .*add up to 4, .* weight is 5"):
        read_exam(tmp_path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("raw,scaled\n0,1\n2,3\n5,2\n", r"scale\.csv, line 4, field scaled: 2 falls from 3"),
        ("raw,scaled\n0,1\n0,2\n", r"scale\.csv, line 3, field raw: 0 does not rise"),
        ("raw,scaled\n0,x\n", r"scale\.csv, line 2, field scaled: 'x' is no number"),
        ("raw\n0\n", r"scale\.csv, line 1: expected the columns raw, scaled"),
        ("raw,scaled\n", r"scale\.csv: has no rows"),
    ],
)
def test_bad_scales(tmp_path: Path, text: str, told: str) -> None:
    write(tmp_path, scoring={"method": "table"})
    (tmp_path / "scale.csv").write_text(text)
    with pytest.raises(UserError, match=told):
        read_exam(tmp_path)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("95,60,101,class of one,2020,made for a test", "line 6, field upper: 101"),
        ("95,80,70,class of one,2020,made for a test", "line 6: lower 80 is above upper 70"),
        ("95,50,100,class of one,2020,made for a test", "line 6: percentiles fall"),
        ("90,60,100,class of one,2020,made for a test", "line 6, field score: 90 does not rise"),
        ("95,60,100,,2020,made for a test", "line 6, field population: empty"),
        ("95,60,100,class of one,2020", "line 6: 5 cells under 6 columns"),
    ],
)
def test_bad_percentiles(tmp_path: Path, row: str, told: str) -> None:
    folder = write(tmp_path)
    path = folder / "percentiles.csv"
    path.write_text(path.read_text() + row + "\n")
    with pytest.raises(UserError, match=f"percentiles.csv, {told}"):
        read_exam(folder)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"title": None}, r"line 2, field title"),
        ({"colour": 1}, r"line \d+, field colour: unknown"),
        ({"scoring": {"method": "linear", "low": 9, "high": 1}}, "low 9 is not below high 1"),
        ({"scoring": {"method": "magic"}}, "field scoring"),
        ({"sections": []}, "field sections"),
        ({"images": "none"}, "field images: none, but question q0 has a picture"),
    ],
)
def test_bad_settings(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        read_exam(write(tmp_path, **changes))


def test_missing_files_and_double_names(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"exam\.yaml: cannot be read"):
        read_exam(tmp_path)
    write(tmp_path)
    lines(tmp_path / "essay.jsonl", [essays()[0], essays()[1] | {"id": "q3"}])
    with pytest.raises(UserError, match="question id 'q3' occurs twice"):
        read_exam(tmp_path)
    lines(tmp_path / "essay.jsonl", essays()[:1])
    with pytest.raises(UserError, match="no question of the holdout half"):
        read_exam(tmp_path)


def test_the_embedded_exam_is_in_order_and_its_halves_share_no_fact(tmp_path: Path) -> None:
    write_library_exam(tmp_path)
    exam = read_exam(tmp_path)
    assert {section.name for section in exam.sections} == {
        "module", "returns", "bug", "table", "complete",
    }  # fmt: skip
    for section in exam.sections:
        groups = [{item.group for item in section.items[half]} for half in section.items]
        assert not groups[0] & groups[1] and all(len(group) > 5 for group in groups)
    text = (tmp_path / "module.jsonl").read_text()
    write_library_exam(tmp_path)
    assert text == (tmp_path / "module.jsonl").read_text()


def test_agieval_becomes_a_folder(shared_data: Path, tmp_path: Path) -> None:
    count = import_agieval(shared_data / "evals" / "agieval", "lsat-ar", tmp_path)
    (section,) = read_exam(tmp_path).sections
    halves = [len(items) for items in section.items.values()]
    assert sum(halves) == count > 200 and min(halves) > 0.35 * count
    first = json.loads((tmp_path / "questions.jsonl").read_text().splitlines()[0])
    assert first["target"] in "ABCDE"
