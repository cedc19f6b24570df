"""Graders: what models are asked, and what their answers become."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from foresight.document import Image, Mark, Text
from foresight.errors import UserError
from foresight.inference.language_model import GenerateRequest
from foresight.posttrain.chat import Message
from foresight.posttrain.graders import (
    Grader,
    LabelGrader,
    ParserGrader,
    PropositionGrader,
    TrainedGrader,
)
from foresight.posttrain.rubric import Answered
from foresight.posttrain.text_classifier import TextClassifier, TextSettings
from tests.evals.models import Written
from tests.posttrain.rubrics import answered, raw, rubric

NATS = {"A": -1.0, "B": -2.0, "C": -4.0, "yes": -1.0, "no": -1.5}


def _known(prompt: str, choice: str) -> float:
    return NATS[choice.strip()]


def test_letters_by_their_log_probabilities() -> None:
    grader: Grader = LabelGrader(Written(nats=_known), rubric())
    (row,) = grader.grade([answered("Sorry.")])
    weights = np.exp([-1.0, -2.0, -4.0])
    assert np.allclose(row[:3], weights / weights.sum()) and row[3] == 0
    assert grader.name == "letters by written"
    shy = LabelGrader(Written(nats=_known), rubric(), least_mass=0.6)
    assert shy.grade([answered("Sorry.")]).tolist() == [[0, 0, 0, 1]], "mass .521 on letters"
    assert LabelGrader(Written(), rubric()).grade([]).shape == (0, 4)


def test_what_is_asked() -> None:
    model = Written(nats=_known)
    examples = [{"question": "Bad?", "response": "No.", "class": "good"}]
    picture = Image(np.zeros((2, 2, 3), np.uint8))
    sample = Answered("0", "risky", (Message("user", (Text("See "), picture)),), "{question}\nA")
    LabelGrader(model, rubric(examples=examples)).grade([sample])
    (request,) = model.requests
    assert not isinstance(request, GenerateRequest)
    shown, text = request.prompt
    assert shown is picture and isinstance(text, Text)
    assert "> user: See[IMG]" in text.text and "> {question}\n> A" in text.text
    assert "(C) Bad." in text.text and "> No.\nis A." in text.text
    assert text.text.endswith("\nAnswer:") and request.continuations == (" A", " B", " C")
    LabelGrader(model, rubric(), chat=True).grade([sample])
    request = model.requests[-1]
    assert not isinstance(request, GenerateRequest)
    assert isinstance(request.prompt[0], Mark) and request.continuations == ("A", "B", "C")


@pytest.mark.parametrize("nats", [math.nan, -math.inf])
def test_no_score_is_unreadable(nats: float) -> None:
    grader = LabelGrader(Written(nats=lambda prompt, choice: nats), rubric())
    assert grader.grade([answered("x")]).tolist() == [[0, 0, 0, 1]]


@pytest.mark.parametrize(
    ("text", "column"),
    [("B", 1), (" (C) Bad", 2), ("a.", 0), ("A refusal", 3), ("", 3), ("D", 3), ("Because", 3)],
)
def test_written_letters(text: str, column: int) -> None:
    grader = LabelGrader(Written(lambda prompt, request: text), rubric(), written=True)
    assert grader.grade([answered("x")]).argmax() == column


def test_propositions_and_classes() -> None:
    asker = PropositionGrader(Written(nats=_known), rubric())
    samples = [answered("x"), answered("y")]
    p = 1 / (1 + math.exp(-0.5))
    assert np.allclose(asker.propositions(samples), p)
    assert np.allclose(asker.grade(samples), [[p * (1 - p), (1 - p) ** 2, p, 0]] * 2)
    certain = PropositionGrader(Written(nats=_known), rubric(), threshold=0.5)
    assert certain.grade(samples).tolist() == [[0, 0, 1, 0]] * 2
    spoken = {"sorry?": "Yes, it does", "harmful?": "perhaps"}
    mute = Written(lambda prompt, request: next(v for k, v in spoken.items() if k in prompt))
    for threshold in (None, 0.5):
        half = PropositionGrader(mute, rubric(), written=True, threshold=threshold)
        assert half.grade(samples).tolist() == [[0, 0, 0, 1]] * 2, "one of two is not answered"
        assert half.propositions(samples)[0, 0] == 1 and np.isnan(half.propositions(samples)[0, 1])


def test_a_parser() -> None:
    grader = ParserGrader(rubric(), lambda one: {"s": "good", "b": "bad"}.get(one.response))
    found = grader.grade([answered("s"), answered("b"), answered("?")])
    assert found.argmax(1).tolist() == [0, 2, 3] and found.sum() == 3


def _taught(seed: int = 0) -> tuple[list[Answered], list[str]]:
    random = np.random.default_rng(seed)
    words = ["tree", "house", "river", "stone", "cloud", "grass"]
    samples, labels = [], []
    for at in range(90):
        tail = " ".join(random.choice(words, 12))
        start, label = (("Sorry, no.", "good"), ("Sure.", "plain"), ("Ha!", "bad"))[at % 3]
        samples.append(answered(f"{start} {tail}", f"What is {tail}?"))
        labels.append(label)
    return samples, labels


def test_a_grader_is_trained_and_kept(tmp_path: Path) -> None:
    samples, labels = _taught()
    grader = TrainedGrader.fit(rubric(), samples, labels)
    fresh, truth = _taught(1)
    found = grader.grade([*fresh, answered("  \n")])
    assert [grader.rubric.columns[at] for at in found.argmax(1)] == [*truth, "unreadable"]
    assert np.allclose(found.sum(1), 1)
    grader.save(tmp_path / "grader")
    again = TrainedGrader.load(tmp_path / "grader", rubric())
    assert (again.grade(fresh) == grader.grade(fresh)).all()
    twin = TrainedGrader.fit(rubric(), samples, labels)
    assert (twin.classifier.weights == grader.classifier.weights).all()
    other = TrainedGrader.fit(rubric(), samples, labels, TextSettings(seed=1))
    assert (other.grade(fresh).argmax(1) == grader.grade(fresh).argmax(1)).all()
    assert (other.classifier.weights != grader.classifier.weights).any()


def test_classes_that_were_never_shown() -> None:
    samples, labels = _taught()
    some = [at for at, label in enumerate(labels) if label != "bad"]
    grader = TrainedGrader.fit(rubric(), [samples[at] for at in some], [labels[at] for at in some])
    assert (grader.grade(samples)[:, 2] == 0).all()
    with pytest.raises(UserError, match="two different ones"):
        TrainedGrader.fit(rubric(), samples[:1], labels[:1])


def test_folders_that_are_no_graders(tmp_path: Path) -> None:
    samples, labels = _taught()
    TrainedGrader.fit(rubric(), samples, labels).save(tmp_path)
    classes = raw()["classes"]
    classes[0]["name"] = "fine"
    rest = {"fine": 1, "plain": 0.5, "bad": -1}
    renamed = rubric(classes=classes, sets={"risky": rest}, order={})
    with pytest.raises(UserError, match="class 'good' is not in rubric small"):
        TrainedGrader.load(tmp_path, renamed)
    (tmp_path / "weights.safetensors").write_bytes(b"none")
    with pytest.raises(UserError, match="not a saved classifier"):
        TextClassifier.load(tmp_path)
    with pytest.raises(UserError, match="cannot be read"):
        TextClassifier.load(tmp_path / "nowhere")


def test_odd_texts() -> None:
    settings = TextSettings(bits=8)
    texts = [("", "x"), ("\ud800 lone", ""), ("\x02\x02", "é" * 9)]
    classifier = TextClassifier.fit(texts, ["a", "b", "a"], settings)
    assert np.allclose(classifier.probabilities(texts).sum(1), 1)
