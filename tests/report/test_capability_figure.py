"""Figures 2 and 3: what is drawn, the same bytes each time, and what a bad file is told."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from foresight.errors import UserError
from foresight.forecast import ScoreRow, ScoreTable, trend
from foresight.report.blocks import render
from foresight.report.capability_figure import CapabilityData, capability_section, figure_two
from foresight.report.trend_figure import Curve, figure_three, trend_section


def data(buckets: int = 6, observed: bool = True) -> dict[str, Any]:
    grid = [1e11 * 10 ** (i / 4) for i in range(9)]

    def group(name: str, level: float) -> dict[str, Any]:
        law = [-level * (one / 1e12) ** -0.3 for one in grid]
        low, high = law[-1] - 0.2, law[-1] + 0.2
        return {
            "name": name,
            "problems": ["<b>p</b>", "q"],
            "law": {"point": law, "low": [x - 0.2 for x in law], "high": [x + 0.2 for x in law]},
            "models": [-level, None, -0.6 * level],
            "registration": {"name": f"s-{name}", "sha256": "ab" * 32, "created_utc": "2026"},
            "forecast": {"point": law[-1], "intervals": {"95": [low, high]}},
            "observed": law[-1] + 0.1 * level if observed else None,
        }

    return {
        "metric": "mean log pass rate",
        "samples": 32,
        "verdict": "wide",
        "reasons": ["the small models scatter"],
        "target": {"run": "big", "compute_flops": 1e13},
        "models": [
            {"model": f"m{i}", "compute_flops": c} for i, c in enumerate((1e11, 1e12, 5e12))
        ],
        "grid_flops": grid,
        "groups": [group("all", 1.5)]
        + [group(f"bucket {i + 1}", 0.5 * (i + 1)) for i in range(buckets)],
    }


def test_figure_two_has_a_panel_per_bucket_and_everything_in_it() -> None:
    found = CapabilityData.model_validate(data())
    panels = figure_two(found).axes
    assert len(panels) == 6
    assert [axes.get_title(loc="left")[:8] for axes in panels] == [
        f"bucket {i}" for i in range(1, 7)
    ]
    legend = {text.get_text() for text in panels[-1].get_legend().get_texts()}
    assert legend == {
        "95 % interval", "law of the small models", "small models", "registered, 95 %", "observed"
    }  # fmt: skip
    group = found.buckets[2]
    lines = {line.get_label(): line for line in panels[2].lines}
    assert list(lines["small models"].get_xdata()) == [1e11, 5e12]
    assert list(lines["observed"].get_ydata()) == [group.observed]
    assert lines["law of the small models"].get_ydata()[-1] == group.forecast.point
    assert len({axes.get_ylim() for axes in panels}) == 1
    assert all(axes.get_ylim()[0] <= min(group.law.low) for axes in panels)


def test_without_an_outcome_no_star_and_said() -> None:
    found = CapabilityData.model_validate(data(buckets=2, observed=False))
    section, figure = capability_section(found, "programs")
    assert len(figure.axes) == 2
    assert not any(line.get_label() == "observed" for axes in figure.axes for line in axes.lines)
    assert "has not been evaluated yet" in str(section.blocks[0])


def test_the_chapter_counts_hits_and_misses_and_is_escaped() -> None:
    found = CapabilityData.model_validate(data())
    found.groups[1].name = "bucket <i>1"
    section, _ = capability_section(found, "programs")
    # Outcomes are off by a tenth of the level: 0.05 to 0.30; the interval is 0.2 wide each way.
    assert "4 of 6 buckets came out inside" in str(section.blocks[0])
    html = render("t", "s", [section])
    assert "bucket &lt;i&gt;1" in html and "<i>1" not in html and "abababababab" in html
    first, second = (render("t", "s", [capability_section(found, "programs")[0]]) for _ in range(2))
    assert first == second
    assert "registered as wide: the small models scatter." in html
    other, _ = capability_section(found, "pictures")
    assert other.anchor != section.anchor and other.title != section.title


def test_a_bad_file_is_told_its_field(tmp_path: Path) -> None:
    value = data()
    del value["groups"][2]["law"]["low"]
    (tmp_path / "capability.json").write_text(json.dumps(value))
    with pytest.raises(UserError, match=r"capability.json: field groups\.2\.law\.low"):
        CapabilityData.read(tmp_path / "capability.json")
    (tmp_path / "capability.json").write_text(json.dumps(data()))
    assert len(CapabilityData.read(tmp_path / "capability.json").buckets) == 6


def curve(values: list[float], metric: str = "hindsight") -> Curve:
    rows = tuple(
        ScoreRow(f"m{i}-{s}", 1e10 * 10 ** (i / 3) * (1 + 0.001 * s), value + 0.01 * s, 0.02)
        for i, value in enumerate(values)
        for s in (0, 1)
    )
    table = ScoreTable(rows, metric)
    return Curve(table, 0.5, trend(table))


def test_figure_three_shows_models_chance_turn_and_verdict() -> None:
    valley = curve([0.5, 0.4, 0.2, 0.02, 0.02, 0.3, 0.7, 0.95])
    falling = curve([0.5, 0.45, 0.4, 0.33, 0.3, 0.22, 0.2, 0.1], "memory traps")
    assert valley.verdict.verdict == "u_shaped" and falling.verdict.verdict == "falling"
    left, right = figure_three([valley, falling]).axes
    labels = {text.get_text() for text in left.get_legend().get_texts()}
    assert labels == {"chance", "mean of a size", "models, 95 %", "turn, 95 %"}
    line = next(line for line in left.lines if line.get_label() == "mean of a size")
    # Two seeds that spent nearly the same are one size.
    assert list(line.get_ydata()) == pytest.approx([0.505, 0.405, 0.205, 0.025, 0.025, 0.305,
                                                    0.705, 0.955])  # fmt: skip
    words = [[text.get_text() for text in axes.texts] for axes in (left, right)]
    assert words[0][0].startswith("falls, then rises (p = 0.0")
    assert words[1][0].startswith("falls with scale (p = 0.0")
    assert [axes.get_title(loc="left") for axes in (left, right)] == ["hindsight", "memory traps"]
    assert not any(math.isnan(y) for line in left.lines for y in line.get_ydata())


def test_noise_is_not_called_a_trend() -> None:
    flat = curve([0.5, 0.52, 0.47, 0.51, 0.5, 0.49, 0.52, 0.5])
    assert flat.verdict.verdict in ("unclear", "flat")
    section, _ = trend_section([flat])
    html = render("t", "s", [section])
    assert "hindsight" in html and "falls with scale" not in html
