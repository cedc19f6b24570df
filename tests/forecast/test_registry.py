from __future__ import annotations

import json
import math
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import NormalDist
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foresight.errors import UserError
from foresight.forecast import (
    Registration,
    Row,
    RunTable,
    Subject,
    answer,
    observe,
    read_table,
    register_fit,
    register_stated,
    verify,
)
from foresight.forecast.registry import stated_forecast
from foresight.runs import read_json, sha256_file, sha256_json, write_json
from tests.command import typed
from tests.forecast.event_files import record as tfrecord
from tests.forecast.event_files import write_events

AT = 3e21


def true_loss(compute: float) -> float:
    return float(1.7 + 1.2 * (compute / 1e18) ** -0.12)


@pytest.fixture(scope="module")
def runs_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "runs.csv"
    rows = ["run,FLOPs,c4 loss"]
    for i in range(6):
        compute = 1e18 * 10 ** (i / 2)
        rows.append(f"r{i},{compute:.6g},{true_loss(compute) * (1 + 0.001 * (-1) ** i):.6f}")
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture
def runs(runs_once: Path, tmp_path: Path) -> Path:
    """Six runs over two and a half decades; a copy."""
    return Path(shutil.copy(runs_once, tmp_path))


@pytest.fixture(scope="module")
def pending(runs_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One fit without an outcome; not to be touched."""
    registry = tmp_path_factory.mktemp("pending") / "p"
    fitted(registry, runs_once)
    return registry


def fitted(registry: Path, runs: Path | RunTable, name: str = "big", **other: Any) -> Registration:
    columns = {"loss": "c4 loss"} if isinstance(runs, Path) else {}
    target = other.pop("run", name)
    return register_fit(registry, name, Subject(target, AT), runs, columns, **other)


def stated(registry: Path, name: str = "rival", run: str = "big", **other: Any) -> Registration:
    subject = Subject(run, log=other.pop("log", None))
    pairs = {"80": (2.1, 2.3), "95": (2.0, 2.35)}
    return register_stated(registry, name, subject, "c4 loss", 2.2, pairs, **other)


def test_a_fit_is_registered_observed_and_verified(runs: Path, tmp_path: Path) -> None:
    registry = tmp_path / "p"
    record = fitted(registry, runs).record
    expected = answer(read_table(runs, {"loss": "c4 loss"}), [AT]).forecasts[0]
    assert record["forecast"]["point"] == pytest.approx(expected.point, rel=1e-7)
    assert (registry / record["table"]["file"]).read_bytes() == runs.read_bytes()
    assert record["table"]["file"] == f"files/{sha256_file(runs)}.csv"
    assert record["falsification"]["below"] == record["forecast"]["intervals"]["95"][0]
    runs.unlink()  # the registry stands by itself
    report = verify(registry)
    assert report.holds and report.scores[0].status == "pending"
    observe(registry, "big", true_loss(AT))
    report = verify(registry)
    (score,) = report.scores
    assert report.holds and score.inside == {"50": True, "80": True, "95": True}
    assert score.kind == "registered" and score.scale == "log" and score.crps is not None
    error = math.log(score.predicted / true_loss(AT))
    assert score.error_in_sd == pytest.approx(abs(error) / record["forecast"]["sd_log"])
    assert report.to_json()["totals"][0]["coverage"]["95"]["inside"] == 1


def test_rows_are_kept_and_read_again(runs: Path, tmp_path: Path) -> None:
    table = read_table(runs, {"loss": "c4 loss"})
    odd = Row("out", 1e18, 9.0, eligible=False, reasons=("clip_rate",))
    rows = RunTable((*table.rows, odd), "losses/mix")
    made = fitted(tmp_path / "p", rows)
    assert made.record["metric"] == "losses/mix"
    assert len((tmp_path / "p" / made.record["table"]["file"]).read_text().splitlines()) == 6
    file = fitted(tmp_path / "q", runs)
    assert made.record["forecast"] == file.record["forecast"]
    assert verify(tmp_path / "p").holds


def test_stated_predictions_are_scored_in_their_unit(tmp_path: Path) -> None:
    made = stated(tmp_path)
    sd = 0.35 / (2 * NormalDist().inv_cdf(0.975))
    assert made.record["forecast"]["sd"] == pytest.approx(sd)
    observe(tmp_path, "rival", 2.32)
    report = verify(tmp_path)
    (score,) = report.scores
    assert report.holds and (score.kind, score.scale) == ("stated", "linear")
    assert score.error_in_sd == pytest.approx(0.12 / sd)
    assert score.inside == {"80": False, "95": True} and score.extrapolation_ratio is None


def test_scores_may_be_zero_or_negative(tmp_path: Path) -> None:
    register_stated(tmp_path, "elo", Subject("x"), "elo", -10.0, {"95": (-40.0, 30.0)})
    observe(tmp_path, "elo", 0.0)
    (score,) = verify(tmp_path).scores
    assert score.observed == 0.0 and score.error_percent is None and score.inside == {"95": True}


finite = st.floats(-1e6, 1e6)


@given(st.lists(finite, min_size=5, max_size=5, unique=True), st.permutations(range(5)))
def test_intervals_hold_the_value_and_one_another(numbers: list[float], order: list[int]) -> None:
    """Sorted bounds are taken; any other order of the same five numbers is refused."""
    low95, low50, value, high50, high95 = (sorted(numbers)[i] for i in order)
    pairs = {"50": (low50, high50), "95": (low95, high95)}
    if order == list(range(5)):
        assert stated_forecast(None, value, pairs)["intervals"]["95"] == [low95, high95]
    else:
        with pytest.raises(UserError, match="expected LOW < HIGH"):
            stated_forecast(None, value, pairs)


@pytest.mark.parametrize(
    ("value", "pairs", "message"),
    [
        (1.0, {"50": (0.5, 2.0)}, "needs --interval95"),
        (1.0, {"95": (1.0, 1.0)}, "expected LOW < HIGH"),
        (1.0, {"95": (-math.inf, 2.0)}, "both finite"),
        (math.nan, {"95": (0.0, 2.0)}, "expected LOW < HIGH"),
    ],
)
def test_what_cannot_be_wrong_is_refused(
    tmp_path: Path, value: float, pairs: dict[str, tuple[float, float]], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        register_stated(tmp_path, "a", Subject("a"), "m", value, pairs)
    assert not list(tmp_path.glob("*.json"))


def test_names_are_taken_once_and_plain(runs: Path, tmp_path: Path) -> None:
    stated(tmp_path / "p", "big")
    with pytest.raises(UserError, match="already registered"):
        fitted(tmp_path / "p", runs)
    for name in ("../a", "A", "a.git", ""):
        with pytest.raises(UserError, match="registration name"):
            stated(tmp_path / "p", name)
    with pytest.raises(UserError, match="the compute of the predicted run is missing"):
        register_fit(tmp_path / "p", "other", Subject("other"), runs)
    # A refused registration leaves no table behind.
    assert not (tmp_path / "p" / "files").exists() or not list((tmp_path / "p/files").iterdir())


def test_a_refused_forecast_cannot_be_registered(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ratio_too_large"):
        register_fit(tmp_path / "p", "far", Subject("far", 1e29), runs, {"loss": "c4 loss"})
    assert not list((tmp_path / "p").rglob("*.*s*"))


def test_known_outcomes_are_refused_unless_back_cast(
    pending: Path, runs: Path, tmp_path: Path
) -> None:
    registry = tmp_path / "p"
    shutil.copytree(pending, registry)
    observe(registry, "big", 2.15)
    with pytest.raises(UserError, match=r"outcome of run 'big' \(c4 loss\) is recorded already"):
        stated(registry)
    with pytest.raises(UserError, match="run 'r5' is in the table"):
        fitted(registry, runs, "again", run="r5")
    stated(registry, run="another")
    made = stated(registry, "late", backcast=True)
    assert made.kind == "back-cast"
    observe(registry, "late", 2.15)
    report = verify(registry)
    assert report.holds
    kinds = {one["kind"]: one["outcomes"] for one in report.to_json()["totals"]}
    assert kinds == {"registered": 1, "stated": 0, "back-cast": 1}


@pytest.mark.parametrize("kind", ["jsonl", "csv", "folder", "tfevents"])
def test_a_log_with_a_step_is_refused(tmp_path: Path, kind: str) -> None:
    log = {
        "jsonl": tmp_path / "log.jsonl", "csv": tmp_path / "log.csv",
        "folder": tmp_path / "run", "tfevents": tmp_path / "tb",
    }[kind]  # fmt: skip
    registry = tmp_path / "p"
    stated(registry, "absent", log=log)
    if kind == "folder":
        log.mkdir()
        (log / "config.yaml").write_text("a: 1\n")
        file = log / "metrics.jsonl"
        file.write_text("")
    elif kind == "tfevents":
        file = write_events(log / "events.out.tfevents.1", {})
    else:
        file = log
        file.write_text("step,loss\n" if kind == "csv" else "\n")
    stated(registry, "empty", log=log)
    if kind == "tfevents":
        write_events(file, {"loss": [(1, 9.0)]})
    else:
        file.write_text(file.read_text() + "1,9.0\n")
    with pytest.raises(UserError, match="already logged a step"):
        stated(registry, "begun", log=log)
    stated(registry, "after", log=log, backcast=True)


def test_damaged_event_log_is_not_taken_for_empty(tmp_path: Path) -> None:
    log = tmp_path / "events.out.tfevents.1"
    log.write_bytes(tfrecord(b"\x2a\x7f"))
    with pytest.raises(UserError, match="not an Event message"):
        stated(tmp_path / "p", log=log)


def test_an_outcome_stands(tmp_path: Path) -> None:
    stated(tmp_path)
    stated(tmp_path, "other")
    result = tmp_path / "result.txt"
    result.write_text("2.2")
    outcome = observe(tmp_path, "rival", 2.2, result)
    assert (tmp_path / outcome["file"]).read_text() == "2.2"
    with pytest.raises(UserError, match="already sealed"):
        observe(tmp_path, "rival", 2.2)
    with pytest.raises(UserError, match=r"rival has 2\.2 for the same run and metric"):
        observe(tmp_path, "other", 2.3)
    observe(tmp_path, "other", 2.2)
    with pytest.raises(UserError, match="nothing is registered as 'nobody'"):
        observe(tmp_path, "nobody", 1.0)
    with pytest.raises(UserError, match="no registry here"):
        observe(tmp_path / "nowhere", "rival", 1.0)


def test_an_outcome_is_a_number_that_the_metric_can_have(pending: Path, tmp_path: Path) -> None:
    shutil.copytree(pending, tmp_path / "p")
    for value in (math.nan, math.inf, 0.0, -1.0):
        with pytest.raises(UserError, match="expected a finite number above 0"):
            observe(tmp_path / "p", "big", value)
    with pytest.raises(UserError, match="cannot be read"):
        observe(tmp_path / "p", "big", 2.0, tmp_path / "absent.json")
    assert not (tmp_path / "p" / "outcomes").exists()


@pytest.fixture(scope="module")
def built(pending: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fit with an outcome and its file, and a pending stated prediction; not to be touched."""
    folder = tmp_path_factory.mktemp("registry")
    (folder / "result.json").write_text('{"loss": 2.15}')
    registry = folder / "p"
    shutil.copytree(pending, registry)
    stated(registry)
    observe(registry, "big", 2.15, folder / "result.json")
    return registry


def test_what_was_not_touched_holds(built: Path) -> None:
    report = verify(built)
    assert report.holds and [score.status for score in report.scores] == ["finished", "pending"]
    assert {f.check for f in report.findings} == {
        "chain", "registration", "table", "prediction", "seal", "result", "order", "forecast"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "after"),
    [
        ("0001-big.json", '"point"'),
        ("0001-big.json", '"created_utc"'),
        ("0002-rival.json", '"sd"'),
        ("chain.jsonl", '"sha256":"'),
        ("outcomes/big.json", '"value"'),
        ("files/*.csv", "loss"),
        ("files/*.json", "loss"),
    ],
)
def test_a_changed_digit_is_found(built: Path, tmp_path: Path, pattern: str, after: str) -> None:
    registry = tmp_path / "copy"
    shutil.copytree(built, registry)
    (path,) = registry.glob(pattern)
    text = path.read_text()
    at = next(i for i in range(text.index(after) + len(after), len(text)) if text[i].isdigit())
    path.write_text(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :])
    assert path.relative_to(registry).as_posix() in {f.file for f in verify(registry).failures}


