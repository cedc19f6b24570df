"""Pictures show what their texts say; without them no question can be answered."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foresight.document import Image, Text
from foresight.errors import UserError
from foresight.worlds import drawing, pictures
from foresight.worlds.pictures import FAMILIES, PictureQuestion

SPLITS = st.sampled_from(["train", "validation"])


def images_of(question):
    return [part for part in question.parts if isinstance(part, Image)]


def flat(document):
    return [
        part.text if isinstance(part, Text) else part.pixels.tobytes() for part in document.parts
    ]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**40), split=SPLITS)
def test_documents_interleave_one_to_four_pictures_of_whole_patches(seed, split):
    for document in pictures.documents(seed, 20, split):
        images = [part for part in document.parts if isinstance(part, Image)]
        assert 1 <= len(images) <= 4
        assert isinstance(document.parts[0], Image)
        assert isinstance(document.parts[-1], Text)
        assert document.source == "pictures"
        assert document.group
        for image in images:
            height, width, _ = image.pixels.shape
            assert height % 8 == 0
            assert width % 8 == 0
            assert height <= 32
            assert width <= 64
            assert image.pixels.min() != image.pixels.max(), "an empty picture"


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**40), split=SPLITS, count=st.integers(1, 12))
def test_document_i_does_not_depend_on_the_count(seed, split, count):
    longer = [flat(d) for d in pictures.documents(seed, 20, split)]
    assert [flat(d) for d in pictures.documents(seed, count, split)] == longer[:count]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**40), family=st.sampled_from(FAMILIES))
def test_questions_are_well_formed(seed, family):
    for question in pictures.questions(seed, 8, families=[family]):
        assert question.family == family
        assert images_of(question)
        assert isinstance(question.parts[-1], Text)
        assert question.parts[-1].text.endswith("\nA:")
        assert 2 <= len(question.choices) <= 4
        assert len(set(question.choices)) == len(question.choices)
        assert all(choice.startswith(" ") and choice.strip() for choice in question.choices)
        assert 0 <= question.answer < len(question.choices)


def blind_accuracy(train: list[PictureQuestion], test: list[PictureQuestion]) -> float:
    """The best a guesser can do that knows how often each answer was right, but sees nothing."""
    seen: defaultdict[str, Counter[str]] = defaultdict(Counter)
    everywhere: Counter[str] = Counter()
    for question in train:
        answer = question.choices[question.answer]
        seen[question.parts[-1].text][answer] += 1
        everywhere[answer] += 1
    right = 0
    for question in test:
        counts = seen[question.parts[-1].text]
        scores = [(counts[c], everywhere[c]) for c in question.choices]
        right += scores.index(max(scores)) == question.answer
    return right / len(test)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_blind_baseline_is_chance(family):
    fitted = list(pictures.questions(1, 3000, "train", [family]))
    tested = list(pictures.questions(2, 1500, "validation", [family]))
    chance = float(np.mean([1 / len(q.choices) for q in tested]))
    sigma = math.sqrt(chance * (1 - chance) / len(tested))
    assert abs(blind_accuracy(fitted, tested) - chance) < 4 * sigma
    # Nor does it help to know the held-out questions' own statistics, or the position.
    again = list(pictures.questions(3, 3000, "validation", [family]))
    assert abs(blind_accuracy(again, tested) - chance) < 4 * sigma
    for position in range(2):
        assert abs(np.mean([q.answer == position for q in tested]) - chance) < 5 * sigma


def test_the_blind_test_finds_a_leak():
    """Negative control: with the answer hinted at in the question, the same guesser succeeds."""

    def leaked(seed):
        for q in pictures.questions(seed, 1500, families=["colour"]):
            hint = Text(q.choices[q.answer] + q.parts[-1].text)
            yield PictureQuestion(q.id, (hint,), q.choices, q.answer, q.family)

    assert blind_accuracy(list(leaked(1)), list(leaked(2))) > 0.95


def nearest_colour(pixels, choices):
    """The choice whose palette colour is nearest to the most pixels."""
    flat_pixels = pixels.reshape(-1, 3).astype(int)
    near = {
        choice: (
            np.abs(flat_pixels - drawing.COLOURS[choice.strip()]).max(axis=1) <= drawing.JITTER
        )
        for choice in choices
    }
    return max(choices, key=lambda choice: near[choice].sum())


def test_the_picture_answers_colour_questions():
    for question in pictures.questions(0, 300, families=["colour"]):
        seen = nearest_colour(images_of(question)[0].pixels, question.choices)
        assert seen == question.choices[question.answer]


def centre(pixels, colour):
    """Middle of the box around a colour: (row, column)."""
    inside = np.abs(pixels.astype(int) - drawing.COLOURS[colour]).max(axis=2) <= drawing.JITTER
    rows, columns = np.nonzero(inside)
    return (rows.min() + rows.max()) / 2, (columns.min() + columns.max()) / 2


def test_the_picture_answers_relation_questions():
    for question in pictures.questions(0, 300, families=["relation"]):
        words = question.parts[-1].text.rstrip("?\nA:").split()
        pixels = images_of(question)[0].pixels
        row_a, column_a = centre(pixels, words[3])
        row_b, column_b = centre(pixels, words[-2])
        if abs(row_a - row_b) > abs(column_a - column_b):
            expected = " above" if row_a < row_b else " below"
        else:
            expected = " left of" if column_a < column_b else " right of"
        assert question.choices[question.answer] == expected


def test_the_picture_answers_count_questions():
    ndimage = pytest.importorskip("scipy.ndimage")
    for question in pictures.questions(0, 300, families=["count"]):
        pixels = images_of(question)[0].pixels
        values, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
        ground = values[counts.argmax()]
        if question.parts[-1].text.startswith(("Q: How many squares", "Q: How many bars")):
            ground = pixels[10, 10]  # squares may cover more than the background
        _, found = ndimage.label((pixels != ground).any(axis=2), structure=np.ones((3, 3)))
        assert question.choices[question.answer] == f" {found}"


def test_the_picture_answers_chart_questions():
    for question in pictures.questions(0, 300, families=["chart"]):
        pixels = images_of(question)[0].pixels.astype(int)

        def height(colour, pixels=pixels):
            inside = np.abs(pixels - drawing.COLOURS[colour]).max(axis=2) <= drawing.JITTER
            return int(inside.any(axis=1).sum()) // 3

        text = question.parts[-1].text
        if "tallest" in text:
            expected = max(question.choices, key=lambda c: height(c.strip()))
        else:
            expected = f" {height(text.split()[5])}"
        assert question.choices[question.answer] == expected


def test_combinations_fonts_and_words_are_held_out():
    def keys(split, seed):
        return {key for d in pictures.documents(seed, 3000, split) for key in d.group.split(" + ")}

    train, held = keys("train", 0), keys("validation", 1)
    # Pictures told about together have keys without cells; their shapes keep to the cells.
    assert {key for key in train & held if "&" not in key} == set()
    assert len(held) > 1000
    assert not set(drawing.font_names(True)) & set(drawing.font_names(False))
    assert drawing.font_names(True)
    assert len(drawing.font_names(False)) >= 3


def test_a_coloured_shape_never_appears_in_its_held_out_cell_in_training():
    """Also where several pictures are shown together: by the pictures, not by their keys."""

    def cells(split):
        found = defaultdict(set)
        for question in pictures.questions(0, 4000, split, ["several"]):
            text = question.parts[-1].text
            if "Which picture shows" not in text:
                continue
            colour, shape = text.split("?")[0].split()[-2:]
            at = ("first", "second", "third").index(question.choices[question.answer].strip())
            row, column = centre(images_of(question)[at].pixels, colour)
            found[colour, shape].add((int(row) // 11, int(column) // 11))
        return found

    train, held = cells("train"), cells("validation")
    assert len(held) == len(drawing.COLOURS) * len(drawing.SHAPES)
    assert all(len(places) == 1 for places in held.values())
    assert not any(held[pair] & train[pair] for pair in held)


def test_writing_fits_its_canvas_in_every_font():
    rng = np.random.default_rng(0)
    for name, font in drawing.fonts().items():
        for text in ("mouse", "spoon", "888", "zoo", "Ag"):
            left, top, right, bottom = font.getbbox(text)
            height, width, _ = drawing.writing(rng, text, font).pixels.shape
            assert right - left <= width <= 64, name
            assert bottom - top <= height <= 24, name


def test_every_font_draws_different_words_differently():
    for name, font in drawing.fonts().items():
        first, second = (
            drawing.writing(np.random.default_rng(0), text, font).pixels for text in ("cat", "cow")
        )
        assert first.shape != second.shape or (first != second).any(), name


@pytest.mark.parametrize("families", [["colour", "taste"], []])
def test_unknown_families_are_refused(families):
    with pytest.raises(UserError, match="families"):
        next(pictures.questions(0, 1, families=families))
