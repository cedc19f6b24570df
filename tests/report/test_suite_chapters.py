from __future__ import annotations

import math
from pathlib import Path

import pytest

from foresight.errors import UserError
from foresight.evals.suite_forecast import evidence_of, trend_path
from foresight.report.blocks import Note
from foresight.report.suites import TrendFile, suite_chapters
from foresight.runs import write_atomic, write_json


def rows(falls: bool) -> list[dict[str, object]]:
    """Eight runs of 200 questions, of chance 1/2; accuracy falls from .5 to .1, or rises."""
    found: list[dict[str, object]] = []
    for at in range(8):
        share = 0.5 - 0.4 * at / 7 if falls else 0.5 + 0.4 * at / 7
        found.append(
            {
                "run": f"run-{at}",
                "family": "traps",
                "compute_flops": 1e10 * 10 ** (at / 3),
                "right": round(200 * share),
                "n": 200,
                "chance": 0.5,
            }
        )
    return found


def test_nothing_is_there_yet(tmp_path: Path) -> None:
    chapters = suite_chapters(tmp_path, ["programs", "inverse"])
    assert [figure for _, _, figure in chapters] == [None, None]
    notes = [section.blocks[0] for section, _, _ in chapters]
    assert all(isinstance(one, Note) and one.text.startswith("Not put") for one in notes)


@pytest.mark.parametrize(("falls", "verdict"), [(True, "falling"), (False, "rising")])
def test_figure_three_and_its_verdict(tmp_path: Path, falls: bool, verdict: str) -> None:
    write_json(trend_path(tmp_path), {"rows": rows(falls)})
    ((_, name, figure),) = suite_chapters(tmp_path, ["inverse"])
    assert name == "figure3" and figure is not None
    (curve,) = TrendFile.read(trend_path(tmp_path)).curves()
    assert curve.verdict.verdict == verdict and curve.chance == 0.5
    first = curve.scores.rows[0]
    assert first.stderr == pytest.approx(math.sqrt(0.25 / 200), rel=0.05)


def test_files_that_are_broken_are_said_and_the_page_goes_on(tmp_path: Path) -> None:
    bad = rows(True)
    bad[3]["right"] = -1
    write_json(trend_path(tmp_path), {"rows": bad})
    with pytest.raises(UserError, match=r"trend\.json: field rows\.3\.right"):
        TrendFile.read(trend_path(tmp_path))
    write_atomic(evidence_of(tmp_path, "programs"), "{not json")
    for section, _, figure in suite_chapters(tmp_path, ["inverse", "programs"]):
        assert figure is None
        assert isinstance(section.blocks[0], Note) and section.blocks[0].tone == "bad"