def forge(registry: Path, name: str, change: Any) -> None:
    """Edit a record, its hash, and the whole chain after it, as a careful forger would."""
    path = registry / name
    record = read_json(path)
    change(record)
    old = record.pop("sha256")
    record["sha256"] = sha256_json(record)
    write_json(path, record)
    chain = registry / "chain.jsonl"
    lines = [json.loads(line) for line in chain.read_text().splitlines()]
    previous = None
    for line in lines:
        line["sha256"] = record["sha256"] if line["sha256"] == old else line["sha256"]
        line["previous"], previous = previous, None
        previous = sha256_json(line)
    chain.write_text("".join(json.dumps(line) + "\n" for line in lines))


def raised(record: dict[str, Any]) -> None:
    record["forecast"]["point"] *= 1.01


def moved(record: dict[str, Any]) -> None:
    raised(record)
    record["code"]["sha256"] = "0" * 64


def test_a_forged_forecast_is_found_by_fitting_again(built: Path, tmp_path: Path) -> None:
    registry = tmp_path / "copy"
    shutil.copytree(built, registry)
    (registry / "0002-rival.json").unlink()  # its `previous` would tell as well
    forge(registry, "0001-big.json", raised)
    failures = [f for f in verify(registry).failures if f.file == "0001-big.json"]
    assert [f.message for f in failures] == [
        "recomputed from the kept table, forecast/point differs"
    ]


