"""The index: columns equal the records; torn, faulty and repeated lines are told."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foresight.errors import UserError
from foresight.report.record_index import CELL, RecordIndex, natural
from tests.report.records import record, several, texts, write


def test_columns_and_lines_are_those_of_the_records(tmp_path: Path) -> None:
    made = several()
    index = RecordIndex.open([write(tmp_path, made)])
    assert index.size == len(made) and index.notes == []
    for row, one in enumerate(made):
        assert index.record(row) == json.loads(one.to_line())
        for name in ("task", "item", "model", "group", "reason", "answer"):
            assert index.texts[name][row] == getattr(one, name)
        for name in ("sample", "score", "tokens", "weight"):
            value = getattr(one, name)
            assert index.numbers[name][row] == (math.nan if value is None else value) or (
                value is None and math.isnan(index.numbers[name][row])
            )
    assert dict(index.texts["task"].counts()) == {"arc": 60, "mmlu": 59}


def test_a_file_cut_anywhere_keeps_its_whole_lines(tmp_path: Path) -> None:
    made = [record(f"q-{at}", prompt="Ünï\ncode") for at in range(3)]
    path = write(tmp_path, made)
    whole = path.read_bytes()
    ends = [at for at, byte in enumerate(whole) if byte == ord("\n")]
    near = {end + step for end in ends for step in (-1, 0, 1, 2)}
    for cut in sorted({*range(ends[0], len(whole), 9), *near} - {ends[0] - 1, len(whole) + 1}):
        path.write_bytes(whole[:cut])
        index = RecordIndex.open([path])
        # A last line that lacks its line break alone is whole.
        assert index.size == sum(end <= cut for end in ends)
        torn = cut not in ends and cut - 1 not in ends
        assert [f"{path}: the last line is torn"[:60] in note[:60] for note in index.notes] == (
            [True] if torn else []
        ), cut


def test_faulty_lines_and_unknown_fields_are_told(tmp_path: Path) -> None:
    path = write(tmp_path, [])
    extra = json.loads(record().to_line()) | {"mood": "calm"}
    lines = [json.dumps(extra), "{", "", "[1]", '{"key": "k"}', *["nonsense"] * 5]
    lines.append(json.dumps(json.loads(record().to_line()) | {"weight": math.nan}))
    path.write_text("\n".join(lines) + "\n")
    index = RecordIndex.open([path])
    assert index.size == 1
    told = "\n".join(index.notes)
    assert f"{path}, line 2: no record" in told and "line 4: no record (not a JSON object)" in told
    assert "line 5: no record (no field task" in told and "4 more lines are no records" in told
    assert "shown as they stand: mood (1)" in told


def test_the_last_of_repeated_records_stands(tmp_path: Path) -> None:
    path = write(tmp_path, [record(score=0.0), record("q-2"), record(score=1.0)])
    index = RecordIndex.open([path])
    assert [index.texts["item"][row] for row in range(index.size)] == ["q-2", "q-1"]
    assert index.numbers["score"][1] == 1.0 and "the last stands" in index.notes[0]
    # The same questions in another argument are another run of one model, not a repetition.
    two = RecordIndex.open([path, write(tmp_path, [record(score=0.0)], "again.jsonl")])
    assert two.size == 3
    assert [name for name, _ in two.texts["model"].counts()] == ["small (1)", "small (2)"]


def test_files_are_found_or_named(tmp_path: Path) -> None:
    for task in ("arc", "mmlu"):
        write(tmp_path / task, [record(task=task)])
    assert RecordIndex.open([tmp_path]).size == 2
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no records\.jsonl in this folder"):
        RecordIndex.open([tmp_path / "empty"])
    with pytest.raises(UserError, match="no such file"):
        RecordIndex.open([tmp_path / "nowhere.jsonl"])
    (tmp_path / "empty" / "records.jsonl").write_text("")
    with pytest.raises(UserError, match="no evaluation record"):
        RecordIndex.open([tmp_path / "empty"])


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=6), texts, texts)
def test_typing_on_finds_what_a_fresh_search_finds(
    words: list[tuple[str, str]], first: str, more: str
) -> None:
    made = [record(f"q-{at}", prompt=a, output=b) for at, (a, b) in enumerate(words)]
    index, fresh = RecordIndex.of(made), RecordIndex.of(made)
    index.matches(first)
    assert np.array_equal(index.matches(first + more), fresh.matches(first + more))


def test_typing_on_looks_among_the_hits_only() -> None:
    index = RecordIndex.of([record("a", prompt="one"), record("b", prompt="none")])
    index.matches("n").fill(False)
    assert not index.matches("no").any()
    assert index.matches("ON").sum() == 2


def test_numbers_sort_as_numbers_and_long_answers_are_cut() -> None:
    assert sorted(["q-10", "Q-9", "q-1a", "q"], key=natural) == ["q", "q-1a", "Q-9", "q-10"]
    assert natural("9" * 10_000) > natural("1")
    index = RecordIndex.of([record(answer="x" * 5000), record("q-2", answer=None)])
    cell = index.texts["answer"][0]
    assert cell is not None and len(cell) == CELL + 1
    assert len(index.record(0)["answer"]) == 5000
    assert index.texts["answer"][1] is None and math.isnan(index.sort_key("answer")[1])


def test_progress_ends_at_the_bytes_of_all_files(tmp_path: Path) -> None:
    path, seen = write(tmp_path, several()), []
    RecordIndex.open([path, path], seen.append)
    assert seen[-1] == 2 * path.stat().st_size
