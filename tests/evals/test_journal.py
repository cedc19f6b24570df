"""Record files: torn lines, later lines, what is no record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foresight.errors import UserError
from foresight.evals.journal import Journal, read_records, record_of, record_sets, write_sorted
from foresight.evals.record import Record
from tests.evals.test_summary import record


def fill(path: Path, *records: Record) -> None:
    with Journal(path) as journal:
        for one in records:
            journal.append(one.to_line())


def test_records_come_back_and_give_the_same_bytes(tmp_path: Path) -> None:
    wrote = [
        record(0, None, prompt='a "b"\n\u2028c', details={"x": [1, None]}),
        record(1, 0.5, target=1, choices=("a", "b"), choice_logprobs=(-0.1, float("-inf"))),
    ]
    fill(tmp_path / "r.jsonl", *wrote)
    read = read_records(tmp_path / "r.jsonl")
    assert [one.to_line() for one in read] == [one.to_line() for one in wrote]
    assert read[1] == wrote[1] and read[0].reason is wrote[0].reason


@given(cut=st.integers(1, 300))
def test_a_torn_line_is_cut_off_before_the_next(
    cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("torn") / "r.jsonl"
    fill(path, record(0), record(1))
    path.write_bytes(path.read_bytes()[:-cut])
    whole = path.read_bytes().count(b"\n")
    assert len(read_records(path)) == whole
    fill(path, record(2))
    assert [one.item for one in read_records(path)] == [*["q0", "q1"][:whole], "q2"]


def test_without_the_cut_a_record_would_be_lost(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    fill(path, record(0), record(1))
    path.write_bytes(path.read_bytes()[:-10])
    with path.open("a") as stream:
        stream.write(record(2).to_line() + "\n")
    with pytest.raises(UserError, match=r"r\.jsonl, line 2: not a record"):
        read_records(path)


def test_lines_longer_than_a_block_are_found(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    fill(path, record(0), record(1, output="x" * 200_000))
    path.write_bytes(path.read_bytes()[:-1])
    fill(path, record(2))
    assert [one.item for one in read_records(path)] == ["q0", "q2"]


def test_sorting_keeps_the_later_line_and_strangers_last(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    fill(path, record(5), record(1, None), record(0), record(1, 1.0))
    places = {record(0).key: 0, record(1).key: 1}
    write_sorted(path, places)
    assert [(one.item, one.score) for one in read_records(path)] == [
        ("q0", 1.0), ("q1", 1.0), ("q5", 1.0),
    ]  # fmt: skip
    before = path.stat().st_mtime_ns
    write_sorted(path, places)
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "change",
    [{"score": 1.5}, {"reason": "bored"}, {"colour": 1}, {"choices": 3}, {"score": "high"}],
)
def test_what_is_no_record_is_named(tmp_path: Path, change: dict[str, object]) -> None:
    value = json.loads(record(0).to_line())
    record_of(value)
    (tmp_path / "r.jsonl").write_text(json.dumps(value | change) + "\n")
    with pytest.raises(UserError, match=r"r\.jsonl, line 1: not a record"):
        read_records(tmp_path / "r.jsonl")


def test_sets_of_a_directory(tmp_path: Path) -> None:
    fill(tmp_path / "a" / "records.jsonl", record(0))
    fill(tmp_path / "b" / "records.jsonl", record(0, task="u"), record(1, task="u"))
    assert {name: len(rows) for name, rows in record_sets(tmp_path).items()} == {"t": 1, "u": 2}
    fill(tmp_path / "c" / "records.jsonl", record(7, model="n"))
    with pytest.raises(UserError, match="records of t are of models m, n"):
        record_sets(tmp_path)
    with pytest.raises(UserError, match="holds no records"):
        record_sets(_empty(tmp_path))


def _empty(folder: Path) -> Path:
    made = folder / "empty"
    made.mkdir()
    return made
