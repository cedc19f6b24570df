"""DROP's own score: exact match and F1 of bags of words, spans aligned one to one.

After Dua et al. 2019 (section 5) and its official evaluator, drop_eval.py of AllenAI.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy.optimize import linear_sum_assignment

from foresight.evals.graders import ARTICLES, PUNCTUATION, Graded, TextGrader, Verdict

BETWEEN = " | "
"""Between the spans of an answer, in what the model is shown and in what it writes."""


class DropF1(TextGrader):
    """The better of the accepted answers, by `metric`. Spans stand between bars ("red | blue")."""

    kind: Literal["drop_f1"] = "drop_f1"
    metric: Literal["f1", "exact_match"] = "f1"
    """Which of the two is the score; records tell both."""

    def read(self, response: Graded) -> Verdict:
        answer = response.output.strip()
        accepted = response.item.target
        assert isinstance(accepted, tuple), "check() has seen it"
        pairs = [drop_scores(spans_of(answer), spans_of(one)) for one in accepted]
        exact, f1 = (max(pair[at] for pair in pairs) for at in (0, 1))
        told = f"exact match {exact:g}, F1 {f1:g}"
        return Verdict(f1 if self.metric == "f1" else exact, answer, explanation=told)


def spans_of(text: str) -> list[str]:
    """The spans of a written answer; an empty one has one empty span."""
    return [one.strip() for one in text.split("|")]


def drop_scores(predicted: Sequence[str], gold: Sequence[str]) -> tuple[float, float]:
    """Exact match (0 or 1) and F1 (in [0, 1], to two digits) of the spans of two answers.

    F1 is the mean over the larger number of spans of the best one-to-one alignment; a gold span
    with numbers scores 0 against one that shares none of them.
    """
    sides = [normalised(one) for one in predicted], [normalised(one) for one in gold]
    exact = set(sides[0]) == set(sides[1]) and len(sides[0]) == len(sides[1])
    bags = [[set(one.split()) for one in side] for side in sides]
    scores = np.array([[_f1(mine, right) for mine in bags[0]] for right in bags[1]])
    rows, columns = linear_sum_assignment(-scores)
    aligned = np.zeros(max(scores.shape))
    aligned[rows] = scores[rows, columns]
    # numpy's rounding, as there: .225 is .22, where Python has .23.
    return float(exact), float(np.round(np.mean(aligned), 2))


def normalised(span: str) -> str:
    """Lower case; words parted at spaces and hyphens; numbers as floats; else no punctuation and no
    articles."""
    words = (_word(one) for one in re.split(" |-", span.lower()))
    return " ".join(word for word in words if word)


def _word(word: str) -> str:
    # A number keeps its sign and point, which are punctuation; "1,000" is one without its comma.
    if not _is_number(word):
        word = word.translate(PUNCTUATION)
    if _is_number(word):
        return str(float(word))
    return " ".join(ARTICLES.sub(" ", word).split())


def _f1(predicted: set[str], gold: set[str]) -> float:
    numbers = {word for word in gold if _is_number(word)}
    if numbers and not numbers & predicted:
        return 0.0
    shared = len(gold & predicted)
    if not shared:
        return float(predicted == gold)
    # In this order, so that halves of a hundredth round as the official ones do.
    precision, recall = shared / len(predicted), shared / len(gold)
    return 2 * precision * recall / (precision + recall)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
