"""Packing: nothing lost, nothing seen twice, an order that depends on the seed alone."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foresight.data.corpus import Corpus
from foresight.data.loader import Loader, cut_pieces, pack
from foresight.data.shards import Shard
from foresight.data.tokenizer import BOS, EOS, IMG, IMG_BREAK, IMG_END
from foresight.errors import UserError


def _shard(documents: list[list[int]]) -> Shard:
    tokens = np.array([token for one in documents for token in one], np.uint16)
    weights = np.array(
        [0 if t in (BOS, IMG, IMG_BREAK, IMG_END) else 1 for t in tokens], np.float16
    )
    patches = np.arange((tokens == IMG).sum(), dtype=np.uint8)[:, None].repeat(3, 1)
    lengths = [len(one) for one in documents]
    counts = [one.count(IMG) for one in documents]
    return Shard(tokens, weights, patches, np.cumsum([0, *lengths]), np.cumsum([0, *counts]))


_IMAGE = [IMG, IMG, IMG_BREAK, IMG, IMG, IMG_END]
_documents = st.lists(
    st.lists(st.one_of(st.lists(st.integers(64, 99), max_size=9), st.just(_IMAGE)), max_size=6),
    min_size=1,
    max_size=30,
).map(lambda found: [[BOS, *(t for part in one for t in part), EOS] for one in found])


@given(_documents, st.integers(8, 20), st.integers(0, 5))
def test_every_token_is_predicted_exactly_once(
    documents: list[list[int]], context: int, seed: int
) -> None:
    loader = Loader({"a": _shard(documents)}, {"a": 1.0}, context, seed)
    predicted: Counter[int] = Counter()
    positions, patches = 0, []
    for row in range(10_000):
        try:
            batch = loader.rows(row, 1)
        except UserError:
            break
        inside = batch.segments >= 0
        predicted.update(batch.targets[inside].tolist())
        positions += int(inside.sum())
        patches += batch.patches[:, 0].tolist()
        assert (batch.inputs == IMG).sum() == len(batch.patches)
    expected = Counter(token for one in documents for token in one[1:])
    assert predicted == expected
    assert positions == loader.positions == expected.total()
    assert sorted(patches) == list(range(expected[IMG]))


@given(_documents, st.integers(8, 20))
def test_no_cut_falls_inside_an_image(documents: list[list[int]], context: int) -> None:
    shard = _shard(documents)
    for start, end, first_patch in cut_pieces(shard, context):
        assert 2 <= end - start <= context + 1
        assert shard.tokens[start] not in (IMG, IMG_BREAK)
        assert first_patch == int((shard.tokens[:start] == IMG).sum())


@given(st.lists(st.integers(1, 16), min_size=1, max_size=200))
def test_packing_keeps_every_piece_and_fits(lengths: list[int]) -> None:
    rows = pack(np.array(lengths), 16)
    assert sorted(piece for row in rows for piece in row) == list(range(len(lengths)))
    used = [sum(lengths[piece] for piece in row) for row in rows]
    assert max(used) <= 16
    # Any two rows of best-fit packing hold more than one row's worth between them.
    assert len(rows) <= 2 * -(-sum(lengths) // 16)


def test_positions_restart_and_segments_separate(corpus: Corpus) -> None:
    loader = corpus.train_loader({"programs": 1.0}, 96, seed=1)
    batch = loader.rows(0, 32)
    assert (batch.segments.max(1) > 0).any(), "some rows must hold several pieces"
    for row in range(32):
        for segment in range(batch.segments[row].max() + 1):
            here = batch.positions[row][batch.segments[row] == segment]
            np.testing.assert_array_equal(here, np.arange(len(here)))


def test_batches_of_any_size_are_one_sequence(corpus: Corpus) -> None:
    mixture = {"code": 0.7, "programs": 0.15, "pictures": 0.15}
    one, other = (corpus.train_loader(mixture, 96, seed=3) for _ in range(2))
    whole = one.rows(0, 60)
    parts = [other.rows(start, count) for start, count in ((40, 20), (0, 7), (7, 33))]
    for key in ("inputs", "targets", "weights", "positions", "segments", "sources"):
        again = np.concatenate([getattr(parts[index], key) for index in (1, 2, 0)])
        np.testing.assert_array_equal(getattr(whole, key), again)
    patches = np.concatenate([parts[index].patches for index in (1, 2, 0)])
    np.testing.assert_array_equal(whole.patches, patches)
    assert not np.array_equal(
        whole.inputs, corpus.train_loader(mixture, 96, seed=4).rows(0, 60).inputs
    )


def test_every_prefix_holds_the_mixture(corpus: Corpus) -> None:
    mixture = {"code": 0.5, "programs": 0.3, "pictures": 0.2}
    loader = corpus.train_loader(mixture, 96, seed=0)
    sources = loader.rows(0, 250).sources
    for share, index in ((0.5, 0), (0.2, 1), (0.3, 2)):
        # Rows hold mostly one source each: 250 of them have a sampling error of 0.03.
        assert (sources == index).mean() == pytest.approx(share, abs=0.1)


def test_parts_of_a_batch_carry_their_patches(corpus: Corpus) -> None:
    batch = corpus.train_loader({"pictures": 1.0}, 96, seed=0).rows(0, 10)
    parts = [batch.part(0, 3), batch.part(3, 10)]
    assert [len(one.patches) for one in parts] == [int((one.inputs == IMG).sum()) for one in parts]
    np.testing.assert_array_equal(np.concatenate([p.patches for p in parts]), batch.patches)


def test_one_pass_is_all_there_is(corpus: Corpus) -> None:
    loader = corpus.train_loader({"programs": 1.0}, 96, seed=0)
    with pytest.raises(UserError, match="use a larger corpus or a smaller run"):
        loader.rows(10**6, 1)


def test_an_image_larger_than_the_context_is_refused() -> None:
    shard = _shard([[BOS, *_IMAGE, EOS]])
    with pytest.raises(UserError, match="does not fit the context"):
        cut_pieces(shard, 4)
