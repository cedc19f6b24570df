"""The picture of a fit: what is drawn, the same bytes each time, and what is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex

from foresight.errors import UserError
from foresight.forecast import Answer, PowerLaw, Row, RunTable, answer
from foresight.report.canvas import PAPER
from foresight.report.fit_plot import fit_figure, write_fit_plot
from tests.command import foresight

LAW = PowerLaw(1.5 * 1e12**0.2, 0.2, 1.8)


def rows_of(rungs: int) -> list[Row]:
    return [
        Row(f"r{i}", float(c), float(LAW(c))) for i, c in enumerate(np.geomspace(1e10, 1e12, rungs))
    ]


@pytest.fixture(scope="module")
def found() -> Answer:
    rows = rows_of(6)
    rows[2] = replace(rows[2], eligible=False, reasons=("clip_rate",))
    rows.append(Row("<b>big</b>", 2e13, float(LAW(2e13)), target=True))
    return answer(RunTable(tuple(rows), "val_loss"), [1e13, 2e13])


def test_all_that_is_promised_is_drawn(found: Answer) -> None:
    top, bottom = fit_figure(found).axes
    legend = {text.get_text() for text in top.get_legend().get_texts()}
    assert legend == {
        "50 % interval", "80 % interval", "95 % interval", "forecast", "runs",
        "not eligible, not fitted", "frontier", "observed", "target, 95 %",
    }  # fmt: skip
    lines = {line.get_label(): line for line in top.lines}
    hollow = lines["not eligible, not fitted"]
    assert to_hex(hollow.get_markerfacecolor()) == PAPER
    assert list(hollow.get_xdata()) == [found.table.rows[2].compute_flops]
    assert len(lines["runs"].get_xdata()) == 5
    law = lines["forecast"]
    expected = found.fitted.predict(float(law.get_xdata()[-1])).point
    assert law.get_xdata()[-1] == pytest.approx(2e13) and law.get_ydata()[-1] == expected
    drawn = sum(len(line.get_xdata()) for line in bottom.lines if line.get_marker() == "o")
    assert drawn == len(found.fitted.backtest_rows())


@pytest.mark.parametrize("kind", ["svg", "png", "html"])
def test_the_same_bytes(found: Answer, tmp_path: Path, kind: str) -> None:
    first, second = tmp_path / f"a.{kind}", tmp_path / f"b.{kind}"
    write_fit_plot(found, first)
    write_fit_plot(found, second)
    assert first.read_bytes() == second.read_bytes()
    assert len(first.read_bytes()) > 5000


def test_the_page_is_self_contained_and_escaped(found: Answer, tmp_path: Path) -> None:
    path = tmp_path / "fit.html"
    write_fit_plot(found, path)
    html = path.read_text()
    assert "<svg" in html and "&lt;b&gt;big" in html and "<b>big" not in html
    assert re.findall(r'(?:src|href)="(?!#)', html) == []
    assert "Forecast" in html and "clip_rate" in html


def test_a_refused_fit_shows_its_runs_and_no_law() -> None:
    refused = answer(RunTable(tuple(rows_of(3))), [1e13])
    assert refused.refused
    top, bottom = fit_figure(refused).axes
    labels = {line.get_label() for line in top.lines}
    assert "runs" in labels and "forecast" not in labels
    assert "too_few_rungs" in top.get_title(loc="left")
    assert "too few rungs" in " ".join(text.get_text() for text in bottom.texts)


def test_what_cannot_be_drawn_is_said(found: Answer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown kind '.jpg'; expected .svg, .png, .html"):
        write_fit_plot(found, tmp_path / "fit.jpg")
    none = replace(found, frontier=())
    with pytest.raises(UserError, match="no eligible run"):
        write_fit_plot(none, tmp_path / "fit.svg")


def test_the_command_says_where_the_plot_went(tmp_path: Path) -> None:
    lines = [f"{row.compute_flops:.6e},{row.loss:.5f}" for row in rows_of(5)]
    (tmp_path / "my runs.csv").write_text("C,loss\n" + "\n".join(lines) + "\n")
    done = foresight("fit", "my runs.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "wrote my runs.forecast.svg" in done.stdout
    assert (tmp_path / "my runs.forecast.svg").read_text().lstrip().startswith("<?xml")
    (tmp_path / "my runs.forecast.svg").unlink()
    silent = foresight("fit", "my runs.csv", "--json", cwd=tmp_path)
    assert silent.returncode == 0 and not list(tmp_path.glob("*.svg"))
    assert (
        foresight("fit", "my runs.csv", "--plot", "x.gif", "--json", cwd=tmp_path).returncode == 2
    )
