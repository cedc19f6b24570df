"""What lm-evaluation-harness logged, read as records."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foresight.errors import UserError
from foresight.evals.interop.lm_eval import LoggedRun, _best, _target, read_samples
from foresight.evals.journal import record_of
from foresight.evals.record import Reason
from tests.evals.interop.conftest import RECORDED, recorded

Logged = Callable[..., LoggedRun]
METRICS = [
    ("tiny_geo", "acc"),
    ("tiny_geo", "acc_norm"),
    ("tiny_letters", "acc"),
    ("tiny_letters", "acc_bytes"),
    ("tiny_letters", "acc_mutual_info"),
    ("tiny_hidden", "acc"),
]


@pytest.mark.parametrize(("task", "metric"), METRICS)
def test_answers_and_targets_give_the_logged_scores(logged: Logged, task: str, metric: str) -> None:
    """The answer is chosen here, the score was given there: they must agree on every item."""
    run = logged(task, metric)
    assert run.records and run.mean == pytest.approx(run.stated)
    for record in run.records:
        assert record.answer in record.choices and isinstance(record.target, int)
        right = record.choices[record.target] == record.answer
        assert record.score == float(right), record


def test_the_metrics_of_one_log_choose_differently(logged: Logged) -> None:
    """Else the test above would say little."""
    by_metric = [[one.answer for one in logged("tiny_geo", m).records] for m in ("acc", "acc_norm")]
    assert by_metric[0] != by_metric[1]


def test_multiple_choice(logged: Logged) -> None:
    record = logged("tiny_geo").records[1]
    assert (record.task, record.item, record.model) == ("tiny_geo", "geo-1", "tiny-llama")
    assert record.prompt == "Which river runs through Cairo?\nAnswer:"
    assert record.choices == ("the Rhine", "the Nile", "the Volga", "the Amazon")
    assert record.choice_logprobs == (
        -59.07583999633789, -48.45085906982422, -65.53402709960938, -71.52398681640625,
    )  # fmt: skip
    assert (record.target, record.score, record.answer) == (1, 1.0, "the Nile")
    assert record.details["metrics"] == {"acc": 1.0, "acc_norm": 1.0}
    assert record.details["doc_hash"].startswith("7d352bb5")


def test_twelve_options_stand_in_their_order(logged: Logged) -> None:
    """The log numbers them in keys, which sort as 0, 1, 10, 11, 2."""
    record = logged("tiny_letters").records[0]
    assert record.choices == tuple("abcdefghijkl")
    assert len(record.choice_logprobs) == len(record.details["unconditional_logprobs"]) == 12
    assert record.target == 3


def test_options_inside_the_text(logged: Logged) -> None:
    first, second = logged("tiny_hidden").records
    assert first.choices[0].endswith("because the trophy") and first.prompt == " is too large."
    assert (first.target, second.target) == (0, 1)


def test_filters_are_runs_of_their_own() -> None:
    strict, flexible = read_samples(recorded("tiny_sums"))
    assert (strict.task, strict.filter) == ("tiny_sums:strict-match", "strict-match")
    assert {one.reason for one in strict.records} == {Reason.INVALID_FORMAT}
    assert all(one.answer is None and one.score == 0.0 for one in strict.records)
    first, second, _ = flexible.records
    assert (first.answer, first.target, first.score) == ("by", "by", 1.0)
    assert second.reason is Reason.INVALID_FORMAT
    assert flexible.mean == pytest.approx(flexible.stated)
    assert len(first.details["outputs"]) == 2 and first.output == first.details["outputs"][0]
    keys = [one.key for run in (strict, flexible) for one in run.records]
    assert len(set(keys)) == len(keys)


def test_records_are_records_of_ours() -> None:
    for path in RECORDED.glob("samples_*.jsonl"):
        for run in read_samples(path):
            for one in run.records:
                again = record_of(json.loads(one.to_line()))
                assert again.to_line() == one.to_line()


def test_without_a_results_file(tmp_path: Path) -> None:
    folder = tmp_path / "org__tiny"
    folder.mkdir()
    (folder / "samples_geo.jsonl").write_bytes(recorded("tiny_geo").read_bytes())
    (run,) = read_samples(folder / "samples_geo.jsonl")
    assert (run.task, run.stated, run.records[0].model) == ("geo", None, "org/tiny")


Change = Callable[[dict[str, Any]], object]


def changed(tmp_path: Path, task: str, change: Change, line: int = 1) -> Path:
    rows = [json.loads(text) for text in recorded(task).read_text().splitlines()]
    change(rows[line])
    path = tmp_path / "samples_changed.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.pop("doc_id"), "line 2, field doc_id: missing; expected int"),
        (lambda r: r.update(doc_id=0), "line 2, field doc_id: 0 stands already in"),
        (lambda r: r.pop("arguments"), "line 2, field arguments: expected gen_args_0"),
        (lambda r: r.pop("filtered_resps"), "line 2, field filtered_resps: missing"),
        (lambda r: r["filtered_resps"].pop(), "field filtered_resps: 3 for 4 arguments"),
        (lambda r: r["filtered_resps"].__setitem__(0, ["x", "False"]), "expected nats"),
        (lambda r: r["filtered_resps"].__setitem__(0, ["nan", "False"]), "log-probability is nan"),
        (lambda r: r.pop("acc"), "line 2, field acc: None; expected a score in [0, 1]"),
        (lambda r: r.update(acc=3), "line 2, field acc: 3; expected a score in [0, 1]"),
    ],
)
def test_errors_name_file_line_and_field(tmp_path: Path, change: Change, message: str) -> None:
    path = changed(tmp_path, "tiny_geo", change)
    with pytest.raises(UserError) as caught:
        read_samples(path)
    assert str(path) in str(caught.value) and message in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no samples"),
        (b'{"doc_id": 0', "line 1: not valid JSON"),
        (b"[1]\n", "line 1: expected an object, found list"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    ],
)
def test_files_that_are_none(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "samples_x.jsonl"
    path.write_bytes(data)
    with pytest.raises(UserError) as caught:
        read_samples(path)
    assert str(path) in str(caught.value) and message in str(caught.value)


def test_unknown_metrics_are_named() -> None:
    with pytest.raises(UserError, match="line 1, field f1: None"):
        read_samples(recorded("tiny_geo"), "f1")


def test_a_broken_echo_is_refused(tmp_path: Path) -> None:
    """Such a run ends without an error there: every log-probability is 0.0."""
    rows = [json.loads(text) for text in recorded("tiny_geo").read_text().splitlines()]
    for row in rows:
        row["filtered_resps"] = [["0.0", "True"]] * 4
    path = tmp_path / "samples_geo.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError, match=r"every log-probability is 0\.0"):
        read_samples(path)
    rows[0]["filtered_resps"][0] = ["-0.5", "False"]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert len(read_samples(path)[0].records) == 4


def test_older_logs(tmp_path: Path) -> None:
    """Lists of arguments, numbers and booleans as such, no filter field."""

    def older(row: dict[str, Any]) -> None:
        arguments = row["arguments"]
        row["arguments"] = [[one["arg_0"], one["arg_1"]] for one in arguments.values()]
        row["filtered_resps"] = [[float(v), g == "True"] for v, g in row["filtered_resps"]]

    (new,), (old,) = (
        read_samples(recorded("tiny_geo")),
        read_samples(changed(tmp_path, "tiny_geo", older)),
    )
    assert new.records[1].choice_logprobs == old.records[1].choice_logprobs
    assert new.records[1].choices == old.records[1].choices


@given(
    logprobs=st.lists(st.floats(-50, 0), min_size=2, max_size=6),
    right=st.integers(0, 5),
    digits=st.booleans(),
)
def test_the_score_tells_an_index_from_an_option(
    logprobs: list[float], right: int, digits: bool
) -> None:
    """Options "1", "2", ...: is target "1" the second or the first? Both are logged so."""
    right %= len(logprobs)
    texts = [str(at + 1) for at in range(len(logprobs))]
    best = _best(logprobs, texts, "acc", {})
    sample = {"target": str(right) if digits else texts[right], "acc": float(best == right)}
    found = _target(sample, texts, best, "acc")
    assert (found == best) == (best == right)
    if best == right:
        assert found == right
