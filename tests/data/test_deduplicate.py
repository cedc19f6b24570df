"""Copies are found wherever they hide, and what only looks alike stays."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foresight.data.deduplicate import BANDS, ROWS, _NearIndex, _Shingler, deduplicate, jaccard
from foresight.document import Document, Image, Text


def words(seed, count):
    rng = random.Random(seed)
    return [f"w{rng.randrange(10**6)}" for _ in range(count)]


def make(name, content):
    text = content if isinstance(content, str) else " ".join(content)
    return Document(name, (Text(text),), "code", name)


def numbered(seed, count):
    return [f"line {seed} {at}" for at in range(count)]


def kinds(report):
    return [(r.id, r.side, r.kind, r.kept_id) for r in report.removals]


def test_a_file_copied_across_the_split_is_found_up_to_white_space():
    train = [make("t1", words(1, 200)), make("t2", "  " + "\n\t".join(words(9, 200)))]
    validation = [make("v", words(9, 200))]
    kept, held, report = deduplicate(train, validation)
    assert [d.id for d in kept] == ["t1"]
    assert [d.id for d in held] == ["v"]
    assert kinds(report) == [("t2", "train", "exact", "v")]
    assert report.bytes_removed == len(train[1].text)
    assert report.counts == {"train exact validation": 1}
    assert report.documents == 3
    assert report.examples(5) == report.removals


def changed(content, every):
    return [f"x{at}" if at % every == 0 else word for at, word in enumerate(content)]


def test_a_near_copy_is_found_at_the_threshold_and_stays_above_it():
    content = words(3, 2000)
    copy = changed(content, 60)  # each change breaks 5 of 60 shingles: Jaccard 55/65 = 0.85
    args = ([make("t", copy)], [make("v", content)])
    kept, _, report = deduplicate(*args)
    assert kept == []
    assert kinds(report) == [("t", "train", "near", "v")]
    assert report.removals[0].similarity == pytest.approx(55 / 65, abs=0.01)
    # Negative control: with near-duplicates only counted when equal, the copy would stay.
    assert [d.id for d in deduplicate(*args, similarity=1.0)[0]] == ["t"]


def test_texts_that_share_half_their_shingles_stay():
    content = words(4, 2000)
    kept, _, report = deduplicate([make("t", changed(content, 15))], [make("v", content)])
    assert [d.id for d in kept] == ["t"]
    assert report.removals == ()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), every=st.integers(45, 200))
def test_every_pair_of_jaccard_eight_tenths_is_found(seed, every):
    content = words(seed, 1000)
    _, _, report = deduplicate(
        [make("t", changed(content, every))], [make("v", content)], seed=seed
    )
    assert [r.kind for r in report.removals] == ["near"]


def test_repetitions_inside_each_side_are_removed_once():
    a, b = words(5, 300), words(6, 300)
    train = [make("t1", a), make("t2", a), make("t3", changed(a, 100))]
    validation = [make("v1", b), make("v2", b)]
    kept, held, report = deduplicate(train, validation)
    assert [d.id for d in kept] == ["t1"]
    assert [d.id for d in held] == ["v1"]
    assert kinds(report) == [
        ("v2", "validation", "exact", "v1"),
        ("t2", "train", "exact", "t1"),
        ("t3", "train", "near", "t1"),
    ]


def test_validation_wins_over_training_wherever_the_copy_came_first():
    a = words(7, 100)
    kept, held, _ = deduplicate([make("t", a)], [make("v", a)])
    assert (kept, [d.id for d in held]) == ([], ["v"])


def test_a_long_run_of_lines_inside_other_text_is_found_and_a_short_one_is_not():
    shared = numbered("s", 60)
    validation = [make("v", "\n".join(numbered("a", 400) + shared + numbered("b", 400)))]

    def train(lines):
        # Other indentation and blank lines do not hide the run.
        indented = [f"    {line}\n" for line in lines]
        return [make("t", "\n".join(numbered("c", 700) + indented + numbered("d", 5)))]

    kept, _, report = deduplicate(train(shared), validation)
    assert kept == []
    assert kinds(report) == [("t", "train", "shared run", "v")]
    assert len(deduplicate(train(shared[:49]), validation)[0]) == 1
    # Negative control: without the line runs the document would stay.
    assert len(deduplicate(train(shared), validation, run_lines=1000)[0]) == 1


def test_a_removed_document_removes_no_other():
    """`t2` is near `t1` alone, and `t1` went because of its run: `t2` must stay."""
    shared = numbered("s", 50)
    validation = [make("v", "\n".join(shared + numbered("a", 500)))]
    body = numbered("body", 300)
    first = make("t1", "\n".join(shared + body))
    second = make("t2", "\n".join(shared[:45] + body))
    assert [d.id for d in deduplicate([first, second], [])[0]] == ["t1"]
    assert [d.id for d in deduplicate([first, second], validation)[0]] == ["t2"]


def picture(name, value, text="Q: what?"):
    pixels = np.full((8, 8, 3), value, dtype=np.uint8)
    return Document(name, (Image(pixels), Text(text)), "pictures", name)


def test_pictures_count_and_are_only_compared_exactly():
    train = [picture("t1", 1), picture("t2", 2), picture("t3", 2), picture("t4", 2, "Q: who?")]
    kept, _, report = deduplicate(train, [picture("v", 1)])
    assert [d.id for d in kept] == ["t2", "t4"]
    assert kinds(report) == [("t1", "train", "exact", "v"), ("t3", "train", "exact", "t2")]


def test_documents_of_fewer_words_than_a_shingle_are_compared_as_wholes():
    train = [make("a", "one two"), make("b", "one three"), make("c", "one\ntwo"), make("d", "")]
    kept, _, _ = deduplicate(train, [])
    assert [d.id for d in kept] == ["a", "b", "d"]


@settings(max_examples=50, deadline=None)
@given(
    first=st.lists(st.sampled_from("abcdefgh"), min_size=5, max_size=60),
    second=st.lists(st.sampled_from("abcdefgh"), min_size=5, max_size=60),
)
def test_jaccard_of_shingles_equals_that_of_sets_of_words(first, second):
    def shingles(content):
        return {tuple(content[at : at + 5]) for at in range(len(content) - 4)}

    a, b = shingles(first), shingles(second)
    shingler = _Shingler()
    measured = jaccard(shingler(" ".join(first)), shingler(" ".join(second)))
    assert measured == pytest.approx(len(a & b) / len(a | b))


def test_equal_minima_estimate_the_jaccard_similarity():
    """Broder 1997: the share of hash functions with equal minima is the Jaccard similarity."""
    content = words(8, 3000)
    shingler = _Shingler()
    first, second = shingler(" ".join(content)), shingler(" ".join(changed(content, 20)))
    shares = []
    for seed in range(20):
        index = _NearIndex(0.7, seed)
        shares.append(np.mean(index.signature(first) == index.signature(second)))
    expected = jaccard(first, second)
    sigma = (expected * (1 - expected) / (20 * BANDS * ROWS)) ** 0.5
    assert abs(np.mean(shares) - expected) < 4 * sigma


def test_the_outcome_is_the_same_every_time():
    train = [make(f"t{at}", changed(words(at // 3, 200), 30 + at)) for at in range(30)]
    first, second = (deduplicate(train, [], seed=1) for _ in range(2))
    assert first[2] == second[2]
    assert [d.id for d in first[0]] == [d.id for d in second[0]]
