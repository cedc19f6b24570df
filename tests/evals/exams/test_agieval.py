"""AGIEval's files as exam folders."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from foresight.errors import UserError
from foresight.evals.exams.agieval import Imported, import_agieval
from foresight.evals.exams.reading import read_exam


@pytest.fixture(scope="module")
def exams(
    shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Imported]]:
    to = tmp_path_factory.mktemp("agieval")
    found = import_agieval(shared_data / "evals" / "agieval", to)
    return to, {Path(one.folder).name: one for one in found}


def test_every_question_is_somewhere(exams: tuple[Path, dict[str, Imported]]) -> None:
    _, found = exams
    assert len(found) == 17
    lsat = found["lsat"]
    assert lsat.development + lsat.holdout == 230 + 510 + 269 + 9 and lsat.left_out == 0
    # Both files of the bar exam, one question of which has no answer, and ten examples.
    bar = found["jec-qa"]
    assert bar.development + bar.holdout + bar.left_out == 2010 and bar.left_out <= 2
    halves = [
        sum(getattr(one, half) for one in found.values()) for half in ("development", "holdout")
    ]
    assert abs(halves[0] - halves[1]) < 0.02 * sum(halves)


def test_halves_share_no_passage(exams: tuple[Path, dict[str, Imported]]) -> None:
    to, _ = exams
    exam = read_exam(to / "lsat")
    groups = [
        {item.group for some in exam.halves[half].values() for item in some} - {""}
        for half in ("development", "holdout")
    ]
    examples = {item.group for s in exam.file.sections for item in exam.examples(s)}
    assert (groups[0] - examples) & groups[1] == set()
    assert exam.file.report_row == "LSAT"


def test_worked_examples_come_first(exams: tuple[Path, dict[str, Imported]]) -> None:
    to, _ = exams
    exam = read_exam(to / "gaokao-physics")
    sections = {one.name: one for one in exam.file.sections}
    assert {one.format for one in sections.values()} == {"choice", "choices"}
    several = sections["gaokao-physics-several"]
    assert [one.id for one in exam.examples(several)] == [
        "gaokao-physics/example-3", "gaokao-physics/example-5",
    ]  # fmt: skip
    assert exam.examples(several)[0].target == ("BC",)
    for section in read_exam(to / "math").file.sections:
        assert section.format == "short"


def test_it_is_the_same_every_time(
    exams: tuple[Path, dict[str, Imported]], tmp_path: Path, shared_data: Path
) -> None:
    to, found = exams
    rows = [json.loads(line) for line in (to / "lsat/holdout/lsat-ar.jsonl").open()]
    # A holdout must stay what it was: these counts follow from the hash that splits.
    counts = [(found[name].development, found[name].holdout) for name in ("sat-math", "math")]
    assert (
        counts == [(116, 109), (509, 495)]
        and len(rows) == 138
        and rows[0]["id"].startswith("lsat-ar/")
    )
    with pytest.raises(UserError, match="is there already"):
        import_agieval(shared_data / "evals" / "agieval", to)


def test_bad_files(tmp_path: Path) -> None:
    (tmp_path / "sat-math.jsonl").write_text('{"question": "?", "options": [3], "label": "A"}\n')
    with pytest.raises(UserError, match=r"sat-math.jsonl, line 1: not a question of AGIEval"):
        import_agieval(tmp_path, tmp_path / "out")
    (tmp_path / "sat-math.jsonl").write_text('{"question": "?"}\n')
    with (tmp_path / "few_shot_prompts.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(
            [["", "sat-math"], ["sample 1", "__import__('os')"], ["explanation 1", "x"]]
        )
    with pytest.raises(UserError, match=r"few_shot_prompts.csv, row 2, sat-math"):
        import_agieval(tmp_path, tmp_path / "out")
