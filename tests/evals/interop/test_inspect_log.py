"""Logs for inspect_ai: the form, and what inspect_ai itself reads out of them."""

from __future__ import annotations

import json
import math
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from foresight.errors import UserError
from foresight.evals.interop.inspect_log import SCORER, inspect_log, write_logs
from foresight.evals.interop.lm_eval import LoggedRun
from foresight.evals.record import UNSCORED, Reason, Record
from tests.evals.interop.conftest import FILES

WHEN = datetime(2026, 11, 1, 12, tzinfo=UTC)
GOLDEN = FILES / "inspect" / "2026-11-01T12-00-00+00-00_tiny-geo_golden.json"


@pytest.fixture(scope="module")
def records(logged: Callable[..., LoggedRun]) -> list[Record]:
    """Multiple choice; one question not answered, one not graded, one asked twice."""
    first, second, third, fourth = logged("tiny_geo").records
    late = {"error": "endpoint timed out after 3 tries"}
    return [
        replace(first, group="europe", tokens=12),
        replace(second, reason=Reason.NO_RESPONSE, score=None, answer=None, details=late),
        replace(third, reason=Reason.GRADER_FAILED, score=None),
        replace(fourth, reason=Reason.INVALID_FORMAT, output="Osaka?\n", answer=None),
        replace(fourth, sample=1, key="again", output="It is D.", answer="D", score=1.0),
    ]


def plain(log: dict[str, Any]) -> dict[str, Any]:
    """Without the version of this program; NaN, which equals nothing, as text."""
    text = json.dumps(log | {"eval": log["eval"] | {"packages": {}}}, sort_keys=True)
    return dict(json.loads(text.replace("NaN", '"nan"')))


def test_the_golden_log_is_written_again(records: list[Record]) -> None:
    """inspect_ai reads the golden file (below, where it is installed): any change of the form must
    pass there before it is committed."""
    assert plain(inspect_log(records, WHEN)) == plain(json.loads(GOLDEN.read_text()))


def test_scores_reasons_and_errors(records: list[Record]) -> None:
    log = inspect_log(records, WHEN)
    scores = [sample["scores"][SCORER] for sample in log["samples"]]
    assert [one["reason"] for one in scores] == [
        None, "no_response", "grader_failed", "invalid_response_format", None,
    ]  # fmt: skip
    assert [math.isnan(one["value"]) for one in scores] == [False, True, True, False, False]
    assert log["samples"][1]["error"]["message"] == "endpoint timed out after 3 tries"
    assert [len(sample["messages"]) for sample in log["samples"]] == [2, 1, 2, 2, 2]
    assert [sample["epoch"] for sample in log["samples"]] == [1, 1, 1, 1, 2]
    assert [sample["target"] for sample in log["samples"]] == ["A", "B", "C", "D", "D"]
    assert scores[0]["answer"] == "B" and "B) Rome: -28.8340 nats" in scores[0]["explanation"]
    (score,) = log["results"]["scores"]
    assert (score["scored_samples"], score["unscored_samples"]) == (3, 2)
    assert score["metrics"]["mean"]["value"] == pytest.approx(1 / 3)
    assert log["eval"]["config"]["epochs"] == 2
    assert log["eval"]["dataset"]["sample_ids"] == ["geo-0", "geo-1", "geo-2", "geo-3"]
    assert log["stats"]["model_usage"]["tiny-llama"]["total_tokens"] == 12


RECORDS = st.builds(
    Record,
    key=st.text(min_size=1, max_size=8),
    task=st.just("t"),
    item=st.text(min_size=1, max_size=8),
    sample=st.integers(0, 3),
    model=st.just("m"),
    group=st.text(max_size=3),
    weight=st.floats(0.1, 2),
    prompt=st.text(max_size=40),
    output=st.text(max_size=40),
    answer=st.none() | st.text(max_size=5),
    target=st.one_of(st.text(max_size=5), st.lists(st.text(max_size=5), max_size=3), st.none()),
    score=st.floats(0, 1),
    reason=st.sampled_from(Reason),
    choices=st.just(()),
).map(lambda one: replace(one, score=None) if one.reason in UNSCORED else one)


@given(st.lists(RECORDS, min_size=1, max_size=5))
def test_any_records_make_a_log(some: list[Record]) -> None:
    log = inspect_log(some, WHEN)
    assert json.loads(json.dumps(log, allow_nan=True))["eval"]["task"] == "t"
    for record, sample in zip(some, log["samples"], strict=True):
        value = sample["scores"][SCORER]["value"]
        assert math.isnan(value) if record.score is None else value == record.score
        assert isinstance(sample["target"], str | list)
        assert (sample.get("error") is not None) == (record.reason is Reason.NO_RESPONSE)


