"""Sources read what is there, say what is not, and split by whole group."""

import json
import sys
import types
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from foresight.data import sources
from foresight.data.sources import size_bytes
from foresight.document import Document, Image, Text
from foresight.errors import UserError


@pytest.fixture(scope="module")
def library():
    skipped = Counter()
    return list(sources.standard_library(skipped, tests=True)), skipped


def test_the_standard_library_is_read_without_tables_and_broken_files(library):
    documents, skipped = library
    ids = {document.id for document in documents}
    assert {"ast.py", "json/decoder.py", "test/test_ast.py"} <= ids
    assert sum(map(size_bytes, documents)) > 5_000_000
    assert not any("site-packages" in name for name in ids)
    assert not ids & {"pydoc_data/topics.py", "encodings/cp037.py", "test/bad_coding.py"}
    assert "encodings/utf_8.py" in ids, "codecs written by people stay"
    assert skipped["generated"] > 20
    groups = {document.id: document.group for document in documents}
    assert groups["json/decoder.py"] == "json"
    assert groups["ast.py"] == "ast"
    assert groups["test/test_ast.py"] == "test"
    assert all(document.source == "code" and document.text.strip() for document in documents)


def test_the_tests_of_cpython_are_left_out_unless_asked_for(library):
    without = {document.id for document in sources.standard_library()}
    assert without == {d.id for d in library[0] if d.group != "test"}


def test_installed_packages_hold_what_is_imported_here():
    found = {d.id: d.group for d in sources.installed_packages()}
    assert found["hypothesis/__init__.py"] == "hypothesis"
    assert not any(name.endswith(".so") for name in found)


def make(group, size, name="0"):
    return Document(f"{group}/{name}", (Text("x" * size),), "code", group)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 300), min_size=40, max_size=120),
    share=st.floats(0.05, 0.5),
    seed=st.integers(0, 1000),
    data=st.data(),
)
def test_the_split_takes_whole_groups_near_the_share(sizes, share, seed, data):
    documents = [make(f"g{at // 2}", size, str(at)) for at, size in enumerate(sizes)]
    train, validation = sources.split(documents, share, seed)
    assert {d.id for d in train} | {d.id for d in validation} == {d.id for d in documents}
    assert len(train) + len(validation) == len(documents)
    assert not {d.group for d in train} & {d.group for d in validation}
    assert validation
    mixed = data.draw(st.permutations(documents))
    again = sources.split(mixed, share, seed)[1]
    assert {d.id for d in again} == {d.id for d in validation}, "order must not matter"


def test_the_share_of_the_standard_library_is_met(library):
    documents, _ = library
    total = sum(map(size_bytes, documents))
    chosen = []
    for seed in (0, 1, 2):
        train, validation = sources.split(documents, 0.05, seed)
        sizes = Counter()
        for document in validation:
            sizes[document.group] += size_bytes(document)
        assert sum(sizes.values()) / total == pytest.approx(0.05, rel=0.05)
        assert max(sizes.values()) <= sum(sizes.values()) / 2.8
        assert len(sizes) >= 10
        assert "test" not in sizes
        assert any(document.group == "test" for document in train)
        chosen.append(frozenset(sizes))
    assert len(set(chosen)) == 3, "the seed decides"


def test_a_giant_group_is_not_validation_and_test_never_is():
    documents = [make("giant", 10_000), make("test", 10), *(make(f"g{n}", 50) for n in range(60))]
    for seed in range(20):
        groups = {d.group for d in sources.split(documents, 0.1, seed)[1]}
        assert groups
        assert not groups & {"giant", "test"}
    allowed = {d.group for s in range(20) for d in sources.split(documents, 0.1, s, never=())[1]}
    assert "test" in allowed, "control: without `never` it would be chosen"


def test_with_only_large_groups_the_smallest_is_held_out():
    documents = [make("a", 900), make("b", 400), make("c", 700)]
    train, validation = sources.split(documents, 0.05, 0)
    assert [d.group for d in validation] == ["b"]
    assert [d.group for d in train] == ["a", "c"]


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_a_share_outside_zero_and_one_is_refused(share):
    with pytest.raises(UserError, match="validation_share"):
        sources.split([make("a", 1), make("b", 1)], share, 0)


def test_large_groups_fill_a_share_that_small_ones_leave_unmet():
    documents = [make("tiny", 1), *(make(f"g{n}", 100) for n in range(12))]
    _, validation = sources.split(documents, 0.1, 0)
    assert sum(map(size_bytes, validation)) in (100, 101)


def test_one_group_cannot_be_split():
    with pytest.raises(UserError, match="1 group"):
        sources.split([make("a", 1), make("a", 2, "1")], 0.1, 0)
    with pytest.raises(UserError, match="0 of them"):
        sources.split([make("a", 1), make("b", 2)], 0.1, 0, never=("a", "b"))


