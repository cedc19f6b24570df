"""Every form of a corpus gives the same documents, whole or in pieces."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foresight.data.corpus import Corpus
from foresight.data.shards import Shard
from foresight.errors import UserError
from foresight.evals.contamination import corpora
from foresight.evals.contamination.corpora import Unit, units_of
from foresight.evals.contamination.normalise import spaced
from foresight.runs import write_json
from tests.evals.contamination.corpus_files import WRITERS, write_jsonl, write_parquet

TEXTS = [
    "first, with “quotes”",
    "",
    "second\r\nof two lines\u2028",
    "third é",
    "4",
    "fünf" * 50,
    "x",
]


def texts_of(units: Sequence[Unit]) -> list[str]:
    return [piece.text.decode() for unit in units for piece in unit.pieces(50)]


@pytest.mark.parametrize("write", WRITERS)
def test_the_same_documents_from_every_form(
    tmp_path: Path, write: Callable[[Path, Sequence[str]], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpora, "UNIT_BYTES", 100)
    units = units_of([str(write(tmp_path, TEXTS))], "text", None)
    assert texts_of(units) == TEXTS


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(st.sampled_from("aé\n“"), max_size=12), min_size=1, max_size=12))
def test_units_cut_anywhere_hold_each_line_once(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    path = write_jsonl(tmp_path_factory.mktemp("lines"), texts)
    size = path.stat().st_size
    whole = Unit("jsonl", (str(path),), "text")
    for step in (1, 2, 7, 30):
        parts = [replace(whole, start=at, stop=min(size, at + step)) for at in range(0, size, step)]
        assert texts_of(parts) == texts


@settings(max_examples=60, deadline=None)
@given(st.text(st.sampled_from("ab éЖ漢,.\0"), max_size=400), st.integers(1, 8))
def test_pieces_overlap_by_what_is_looked_for(text: str, reach: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpora, "PIECE_BYTES", 64 * reach)
        data = text.encode()
        chunks = iter([data[at : at + 16] for at in range(0, len(data), 16)])
        pieces = list(corpora._pieces(3, chunks, reach))
    clean = text.replace("\0", " ")
    windows = set()
    for piece in pieces:
        part = piece.text.decode()
        assert clean[piece.start : piece.start + len(part)] == part and piece.document == 3
        letters = spaced(piece.text, False).replace(b" ", b"")
        windows |= {letters[at : at + reach] for at in range(len(letters) - reach + 1)}
    assert pieces[-1].start + len(pieces[-1].text.decode()) == len(clean)
    whole = spaced(clean.encode(), False).replace(b" ", b"")
    wanted = {whole[at : at + reach] for at in range(len(whole) - reach + 1)}
    assert windows >= wanted or max(map(len, re.split(r"\w+", clean))) > 64 * reach


def test_invalid_bytes_and_zeros_shift_nothing(tmp_path: Path) -> None:
    path = tmp_path / "odd.txt"
    path.write_bytes(b"a\xffb\0c\xc3")
    (piece,) = Unit("text", (str(path),)).pieces(50)
    assert piece.text.decode() == "a\ufffdb c\ufffd"


def test_fields_inside_fields_and_lines_without_text(tmp_path: Path) -> None:
    path = tmp_path / "nested.jsonl"
    path.write_text('{"meta": {"body": "inside"}}\n\n{"meta": {"body": null}}\n')
    assert texts_of(units_of([str(path)], "meta.body", None)) == ["inside", "", ""]


def test_kinds_of_files_without_a_suffix(tmp_path: Path) -> None:
    path = tmp_path / "part-0001"
    path.write_text('{"text": "row"}\n')
    assert texts_of(units_of([str(path)], "text", "jsonl")) == ["row"]
    assert texts_of(units_of([str(path)], "text", None)) == ['{"text": "row"}\n']


def test_our_own_corpora(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the folder, from the experiment around it, and from a run; training documents only."""
    monkeypatch.setattr(corpora, "UNIT_BYTES", 40_000)
    units = units_of([str(corpus.directory)], "text", None)
    assert units == units_of([str(corpus.directory.parent)], "text", None)
    shards = [Shard.open(corpus.directory, f"{name}.train") for name in corpus.names]
    texts = texts_of(units)
    assert len(texts) == sum(len(one) for one in shards) and len(units) > len(shards)
    first = shards[0].tokens[: shards[0].offsets[1]].tolist()
    assert texts[0] == corpus.tokenizer.decode(first)
    run = corpus.directory.parent / "ladder" / "run"
    write_json(run / "run.json", {"hashes": {"data": corpus.sha256}})
    assert units_of([str(run)], "text", None) == [
        replace(unit, files=tuple(str(Path(name).resolve()) for name in unit.files))
        for unit in units
    ]
    write_json(run / "run.json", {"hashes": {"data": "another"}})
    with pytest.raises(UserError, match="was trained on another corpus"):
        units_of([str(run)], "text", None)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"line 3: "),
        ('{"body": "x"}', r"line 3: field text is missing; it has body \(name it with --field\)"),
        ('{"text": 3}', r"line 3: field text: 3; expected a text"),
        ("[1]", r"line 3: field text is missing"),
    ],
)
def test_wrong_lines_are_named(
    tmp_path: Path, line: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpora, "UNIT_BYTES", 15)
    path = tmp_path / "corpus.jsonl"
    path.write_text(json.dumps({"text": "good"}) + "\n" + json.dumps({"text": "x"}) + f"\n{line}\n")
    with pytest.raises(UserError, match=message):
        texts_of(units_of([str(path)], "text", None))


def test_wrong_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere.txt: cannot be read"):
        units_of([str(tmp_path / "nowhere.txt")], "text", None)
    with pytest.raises(UserError, match="holds no files"):
        units_of([str(tmp_path)], "text", None)
    path = write_parquet(tmp_path, TEXTS)
    with pytest.raises(UserError, match="no column body; it has text"):
        units_of([str(path)], "body", None)
    path.write_bytes(b"PAR1 no more")
    with pytest.raises(UserError, match="not a readable Parquet file"):
        units_of([str(path)], "text", None)
    torn = WRITERS[1](tmp_path, [*TEXTS, "long " * 10_000])
    torn.write_bytes(torn.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"corpus.jsonl.gz: cannot be read"):
        texts_of(units_of([str(torn)], "text", None))
