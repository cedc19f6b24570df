"""Scores by category: what is pooled, what is refused, what is drawn."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from foresight.errors import UserError
from foresight.evals.categories import read_series
from foresight.evals.item import Item
from foresight.evals.protocols import ChoiceGenerate, ChoiceLogprob
from foresight.evals.reading import read_task
from foresight.evals.runner import run
from foresight.evals.task import Task
from foresight.forecast.coverage import wilson
from foresight.report.canvas import files
from foresight.report.category_figure import category_figure, category_order
from tests.command import typed
from tests.evals.models import Written, choice_items, unit


def items(n: int = 60) -> tuple[Item, ...]:
    names = ("Swahili", "Welsh & <b>", "$German$")
    return tuple(replace(one, meta={"category": names[at % 3]})
                 for at, one in enumerate(choice_items(n)))  # fmt: skip


def knows(share: dict[str, float], name: str) -> Written:
    """Right on the share of a category's questions."""
    by_text = {one.text: one for one in items(600)}

    def nats(prompt: str, choice: str) -> float:
        item = by_text[prompt.partition("\n")[0]]
        right = unit(f"{name}{item.id}") < share[str(item.meta["category"])]
        return -0.1 if (choice == f" {'ABCD'[int(str(item.target))]}") == right else -2.0

    return Written(nats=nats, name=name)


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    task = Task("quiz", items(600), ChoiceLogprob())
    for name, share in (("big", (0.9, 0.5, 0.7)), ("small", (0.3, 0.3, 0.3))):
        levels = dict(zip(("Swahili", "Welsh & <b>", "$German$"), share, strict=True))
        run(task, knows(levels, name), tmp_path / name / "quiz")
    return [tmp_path / "big", tmp_path / "small"]


def test_means_have_wilson_intervals_of_their_own(runs: list[Path]) -> None:
    big, small = read_series(runs)
    assert (big.name, small.name) == ("big", "small") and big.chance == 0.25
    assert category_order([big, small]) == ["Swahili", "$German$", "Welsh & <b>"]
    for share, one in zip((0.9, 0.5, 0.7), big.means.values(), strict=True):
        assert one.n == 200 and (one.low, one.high) == wilson(one.mean * 200, 200)
        assert one.low < share < one.high


def test_a_category_is_never_pooled_over_two_ways_of_asking(
    runs: list[Path], tmp_path: Path
) -> None:
    written = Task("quiz-written", items(60), ChoiceGenerate())
    run(written, Written(lambda *_: "A]", name="big"), tmp_path / "big" / "quiz-written")
    with pytest.raises(UserError, match="was asked in quiz and in quiz-written; choose one"):
        read_series(runs[:1])
    assert len(read_series(runs[:1], tasks=("quiz",))[0].records) == 600
    assert list(read_series(runs[:1], "task")[0].means) == ["quiz", "quiz-written"]
    with pytest.raises(UserError, match="no task quizz; it has quiz"):
        read_series(runs, tasks=("quizz",))
    # The same model twice is named by its paths.
    twice = read_series([runs[1], runs[1] / "quiz"])
    assert [one.name for one in twice] == [str(runs[1]), str(runs[1] / "quiz")]


def test_records_without_categories_are_refused(tmp_path: Path) -> None:
    run(Task("plain", choice_items(5), ChoiceLogprob()), Written(), tmp_path / "plain")
    with pytest.raises(UserError, match="no record has a score and a category"):
        read_series([tmp_path])
    assert list(read_series([tmp_path], "task")[0].means) == ["plain"]


def test_the_figure_has_a_bar_an_interval_and_a_name_for_everything(runs: list[Path]) -> None:
    series = read_series(runs)
    figure = category_figure(series, "Figure 5: accuracy by language")
    (axes,) = figure.axes
    assert [bar.get_width() for bar in axes.patches] == [
        pytest.approx(one.means[name].mean)
        for one in series
        for name in category_order(series)
        if name in one.means
    ]
    lines = [line.get_xdata() for line in axes.lines]
    spans = [(m.low, m.high) for one in series for m in one.means.values()]
    assert {tuple(map(float, line)) for line in lines} == {*spans, (0.25, 0.25)}
    svg, png = files(figure, "languages")
    for text in ("Swahili", "Welsh &amp; &lt;b&gt;", "$German$", "big", "small", "chance"):
        assert text in svg
    assert png.startswith(b"\x89PNG") and files(figure, "languages")[0] == svg
    with pytest.raises(UserError, match="up to 4 side by side"):
        category_figure(series * 3, "")


def test_the_command(runs: list[Path], tmp_path: Path) -> None:
    done = typed("categories", *runs, "--figure", tmp_path / "f.svg", "--title", "By language")
    assert done.returncode == 0, done.stderr
    for word in ("By language", "Swahili", "0.250", "big", "small"):
        assert word in done.stdout
    assert (tmp_path / "f.svg").read_text().startswith("<?xml")
    told = json.loads(typed("categories", *runs, "--json", "--figure", tmp_path / "f.png").stdout)
    assert [one["name"] for one in told["series"]] == ["big", "small"]
    assert told["series"][0]["means"]["Swahili"]["n"] == 200 and told["agreements"] == []
    for words, message in (
        ((tmp_path / "nowhere",), "cannot be read"),
        ((*runs, "--figure", "f.pdf"), "expected .svg or .png"),
        ((*runs, "--task", "x"), "no task x"),
    ):
        done = typed("categories", *words)
        assert done.returncode == 2 and message in done.stderr


def test_mgsm_in_eleven_languages(shared_data: Path, tmp_path: Path) -> None:
    """A model that reads Swahili and nothing else, on the real questions."""
    task = read_task(f"mgsm@{shared_data / 'evals' / 'mgsm'}")
    key = {item.text: item.target[0] for item in task.items if item.meta["category"] == "sw"}  # type: ignore[index]

    def write(prompt: str, request: object) -> str:
        return next((f" {key[one]}" for one in key if prompt.endswith(one)), " 1")

    chosen = replace(task, items=tuple(one for one in task.items if int(one.group) < 40))
    run(chosen, Written(write), tmp_path / "mgsm")
    (series,) = read_series([tmp_path])
    assert len(series.means) == 11 and {one.n for one in series.means.values()} == {40}
    assert category_order([series])[0] == "sw" and series.means["sw"].mean == 1.0
    highest = max(one.high or 1.0 for name, one in series.means.items() if name != "sw")
    assert highest < (series.means["sw"].low or 0.0)
