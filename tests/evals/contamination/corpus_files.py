"""One set of documents in every form that a corpus may have."""

from __future__ import annotations

import bz2
import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def write_jsonl(folder: Path, texts: Sequence[str]) -> Path:
    rows = [json.dumps({"id": at, "text": text}, ensure_ascii=bool(at % 2)) for at, text in
            enumerate(texts)]  # fmt: skip
    path = folder / "corpus.jsonl"
    path.write_bytes("".join(row + "\n" for row in rows).encode())
    return path


def write_gzip(folder: Path, texts: Sequence[str]) -> Path:
    path = folder / "corpus.jsonl.gz"
    path.write_bytes(gzip.compress(write_jsonl(folder, texts).read_bytes()))
    return path


def write_bz2(folder: Path, texts: Sequence[str]) -> Path:
    path = folder / "corpus.jsonl.bz2"
    path.write_bytes(bz2.compress(write_jsonl(folder, texts).read_bytes()))
    return path


def write_zstd(folder: Path, texts: Sequence[str]) -> Path:
    path = folder / "corpus.jsonl.zst"
    with pa.output_stream(str(path), compression="zstd") as stream:
        stream.write(write_jsonl(folder, texts).read_bytes())
    return path


def write_parquet(folder: Path, texts: Sequence[str]) -> Path:
    path = folder / "corpus.parquet"
    pq.write_table(pa.table({"text": list(texts)}), path, row_group_size=3)
    return path


def write_folder(folder: Path, texts: Sequence[str]) -> Path:
    path = folder / "texts"
    path.mkdir()
    for at, text in enumerate(texts):
        (path / f"{at:03}.txt").write_bytes(text.encode())
    return path


WRITERS: tuple[Callable[[Path, Sequence[str]], Path], ...] = (
    write_jsonl,
    write_gzip,
    write_bz2,
    write_zstd,
    write_parquet,
    write_folder,
)
