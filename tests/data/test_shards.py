"""Images become marks and patches; torn shards are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foresight.data.corpus import Corpus
from foresight.data.shards import Shard, encode_document, image_patches
from foresight.data.tokenizer import BOS, EOS, IMG, IMG_BREAK, IMG_END
from foresight.document import Document, Image, Text
from foresight.errors import UserError


def _image(height: int, width: int, seed: int = 0) -> Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    return Image(pixels)


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([4, 8]))
def test_patches_tile_the_picture(height: int, width: int, patch: int) -> None:
    image = _image(height, width)
    cut = image_patches(image, patch)
    rows, cols = -(-height // patch), -(-width // patch)
    assert cut.shape == (rows, cols, 3 * patch * patch)
    back = cut.reshape(rows, cols, 3, patch, patch).transpose(0, 3, 1, 4, 2)
    whole = back.reshape(rows * patch, cols * patch, 3)
    np.testing.assert_array_equal(whole[:height, :width], image.pixels)


def test_an_image_is_rows_of_marks(corpus: Corpus) -> None:
    document = Document("d", (Text("a"), _image(16, 24), Text("b", 0.5)), "pictures")
    encoded = encode_document(document, corpus.tokenizer, 8)
    a, b = corpus.tokenizer.encode("a"), corpus.tokenizer.encode("b")
    marks = [IMG, IMG, IMG, IMG_BREAK, IMG, IMG, IMG, IMG_END]
    assert encoded.tokens.tolist() == [BOS, *a, *marks, *b, EOS]
    assert encoded.weights.tolist() == [0.0, 1.0, *[0.0] * 8, 0.5, 1.0]
    assert encoded.patches.shape == (6, 192)


def test_a_shard_comes_back(corpus: Corpus, tmp_path: Path) -> None:
    documents = [
        Document(str(n), (Text(f"def f{n}(): pass"), _image(8 * n, 8, n)), "x") for n in (1, 2)
    ]
    encoded = [encode_document(one, corpus.tokenizer, 8) for one in documents]
    counts = Shard.write(tmp_path, "x.train", encoded, 8)
    shard = Shard.open(tmp_path, "x.train")
    assert counts["documents"] == len(shard) == 2 and counts["patches"] == 3
    for index, one in enumerate(encoded):
        here = slice(shard.offsets[index], shard.offsets[index + 1])
        np.testing.assert_array_equal(shard.tokens[here], one.tokens)
        np.testing.assert_array_equal(shard.weights[here], one.weights)
        patches = slice(shard.patch_offsets[index], shard.patch_offsets[index + 1])
        np.testing.assert_array_equal(shard.patches[patches], one.patches)


@pytest.mark.parametrize("key", ["tokens", "weights", "offsets"])
def test_a_truncated_shard_is_named(corpus: Corpus, tmp_path: Path, key: str) -> None:
    encoded = [encode_document(Document("d", (Text("x = 1\n" * 50),), "x"), corpus.tokenizer, 8)]
    Shard.write(tmp_path, "x.train", encoded, 8)
    path = tmp_path / f"x.train.{key}.npy"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UserError, match=rf"x\.train\.{key}\.npy: truncated or unreadable"):
        Shard.open(tmp_path, "x.train")


def test_shards_that_disagree_are_named(corpus: Corpus, tmp_path: Path) -> None:
    for name, text in (("a", "x = 1"), ("b", "x = 1\n" * 9)):
        document = Document("d", (Text(text),), "x")
        Shard.write(tmp_path, name, [encode_document(document, corpus.tokenizer, 8)], 8)
    (tmp_path / "a.tokens.npy").write_bytes((tmp_path / "b.tokens.npy").read_bytes())
    with pytest.raises(UserError, match="offsets promise"):
        Shard.open(tmp_path, "a")


def test_an_image_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"not a picture")
    with pytest.raises(UserError, match=r"picture\.png: not a readable image"):
        Image.from_file(tmp_path / "picture.png")
    with pytest.raises(UserError, match=r"absent\.png: cannot be read"):
        Image.from_file(tmp_path / "absent.png")
    with pytest.raises(UserError, match="uint8 of shape"):
        Image(np.zeros((4, 4)))  # type: ignore[arg-type]