def test_other_code_is_said_and_confirms_nothing(built: Path, tmp_path: Path) -> None:
    registry = tmp_path / "copy"
    shutil.copytree(built, registry)
    forge(registry, "0001-big.json", moved)
    report = verify(registry)
    assert "0001-big.json" not in {f.file for f in report.failures}
    (remark,) = report.remarks
    assert remark.message.startswith("not confirmed: registered by other code (foresight ")
    assert "forecast/point differs" in remark.message

    def same(record: dict[str, Any]) -> None:
        record["forecast"]["point"] /= 1.01

    forge(registry, "0001-big.json", same)
    report = verify(registry)
    assert not report.remarks
    said = [
        f.message for f in report.findings if (f.check, f.file) == ("prediction", "0001-big.json")
    ]
    assert len(said) == 1 and "by other code" in said[0] and said[0].endswith("the same")


def test_other_forgeries(built: Path, tmp_path: Path) -> None:
    def rule(record: dict[str, Any]) -> None:
        record["falsification"]["above"] += 1

    def wide(record: dict[str, Any]) -> None:
        record["forecast"]["sd"] *= 2

    def holes(record: dict[str, Any]) -> None:
        record["forecast"], record["table"] = [], None

    for file, change, message in (
        ("0002-rival.json", rule, "falsification rule is not its interval"),
        ("0002-rival.json", wide, "forecast/sd does not follow"),
        ("0001-big.json", holes, "malformed"),
    ):
        registry = tmp_path / change.__name__
        shutil.copytree(built, registry)
        forge(registry, file, change)
        assert any(message in f.message for f in verify(registry).failures if f.file == file)


