"""Figure 8: what is drawn is what was measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from foresight.evals.calibration import PairedStudy, paired_study, study
from foresight.evals.picture_questions import SEEN
from foresight.report.blocks import Note
from foresight.report.reliability_figure import (
    calibration_chapter,
    calibration_page,
    figure_eight,
    figure_files,
)
from tests.evals.test_calibration import simulated, written
from tests.report.conftest import HOSTILE, Page


def _write(folder: Path, temperature: float, model: str) -> None:
    folder.mkdir(parents=True)
    rows = written(simulated(1, 200, temperature), model=model, task=SEEN)
    (folder / "records.jsonl").write_text("".join(row.to_line() + "\n" for row in rows))


@pytest.fixture(scope="module")
def pair() -> PairedStudy:
    before, after = simulated(0, 300, 1.0), simulated(0, 300, 0.5)
    return paired_study(written(before, model=HOSTILE), written(after, model="after"))


def test_models_are_side_by_side(pair: PairedStudy) -> None:
    panels = [axes for axes in figure_eight(pair.studies).axes if axes.get_visible()]
    assert len(panels) == 4
    for axes, one in zip(panels[:2], pair.studies, strict=True):
        view = one.calibration.view("all", "width")
        numbers = [int(text.get_text()) for text in axes.texts[:-1]]
        assert numbers == [found.n for found in view.bins] and sum(numbers) == 1200
        assert f"ECE {view.error.debiased:.3f}" in axes.texts[-1].get_text()
    assert len(figure_eight(pair.studies[:1]).axes) == 2


def test_the_page_holds_the_numbers_and_nothing_runs(pair: PairedStudy) -> None:
    page = Page(calibration_page([pair]))
    assert "script" not in page.tags
    error = pair.studies[1].calibration.views[0].error
    row = page.row("t: expected calibration error", "after: all options, equal width")
    assert row[:2] == [f"{error.plug_in:.4f}", f"{error.debiased:.4f}"]
    (changes,) = [rows for name, rows in page.tables.items() if "change of the error" in name]
    assert len(changes) == 5 and changes[1][1].startswith("+0.0")
    bins = page.tables["t, after: likeliest option, equal numbers"]
    assert sum(int(row[1]) for row in bins[1:]) == 300


def test_same_figure_same_bytes(pair: PairedStudy) -> None:
    first, second = figure_files(pair.studies[0]), figure_files(pair.studies[0])
    assert first == second and first[1].startswith(b"\x89PNG")


def test_the_chapter_of_an_experiment(tmp_path: Path) -> None:
    section, _, figure = calibration_chapter(tmp_path)
    assert figure is None and isinstance(section.blocks[0], Note)
    _write(tmp_path / SEEN, 0.5, "target")
    _, name, figure = calibration_chapter(tmp_path)
    assert name == "figure8" and figure is not None and len(figure.axes) == 2
    _write(tmp_path / "small" / SEEN, 1.0, "small")
    _, _, figure = calibration_chapter(tmp_path)
    assert figure is not None
    assert [axes.get_title(loc="left").partition(":")[0] for axes in figure.axes[:2]] == [
        "small", "target"]  # fmt: skip
    (tmp_path / SEEN / "records.jsonl").write_text("{}\n")
    section, _, figure = calibration_chapter(tmp_path)
    note = section.blocks[0]
    assert figure is None and isinstance(note, Note) and note.tone == "bad"
    assert "line 1" in note.text


def test_one_study_of_one_cluster_is_drawn() -> None:
    found = study(written(simulated(2, 1, 1.0)))
    assert figure_files(found)[0].startswith("<?xml")