def test_the_zip_has_what_the_viewer_reads(records: list[Record], tmp_path: Path) -> None:
    (path,) = write_logs(records, tmp_path / "a.eval", WHEN)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        header = json.loads(archive.read("header.json"))
        summaries = json.loads(archive.read("summaries.json"))
        sample = json.loads(archive.read("samples/geo-3_epoch_2.json"))
    assert {"_journal/start.json", "header.json", "summaries.json"} <= set(names)
    assert len(names) == 3 + 5 and "samples" not in header
    assert [one["error"] for one in summaries][:2] == [None, "endpoint timed out after 3 tries"]
    assert sample["messages"][1]["content"] == "It is D."
    again = tmp_path / "b.eval"
    write_logs(records, again, WHEN)
    assert again.read_bytes() == path.read_bytes()


def test_several_tasks_need_a_folder(records: list[Record], tmp_path: Path) -> None:
    both = [*records, replace(records[0], task="x/y_z", key="other")]
    with pytest.raises(UserError, match="2 tasks and models, a log is of one; name a folder"):
        write_logs(both, tmp_path / "a.json", WHEN)
    paths = write_logs(both, tmp_path / "logs", WHEN)
    # inspect parts names at underscores into date, task and id.
    assert [path.name.split("_")[1] for path in paths] == ["tiny-geo", "x-y-z"]
    with pytest.raises(UserError, match="no records"):
        write_logs([], tmp_path / "a.json", WHEN)


def test_pictures_are_put_in(records: list[Record], tmp_path: Path) -> None:
    sha = "ab" * 32
    Image.fromarray(np.zeros((2, 3, 3), np.uint8)).save(tmp_path / f"{sha}.png")
    seen = replace(records[0], prompt=f"Look: [image {sha} 2x3] and [image {'cd' * 32} 2x3]?")
    (sample,) = inspect_log([seen], WHEN, tmp_path)["samples"]
    before, picture, after = sample["input"][0]["content"]
    assert before["text"] == "Look: " and after["text"] == f" and [image {'cd' * 32} 2x3]?"
    assert picture["image"].startswith("data:image/png;base64,iVBOR")
    assert inspect_log([seen], WHEN)["samples"][0]["input"] == seen.prompt


READ = """
import json, sys
from inspect_ai.log import read_eval_log, read_eval_log_sample_summaries
for path in sys.argv[1:]:
    log, thin = read_eval_log(path), read_eval_log_sample_summaries(path)
    read_eval_log(path, header_only=True)
    score = log.results.scores[0]
    print(json.dumps({
        "status": log.status,
        "mean": score.metrics["mean"].value,
        "unscored": score.unscored_samples,
        "samples": [
            [s.id, s.epoch, s.target, s.input if isinstance(s.input, str) else "chat",
             str(s.scores["foresight"].value), s.scores["foresight"].reason,
             s.scores["foresight"].answer, s.error.message if s.error else None,
             [m.role for m in s.messages], s.output.completion]
            for s in log.samples
        ],
        "thin": [[s.id, s.epoch, s.error, s.completed] for s in thin],
    }))
"""


@pytest.mark.slow
def test_inspect_reads_them(records: list[Record], tmp_path: Path, peers: Path) -> None:
    """With inspect_ai's own schema. A log with a wrong field is refused, so the check can fail."""
    paths = [GOLDEN, *write_logs(records, tmp_path / "a.eval", WHEN)]
    done = subprocess.run([peers, "-c", READ, *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    read = [json.loads(line) for line in done.stdout.splitlines()]
    assert read[0] == read[1] and len(read) == 2
    assert (read[0]["status"], read[0]["unscored"]) == ("success", 2)
    assert read[0]["samples"][1] == [
        "geo-1", 1, "B", "Which river runs through Cairo?\nAnswer:", "nan", "no_response", None,
        "endpoint timed out after 3 tries", ["user"], "",
    ]  # fmt: skip
    assert read[0]["samples"][4][4:7] == ["1.0", None, "D"]
    broken = inspect_log(records, WHEN)
    broken["samples"][0]["epoch"] = "first"
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(broken))
    done = subprocess.run([peers, "-c", READ, path], capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "epoch" in done.stderr
