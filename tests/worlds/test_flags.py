"""Flags: what is named is what is shown, sequences stay held out, colours follow Zipf's law."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foresight.document import Image, Text
from foresight.worlds import flags as world
from foresight.worlds.drawing import COLOURS, JITTER
from foresight.worlds.splits import Split, generator, pick_weighted, zipf


def drawn(split: Split, count: int, stripes: int | None = None) -> list[world.Flag]:
    return list(islice(world.flags(generator(0, "test", 0), split, stripes), count))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**40), split=st.sampled_from(["train", "validation"]))
def test_every_stripe_has_the_colour_that_is_named(seed: int, split: Split) -> None:
    for document in world.documents(seed, 4, split):
        assert document.source == "flags" and len(document.parts) == 2 * world.PER_DOCUMENT
        for image, text in zip(document.parts[::2], document.parts[1::2], strict=True):
            assert isinstance(image, Image) and isinstance(text, Text)
            named = text.text.removeprefix(world.QUESTION).strip().split(", ")
            assert image.pixels.shape == (8 * len(named), 16, 3)
            for at, name in enumerate(named):
                rows = image.pixels[8 * at : 8 * at + 8].astype(int)
                assert (abs(rows - np.array(COLOURS[name])) <= JITTER).all()


def test_no_sequence_is_in_both_splits_and_single_stripes_are_trained_on() -> None:
    seen = {split: {f.colours for f in drawn(split, 4000)} for split in ("train", "validation")}
    assert not seen["train"] & seen["validation"]
    assert {len(one) for one in seen["train"]} == {1, 2, 3, 4}
    assert {len(one) for one in seen["validation"]} == {2, 3, 4}
    assert len({one for one in seen["validation"] if len(one) == 2}) > 8


def test_colours_are_of_uneven_frequency() -> None:
    single = Counter(flag.colours[0] for flag in drawn("train", 3000, stripes=1))
    expected = np.array(zipf(len(COLOURS)))
    shares = [single[name] / 3000 for name in COLOURS]
    assert shares == pytest.approx((expected / expected.sum()).tolist(), abs=0.03)


def test_weights_are_chances() -> None:
    rng = np.random.default_rng(0)
    found = Counter(pick_weighted(rng, "abc", (1, 0, 3)) for _ in range(4000))
    assert found["b"] == 0 and found["c"] / 4000 == pytest.approx(0.75, abs=0.03)