def test_an_unlisted_outcome_or_registration_is_found(built: Path, tmp_path: Path) -> None:
    registry = tmp_path / "copy"
    shutil.copytree(built, registry)
    shutil.copy(registry / "outcomes" / "big.json", registry / "outcomes" / "rival.json")
    shutil.copy(registry / "0002-rival.json", registry / "0003-more.json")
    assert [f.file for f in verify(registry).failures] == [
        "0003-more.json", "outcomes/rival.json"
    ]  # fmt: skip


def test_registered_behind_a_known_outcome(tmp_path: Path) -> None:
    """A back-cast whose flag was filed off: the chain has the outcome before it."""
    stated(tmp_path, "first")
    observe(tmp_path, "first", 2.2)
    made = stated(tmp_path, "second", backcast=True)
    assert verify(tmp_path).holds

    def unflag(record: dict[str, Any]) -> None:
        record["backcast"] = False

    forge(tmp_path, made.path.name, unflag)
    (failure,) = verify(tmp_path).failures
    assert failure.check == "order" and "its outcome was known" in failure.message


def test_an_outcome_dated_before_its_prediction(tmp_path: Path) -> None:
    stated(tmp_path)
    observe(tmp_path, "rival", 2.2, now=datetime.now(UTC) - timedelta(days=1))
    assert [f.check for f in verify(tmp_path).failures] == ["order"]


def test_an_outcome_outside_falsifies(tmp_path: Path) -> None:
    stated(tmp_path)
    observe(tmp_path, "rival", 2.4)
    report = verify(tmp_path)
    assert [f.check for f in report.failures] == ["forecast"]
    assert report.scores[0].inside == {"80": False, "95": False}


def test_the_commands(runs: Path, tmp_path: Path) -> None:
    where = ("--registry", tmp_path / "p", "--json")
    done = typed("register", runs, "--loss", "c4 loss", "--name", "big", "--at", AT, *where)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["path"].endswith("0001-big.json")
    done = typed("register", "--name", "elo", "--metric", "elo", "--value", -3,
                     "--interval95", -9, 4, "--interval50", -5, -1, *where)  # fmt: skip
    assert json.loads(done.stdout)["forecast"]["intervals"] == {"50": [-5, -1], "95": [-9, 4]}
    done = typed("observe", "big", "--value", 2.15, *where)
    assert json.loads(done.stdout)["value"] == 2.15
    done = typed("verify", tmp_path / "p", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["holds"]
    assert "inside" in typed("verify", tmp_path / "p").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("register", "--name", "x"), "register either RUNS --at FLOPS, or"),
        (("register", "r.csv", "--name", "x", "--value", "1"), "register either RUNS --at"),
        (("register", "--name", "x", "--value", "1"), "--value needs --metric"),
        (("register", "--name", "x", "--value", "1", "--metric", "m"), "needs --interval95"),
        (("register", "r.csv", "--name", "x"), "the compute of the predicted run is missing"),
        (("register", "r.csv", "--name", "x", "--target-params", "3"), "belong together"),
        (("register", "r.csv", "--name", "x", "--at", "1e21"), "no such file"),
        (("observe", "elo", "--value", "nan"), "no registry here"),
        (("scoreboard",), "no registrations"),
    ],
)
def test_what_the_commands_refuse(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    done = typed(*arguments)
    assert done.returncode == 2
    assert message in re.sub(r"\s+", " ", done.stderr)
