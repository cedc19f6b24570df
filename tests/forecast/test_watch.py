"""The watch on simulated runs: enough to catch a break, `bench/watch.py` has thousands."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.watch import World, final_loss, log_of
from foresight.errors import UserError
from foresight.forecast import watch as watching
from foresight.forecast.band import RATES, Band, block_log_means, record_noise, scan
from foresight.forecast.training_log import TrainingLog
from foresight.forecast.watch import Reference, Watch


@pytest.fixture(scope="module")
def world() -> World:
    return World(np.random.default_rng(4))


def test_clean_runs_seldom_alarm(world: World) -> None:
    alarmed = sum(bool(world.look(world.run()).alarms) for _ in range(300))
    assert alarmed <= 6, f"{alarmed} of 300 clean runs"


def test_thresholds_hold_under_the_model_itself(world: World) -> None:
    band, limits = world.watch.band, world.watch.thresholds
    clean = scan(band, band.simulate(4000, np.random.default_rng(1)))
    first = band.ends >= 0.05 - 1e-9
    level = np.abs(clean.level[:, first]).max(axis=1) > limits["level"]
    shape = np.abs(clean.change[:, first]).max(axis=1) > limits["shape"]
    assert level.mean() < 3 * RATES["level"] and shape.mean() < 3 * RATES["shape"]


@pytest.mark.parametrize(
    ("fault", "kinds"),
    [
        ("learning rate x4 from 10 %", {"shape", "level", "spike"}),
        ("learning rate x4 from the start", {"level", "shape", "spike"}),
        ("slow divergence from 10 %", {"shape", "level"}),
        ("data repeat from 10 %", {"shape", "level"}),
    ],
)
def test_faults_are_found_before_30_percent(world: World, fault: str, kinds: set[str]) -> None:
    looks = [world.look(world.run(fault)) for _ in range(10)]
    early = [look for look in looks if look.alarms and look.alarms[0].fraction <= 0.3]
    assert len(early) >= 8, f"{len(early)} of 10"
    assert all(look.alarms[0].kind in kinds for look in early)
    # The negative control: the same runs against a watch that believes in any shape and noise.
    blind = Watch(world.watch.reference)
    band = world.watch.band
    blind.band = replace(band, shape=1e4 * band.shape, noise=100 * band.noise, level_sd=10.0)
    blind.__dict__["thresholds"] = world.watch.thresholds
    assert not any(blind.look(log_of(world.run(fault), 0.3)).alarms for _ in range(3))


def test_a_fault_says_when_it_began_and_on_which_side(world: World) -> None:
    look = world.look(world.run("data repeat from 10 %"))
    shape = next(alarm for alarm in look.alarms if alarm.kind == "shape")
    assert shape.sigma is not None and shape.threshold is not None
    assert shape.sigma < -shape.threshold and "data seen before" in shape.text
    up = world.look(world.run("learning rate x4 from 10 %"))
    text = next(alarm for alarm in up.alarms if alarm.kind == "shape").text
    since = int(text.split("about step ")[1].split(":")[0])
    assert abs(since / up.total - 0.1) < 0.08 and "upwards" in text


def test_looks_do_not_change_the_past(world: World) -> None:
    """Alarms up to 40 % are the same whether the log ends there or goes on: looking often costs
    nothing, and one pass over a run is all its looks."""
    curve = world.run("learning rate x4 from 10 %")
    at_end, at_40 = world.look(curve), world.look(curve, 0.4)
    assert at_40.alarms and at_40.state == "running" and at_end.state == "finished"
    known = [alarm for alarm in at_end.alarms if alarm.fraction <= 0.4]
    assert [a.step for a in known] == [a.step for a in at_40.alarms]
    np.testing.assert_allclose([a.sigma for a in known], [a.sigma for a in at_40.alarms], rtol=1e-6)  # type: ignore[arg-type]


def test_nothing_is_judged_before_the_first_look(world: World) -> None:
    curve = world.run("learning rate x4 from the start")
    look = world.look(curve, 0.03)
    assert not look.alarms and look.reforecast is None and look.state == "running"
    empty = world.watch.look(TrainingLog(Path("x"), 100))
    assert empty.state == "waiting" and empty.loss is None and not empty.alarms


def test_not_finite_is_an_alarm_at_once(world: World) -> None:
    log = log_of(world.run(), 0.02)
    log.rows[log.step + 1] = (float("nan"), None)
    look = world.watch.look(log)
    assert look.state == "broken" and [a.kind for a in look.alarms] == ["not_finite"]
    assert look.alarms[0].step == log.step
    assert json.loads(json.dumps(look.to_json(), allow_nan=False))["state"] == "broken"


def test_a_spike_is_one(world: World) -> None:
    t, loss = world.run()
    loss = np.where((t > 0.5) & (t <= 0.51), 1.5 * loss, loss)
    kinds = {alarm.kind: alarm for alarm in world.look((t, loss)).alarms}
    assert "spike" in kinds and 0.5 < kinds["spike"].fraction < 0.53


def test_level_and_forecast_in_flight(world: World) -> None:
    """A run that is off by two sd from the start: in flight the forecast moves there, narrows and
    says so; off by ten it is an alarm of its own kind."""
    t, loss = world.run()
    log = log_of((t, loss * np.exp(2 * world.sd)), 0.5)
    look = world.watch.look(log)
    made = look.reforecast
    assert made is not None and made.label == "in flight"
    truth = final_loss((t, loss)) * np.exp(2 * world.sd)
    low, high = made.intervals["95"]
    _, before_low, before_high = made.before
    assert low < truth < high
    assert np.log(high / low) < 0.8 * np.log(before_high / before_low)
    assert abs(np.log(made.point / truth)) < abs(np.log(made.before[0] / truth))
    far = world.watch.look(log_of((t, loss * np.exp(10 * world.sd)), 0.5))
    assert "level" in {alarm.kind for alarm in far.alarms}


def test_forecasts_in_flight_cover_what_they_say() -> None:
    inside = {"80": 0, "95": 0}
    runs = 0
    for seed in range(5):
        world = World(np.random.default_rng(100 + seed))
        for _ in range(30):
            curve = world.run()
            made = world.look(curve, 0.25).reforecast
            if made is None:
                continue
            runs += 1
            for level, (low, high) in made.intervals.items():
                if level in inside:
                    inside[level] += low <= final_loss(curve) <= high
    assert runs >= 140
    assert inside["80"] / runs > 0.65 and inside["95"] / runs > 0.85, (inside, runs)


def test_a_shape_alarm_withdraws_the_forecast(world: World) -> None:
    look = world.look(world.run("learning rate x4 from 10 %"), 0.5)
    assert "shape" in {alarm.kind for alarm in look.alarms} and look.reforecast is None


def test_equal_logs_give_equal_bytes(world: World) -> None:
    curve = world.run()
    texts = {
        json.dumps(Watch(world.watch.reference).look(log_of(curve, 0.5)).to_json())
        for _ in range(2)
    }
    assert len(texts) == 1


def test_bad_references_are_refused(world: World) -> None:
    curves = world.curves
    with pytest.raises(UserError, match="at least 4 finished curves, got 3"):
        Band.learn(curves[:3], (2.0, 1.9, 2.1))
    with pytest.raises(UserError, match="expected 0 < low < point < high"):
        Band.learn(curves, (2.0, 2.1, 2.2))
    with pytest.raises(UserError, match="only 20 records"):
        Band.learn([*curves, (curves[0][0][::20][:20], curves[0][1][::20][:20])], (2.0, 1.9, 2.1))
    with pytest.raises(UserError, match="pass --steps"):
        world.watch.look(TrainingLog(Path("x"), None, {1: (2.0, None)}))


def test_like_orders_runs_by_their_final_loss(world: World, tmp_path: Path) -> None:
    paths = []
    for number, (t, loss) in enumerate(reversed(world.curves)):
        paths.append(tmp_path / f"{number}.jsonl")
        rows = (f'{{"iter": {s}, "loss": {v}}}\n' for s, v in enumerate(loss, start=1))
        paths[-1].write_text("".join(rows))
        assert len(t) == len(loss)
    made = Reference.like(paths, world.watch.reference.final)
    band = Watch(made).band
    np.testing.assert_allclose(band.expected, world.watch.band.expected, rtol=1e-9)


def test_blocks_and_noise() -> None:
    t = np.array([0.05, 0.1, 0.25, 1.0])
    means = np.exp(block_log_means(t, np.array([1.0, 3.0, 4.0, 5.0]), 10))
    assert means[0] == pytest.approx(2.0) and means[2] == pytest.approx(4.0)
    assert means[9] == pytest.approx(5.0) and np.isnan(means[1])
    rng = np.random.default_rng(0)
    fractions = np.linspace(0.0001, 0.05, 2000)
    loss = (3 + 1 / fractions**0.2) * np.exp(0.02 * rng.standard_normal(2000))
    loss[::50] *= 3
    assert record_noise(fractions, loss) == pytest.approx(0.02, rel=0.15)
    assert watching.REFORECAST_FROM == 0.1
