"""Reliability, calibration errors and temperatures: by hand, by simulation, from files."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import optimize, special

from foresight.errors import UserError
from foresight.evals.calibration import (
    VIEWS,
    calibrate,
    calibration_of,
    gaps,
    paired_study,
    reliability,
    study,
)
from foresight.evals.choices import Choices, choices_of, shared
from foresight.evals.norm import Means, norm_difference, norm_estimate, norm_intervals
from foresight.evals.record import Reason, Record
from foresight.evals.temperature import cross_fitted, fit_temperature
from tests.command import typed

Floats = NDArray[np.float64]


def record(item: int, logprobs: tuple[float, ...], target: Any, **changes: Any) -> Record:
    values: dict[str, Any] = {
        "key": f"{item}/{changes.get('model', 'm')}", "task": "t", "item": f"q{item}", "sample": 0,
        "model": "m", "group": "", "weight": 1.0, "prompt": f"{item}?", "output": "",
        "answer": "A", "target": target, "score": 1.0,
        "reason": Reason.OK, "choices": tuple("abcd"[: len(logprobs)]),
        "choice_logprobs": logprobs,
    }  # fmt: skip
    return Record(**(values | changes))


def of(records: list[Record]) -> Choices:
    found = choices_of(records)
    assert found is not None
    return found


def simulated(seed: int, n: int, temperature: float, passage: int = 1) -> Choices:
    """Right options drawn from a softmax, of which the model states that of logits / T."""
    random = np.random.default_rng(seed)
    logits = 1.5 * random.standard_normal((n, 4))
    if passage > 1:
        logits = np.repeat(logits[::passage], passage, axis=0)[:n]
    luck = np.repeat(random.random(-(-n // passage)), passage)[:n]
    target = (luck[:, None] > special.softmax(logits, axis=1).cumsum(axis=1)[:, :-1]).sum(axis=1)
    return Choices(
        tuple((f"q{at}", 0) for at in range(n)), special.log_softmax(logits / temperature, axis=1),
        np.ones((n, 4), bool), target, np.ones(n), np.arange(n) // passage,
    )  # fmt: skip


def written(choices: Choices, **changes: Any) -> list[Record]:
    return [
        record(at, tuple(choices.logprobs[at].tolist()), int(choices.target[at]), **changes)
        for at in range(len(choices))
    ]


def test_bins_and_error_by_hand() -> None:
    """Ten questions whose likeliest of four options is given .7, of which 7 are right; of the 30
    options given .1, 3 are right. Then a model that says .7 and is right 4 times of 10."""
    nats = tuple(math.log(p) + 5 for p in (0.7, 0.1, 0.1, 0.1))
    even = of([record(at, nats, 0 if at < 7 else 1 + at % 3) for at in range(10)])
    for view in calibrate(even).views:
        assert view.error.plug_in == pytest.approx(0.0, abs=1e-9)
    boast = calibrate(of([record(at, nats, 0 if at < 4 else 1) for at in range(10)]))
    every, top = boast.view("all", "width"), boast.view("top", "width")
    assert [one.n for one in every.bins] == [30, 10]
    assert every.error.plug_in == pytest.approx((30 * abs(6 / 30 - 0.1) + 10 * 0.3) / 40)
    assert top.error.plug_in == pytest.approx(0.3)
    (only,) = top.bins
    assert (only.right.mean, only.right.method) == (0.4, "wilson")
    # Options of one question are no independent answers.
    assert every.bins[0].right.clusters == 10
    assert (boast.accuracy.mean, boast.options) == (0.4, 40)


def test_a_certain_answer_falls_into_the_last_bin() -> None:
    sure = of([record(at, (0.0, -math.inf), 0) for at in range(5)])
    bins = calibrate(sure).view("all", "width").bins
    assert [(one.low, one.high, one.n) for one in bins] == [(0.0, 0.1, 5), (0.9, 1.0, 5)]
    assert of([record(0, (-math.inf, -math.inf), 1)]).probabilities().tolist() == [[0.5, 0.5]]


def test_adaptive_bins_hold_equal_numbers() -> None:
    choices = simulated(0, 500, 1.0)
    for options, n in (("all", 2000), ("top", 500)):
        bins = reliability(choices, choices.probabilities(), options, "mass").bins  # type: ignore[arg-type]
        assert len(bins) == 10 and {one.n for one in bins} == {n // 10}


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 40), st.integers(1, 5), st.floats(0.3, 3.0), st.integers(0, 99))
def test_whatever_the_records(n: int, passage: int, temperature: float, seed: int) -> None:
    choices = simulated(seed, n, temperature, passage)
    shares = choices.probabilities()
    assert np.allclose(shares.sum(axis=1), 1.0)
    for view in VIEWS:
        found = reliability(choices, shares, *view)
        means = gaps(choices, shares, *view)
        by_hand = sum(one.n * abs(one.right.mean - one.confidence) for one in found.bins)
        assert found.error.plug_in == pytest.approx(by_hand / sum(one.n for one in found.bins))
        assert np.allclose(means.influence.sum(axis=0), 0.0)
        if view[0] == "all":
            # Every question has one right option and one unit of confidence.
            assert means.value.sum() == pytest.approx(0.0, abs=1e-9)
        if found.error.low is not None and found.error.high is not None:
            assert 0 <= found.error.low <= found.error.debiased <= found.error.high


def test_weights_count_as_repetitions() -> None:
    choices = simulated(1, 60, 0.5)
    twice = choices.take([*range(60), *range(30)])
    weight = np.where(np.arange(60) < 30, 2.0, 1.0)
    heavy = Choices(
        choices.names, choices.logprobs, choices.offered, choices.target, weight, choices.cluster
    )
    for options in ("all", "top"):
        errors = [
            gaps(one, one.probabilities(), options, "width").plug_in  # type: ignore[arg-type]
            for one in (twice, heavy)
        ]
        assert errors[0] == pytest.approx(errors[1])


def _normal(truth: Floats, errors: Floats, seed: int, clusters: int = 400) -> Means:
    random = np.random.default_rng(seed)
    noise = random.standard_normal((clusters, len(truth))) * errors * math.sqrt(clusters)
    rows = truth + noise
    value = rows.mean(axis=0)
    return Means(value, (rows - value) / clusters)


@pytest.mark.parametrize(
    "truth",
    [np.zeros(10), np.full(10, 0.02), np.array([0.1] + 9 * [0.0]), np.linspace(-0.02, 0.02, 10)],
    ids=["nought", "even", "one", "line"],
)
def test_intervals_of_sums_of_means_cover(truth: Floats) -> None:
    """At standard errors of .01: nought and the kink are where a bootstrap fails."""
    total, levels, trials = np.abs(truth).sum(), (0.5, 0.8, 0.95), 200
    held, bootstrap, bias = np.zeros(3), 0, np.zeros(2)
    for seed in range(trials):
        means = _normal(truth, np.full(10, 0.01), seed)
        point, intervals = norm_intervals(means, levels, draws=150)
        held += [low <= total + 1e-9 and total <= high for low, high in intervals]
        again = np.random.default_rng(seed).standard_normal((200, 10)) * 0.01 + means.value
        low, high = np.quantile(np.abs(again).sum(axis=1), [0.025, 0.975])
        bootstrap += low <= total <= high
        bias += np.array([means.plug_in, point]) - total
    assert (held / trials >= np.array([0.42, 0.73, 0.92])).all(), held / trials
    assert abs(bias[1]) < max(bias[0], 0.05 * total * trials)
    if not truth.any():
        assert bootstrap == 0


def test_intervals_of_calibration_errors_cover() -> None:
    """Of a calibrated model and one that is too sure, alone and in passages of five that are
    answered alike; the truth is that of a sample of 200,000."""
    for temperature, passage in ((1.0, 1), (1.0, 5), (0.6, 1), (0.6, 5)):
        large = simulated(99, 200_000, temperature)
        truth = gaps(large, large.probabilities(), "all", "width").plug_in
        truth = 0.0 if temperature == 1.0 else truth
        held = 0
        for seed in range(80):
            some = simulated(seed, 300, temperature, passage)
            means = gaps(some, some.probabilities(), "all", "width")
            _, ((low, high),) = norm_intervals(means, (0.95,), draws=150)
            held += low <= truth <= high
        assert held >= 70, (temperature, passage, held)


def test_an_interval_that_forgets_the_passages_does_not_cover() -> None:
    held = 0
    for seed in range(100):
        some = simulated(seed, 300, 1.0, passage=5)
        alone = Choices(
            some.names, some.logprobs, some.offered, some.target, some.weight, np.arange(300)
        )
        found = norm_estimate(gaps(alone, alone.probabilities(), "top", "width"), draws=150)
        held += found.low == 0.0
    assert held < 60


def test_the_change_of_an_error_covers_and_is_sharper_than_two_intervals() -> None:
    truths = []
    for temperature in (0.7, 0.5):
        large = simulated(99, 200_000, temperature)
        truths.append(gaps(large, large.probabilities(), "all", "width").plug_in)
    held, narrower = 0, 0
    for seed in range(100):
        # The same questions and luck: only what the model states differs.
        pair = [simulated(seed, 400, temperature) for temperature in (0.7, 0.5)]
        means = [gaps(one, one.probabilities(), "all", "width") for one in pair]
        found = norm_difference(means[0], means[1], draws=150)
        assert found.low is not None and found.high is not None
        held += found.low <= truths[1] - truths[0] <= found.high
        errors = [norm_estimate(one, draws=150) for one in means]
        apart = math.hypot(*(one.high - one.low for one in errors))  # type: ignore[operator]
        narrower += found.high - found.low < apart
    assert held >= 90 and narrower >= 60


def test_degenerate_sets() -> None:
    one = calibrate(of([record(0, (-0.1, -2.0), 0)])).view("all", "width").error
    assert (one.low, one.high) == (None, None) and one.plug_in > 0
    certain = calibrate(of([record(at, (0.0, -math.inf), 0) for at in range(5)]))
    error = certain.view("top", "width").error
    assert (error.plug_in, error.low, error.high) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_temperature_is_the_one_of_least_loss(temperature: float) -> None:
    choices = simulated(3, 400, temperature)
    found = fit_temperature(choices)
    assert found is not None and found.low is not None and found.high is not None

    def loss(log_t: float) -> float:
        shares = special.log_softmax(choices.logprobs / math.exp(log_t), axis=1)
        return -float(shares[np.arange(400), choices.target].sum())

    best = optimize.minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9})
    assert found.value == pytest.approx(math.exp(best.x), rel=1e-5)
    # Information of independent questions: the interval is the usual one to a tenth.
    step = 1e-3
    information = (loss(best.x + step) - 2 * loss(best.x) + loss(best.x - step)) / step**2
    half = math.log(found.high / found.low) / 2
    assert half == pytest.approx(1.96 / math.sqrt(information), rel=0.15)


def test_temperature_intervals_cover_in_passages() -> None:
    fits = [fit_temperature(simulated(seed, 300, 0.5, passage=5)) for seed in range(200)]
    # Stated = logits / .5, so that a temperature of 2 undoes it.
    held = [one.low <= 2.0 <= one.high for one in fits if one and one.low and one.high]
    assert len(held) == 200 and 0.9 <= sum(held) / 200 <= 0.985


def test_scaling_mends_and_is_judged_on_other_questions() -> None:
    choices = simulated(4, 4000, 0.5)
    scaled = cross_fitted(choices)
    assert scaled is not None
    before, after = calibrate(choices), calibrate(choices, scaled)
    assert before.view("all", "width").error.debiased > 0.06
    assert after.view("all", "width").error.plug_in < 0.015
    assert after.accuracy == before.accuracy
    # Nobody's own answer moves the temperature that it is judged under.
    other = Choices(
        choices.names, choices.logprobs, choices.offered,
        np.where(np.arange(4000) == 7, (choices.target + 1) % 4, choices.target),
        choices.weight, choices.cluster,
    )  # fmt: skip
    moved = cross_fitted(other)
    assert moved is not None and (moved[7] == scaled[7]).all() and (moved != scaled).any()


@pytest.mark.parametrize(
    "rows",
    [
        [((-0.1, -3.0), 0), ((-3.0, -0.1), 1)],
        [((-0.1, -3.0), 1), ((-3.0, -0.1), 0)],
        [((0.0, -math.inf), 1), ((-0.5, -1.0), 0)],
        [((-1.0, -1.0), 0), ((-1.0, -1.0), 1)],
    ],
    ids=["all right", "all wrong", "impossible", "says nothing"],
)
def test_where_no_temperature_is_best(rows: list[tuple[tuple[float, float], int]]) -> None:
    records = [record(at, *row) for at, row in enumerate(rows * 3)]
    assert fit_temperature(of(records)) is None
    found = study(records)
    assert found.temperature is None and found.scaled is None


def test_two_sets_are_paired_on_their_items() -> None:
    first = written(simulated(5, 300, 1.0), model="before")
    second = written(simulated(5, 300, 0.4), model="after")[::-1][:250]
    found = paired_study(first, second)
    assert [one.calibration.items for one in found.studies] == [250, 250]
    assert [one.left_out for one in found.studies] == [50, 0]
    assert all(one.low is not None and one.low > 0 for one in found.changes)
    one, other = shared(of(first), of(second))
    assert one.names == other.names and (one.target == other.target).all()
    same = paired_study(first, first).changes
    assert all(one.difference == 0.0 for one in same)
    with pytest.raises(UserError, match="0 items in common"):
        paired_study(first[:50], second[:250])


def test_records_that_have_no_choices_are_left_out() -> None:
    some = [record(0, (-0.1, -2.0), 0), record(1, (), ("x",)), record(2, (-0.2, -1.0), 1)]
    several = record(3, (-0.1, -2.0), ("a", "b"))
    found = study([*some, several])
    assert (found.left_out, found.calibration.items) == (2, 2)
    assert calibration_of(some[1:2]) is None
    with pytest.raises(UserError, match=r"task t: no record holds log-probabilities.*choice_logpr"):
        study(some[1:2])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda row: row | {"choice_logprobs": [-1.0, math.nan]}, r"item q3: choice_logprobs\[1\]"),
        (lambda row: row | {"choice_logprobs": [-1.0, "x"]}, r"item q3: choice_logprobs\[1\]"),
        (lambda row: row | {"target": 7}, "item q3: target is 7; expected the index of one of 4"),
        (lambda row: row | {"target": "A"}, "item q3: target is 'A'"),
    ],
    ids=["nan", "text", "beyond", "no index"],
)
def test_broken_records_are_named(
    tmp_path: Path, spoil: Callable[[dict[str, Any]], dict[str, Any]], words: str
) -> None:
    rows = [json.loads(one.to_line()) for one in written(simulated(6, 10, 1.0))]
    rows[3] = spoil(rows[3])
    path = tmp_path / "records.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = typed("calibration", path)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert str(path) in done.stderr
    with pytest.raises(UserError, match=words):
        study([Record(**(row | {"reason": Reason.OK})) for row in rows])


@pytest.fixture
def sets(tmp_path: Path) -> tuple[Path, Path]:
    """Record directories of a model before and after it learned to boast."""
    for name, temperature in (("before", 1.0), ("after", 0.4)):
        for task in ("one", "two"):
            rows = written(simulated(len(task), 200, temperature), model=name, task=task)
            folder = tmp_path / name / task
            folder.mkdir(parents=True)
            text = "".join(row.to_line() + "\n" for row in rows)
            (folder / "records.jsonl").write_text(text)
    return tmp_path / "before", tmp_path / "after"


def test_the_verb(sets: tuple[Path, Path], tmp_path: Path) -> None:
    before, after = sets
    done = typed("calibration", before, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [one["task"] for one in found] == ["one", "two"]
    assert len(found[0]["calibration"]["views"]) == 4
    shown = typed("calibration", before / "one", after / "one", "--out", tmp_path / "page.html")
    assert shown.returncode == 0, shown.stderr
    for word in ("as read", "debiased", "best temperature", "change", "equal numbers", "wrote"):
        assert word in shown.stdout
    assert "<svg" in (tmp_path / "page.html").read_text()
    drawn = typed("calibration", before / "one" / "records.jsonl", "--out", tmp_path / "one.svg")
    assert drawn.returncode == 0 and (tmp_path / "one.svg").read_text().startswith("<?xml")


def test_what_the_verb_refuses(sets: tuple[Path, Path], tmp_path: Path) -> None:
    before, after = sets
    for words, told in (
        ((before, "--out", tmp_path / "x.png"), "expected a name that ends in .html or .svg"),
        ((before, after, "--out", tmp_path / "x.svg"), "2 tasks; name the records.jsonl of one"),
        ((tmp_path / "nowhere",), "cannot be read"),
    ):
        done = typed("calibration", *words)
        assert done.returncode == 2 and told in done.stderr.replace("\n", " "), done.stderr
    free = tmp_path / "free.jsonl"
    free.write_text(record(0, (), ["x"], choices=()).to_line() + "\n")
    done = typed("calibration", free)
    assert done.returncode == 2 and "protocol: choice_logprob" in done.stderr
    assert str(free) in done.stderr