def test_a_folder_is_read_in_order_with_newlines_made_one_kind(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two.txt").write_bytes(b"one\r\ntwo\rthree \n\n")
    (tmp_path / "a.txt").write_text("h\u00e9llo")
    (tmp_path / ".hidden").write_text("no")
    (tmp_path / "c.bin").write_bytes(b"ab\0cd")
    (tmp_path / "d.txt").write_bytes(b"\xff\xfe\xfa")
    (tmp_path / "e.txt").write_text(" \n")
    skipped = Counter()
    found = list(sources.folder(tmp_path, "mine", skipped))
    assert [(d.id, d.group, d.text, d.source) for d in found] == [
        ("a.txt", "a.txt", "h\u00e9llo", "mine"),
        ("b/two.txt", "b/two.txt", "one\ntwo\nthree \n\n", "mine"),
    ]
    assert skipped == {"binary": 1, "not UTF-8": 1, "empty": 1}


def test_a_folder_is_grouped_as_coarsely_as_a_split_allows(tmp_path):
    """One big package in `src`: its sub-packages are groups, and its large files are alone."""
    sizes = {"src/pack/big.py": 3000, "README": 50}
    sizes |= {f"src/pack/sub{n}/part/m{m}.py": 100 for n in range(40) for m in range(2)}
    for name, size in sizes.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x" * size)
    documents = list(sources.folder(tmp_path))
    groups = {d.id: d.group for d in documents}
    assert groups["src/pack/big.py"] == "src/pack/big.py"
    assert groups["src/pack/sub3/part/m1.py"] == "src/pack/sub3"
    assert groups["README"] == "README"
    _, validation = sources.split(documents, 0.1, 0)
    assert sum(map(size_bytes, validation)) == pytest.approx(0.1 * 11_050, rel=0.2)


def test_a_folder_that_is_missing_empty_or_binary_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere: no such folder"):
        sources.folder(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"empty or binary \(0 files seen\)"):
        list(sources.folder(tmp_path))
    (tmp_path / "a.bin").write_bytes(b"\0\1")
    (tmp_path / "b.bin").write_bytes(b"\0\1")
    (tmp_path / "c.txt").write_bytes(b"")
    with pytest.raises(UserError, match=r"3 files seen: 2 binary, 1 empty"):
        list(sources.folder(tmp_path))


def test_jsonl_reads_text_and_content_parts(tmp_path):
    pixels = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    PillowImage.fromarray(pixels).save(tmp_path / "dot.png")
    parts = [
        {"type": "text", "text": "See "},
        {"type": "image", "path": "dot.png"},
        {"type": "text", "text": " here\r\n"},
    ]
    lines = [{"text": "a\r\nb"}, {"text": ""}, {"text": parts}]
    path = tmp_path / "c.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n\n")
    first, second = sources.jsonl(path)
    assert (first.id, first.text, first.group) == ("c.jsonl:1", "a\nb", "c.jsonl:1")
    before, image, after = second.parts
    assert isinstance(image, Image)
    assert (image.pixels == pixels).all()
    assert (before, after) == (Text("See "), Text(" here\n"))
    assert size_bytes(second) == 4 + 6 + pixels.nbytes


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "cut', r"c\.jsonl, line 2: not valid JSON"),
        ('{"body": "x"}', r"line 2: field 'text' is missing"),
        ('["text"]', r"line 2: field 'text' is missing"),
        ('{"text": 3}', r"line 2: .*neither text nor a list"),
        ('{"text": [{"type": "sound"}]}', r"line 2: .*has a part that is neither"),
        ('{"text": [{"type": "image", "path": "no.png"}]}', r"line 2: .*no\.png"),
        ('{"text": [{"type": "image", "path": "c.jsonl"}]}', r"line 2: .*not a readable image"),
    ],
)
def test_a_bad_jsonl_line_is_named(tmp_path, line, message):
    path = tmp_path / "c.jsonl"
    path.write_text('{"text": "fine"}\n' + line + "\n")
    with pytest.raises(UserError, match=message):
        list(sources.jsonl(path))


def test_jsonl_without_documents_or_without_a_file_is_named(tmp_path):
    (tmp_path / "c.jsonl").write_text('{"text": ""}\n')
    with pytest.raises(UserError, match="no document with text"):
        list(sources.jsonl(tmp_path / "c.jsonl"))
    with pytest.raises(UserError, match="no such file"):
        sources.jsonl(tmp_path / "d.jsonl")


@pytest.fixture
def parquet_file(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    writer = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "t.parquet"
    table = arrow.table({"text": ["a\r\nb", None, "", "c"], "n": [1, 2, 3, 4]})
    writer.write_table(table, path)
    return path


def test_parquet_reads_a_text_column(parquet_file):
    found = [(d.id, d.text) for d in sources.parquet(parquet_file)]
    assert found == [("t.parquet:1", "a\nb"), ("t.parquet:4", "c")]


def test_a_bad_parquet_file_or_column_is_named(parquet_file, tmp_path):
    with pytest.raises(UserError, match=r"no column 'body' \(it has text, n\)"):
        sources.parquet(parquet_file, "body")
    with pytest.raises(UserError, match="column 'n' holds int64, not text"):
        sources.parquet(parquet_file, "n")
    with pytest.raises(UserError, match="no such file"):
        sources.parquet(tmp_path / "none.parquet")
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(parquet_file.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"cut\.parquet: not a readable Parquet"):
        sources.parquet(cut)


def test_the_hub_is_streamed_through_datasets(monkeypatch):
    def load_dataset(name, config, split, streaming):
        if name == "none":
            raise ValueError("unknown")
        assert streaming
        return iter([{"text": f"{name} {config} {split}"}, {"text": None}])

    fake = types.ModuleType("datasets")
    fake.load_dataset = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", fake)
    (document,) = sources.hub("who/what", "en", source="web")
    assert (document.id, document.text, document.source) == (
        "who/what:1",
        "who/what en train",
        "web",
    )
    with pytest.raises(UserError, match=r"no column 'body' \(it has text\)"):
        list(sources.hub("who/what", column="body"))
    with pytest.raises(UserError, match=r"'none': cannot be opened"):
        sources.hub("none")


def test_without_datasets_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"foresight\[hf\]"):
        sources.hub("who/what")
