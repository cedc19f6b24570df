"""Judges: templates, rubrics, failures."""

from __future__ import annotations

import re

import pytest

from foresight.document import Text
from foresight.errors import UserError
from foresight.evals.graders import Graded, Verdict
from foresight.evals.item import Item
from foresight.evals.model_graded import ModelGraded
from foresight.evals.model_grader import ModelGrader, RubricPoints
from foresight.evals.record import Reason
from foresight.inference.language_model import GenerateRequest
from tests.evals.models import Written

CLOSED = ModelGraded(
    name="closed",
    prompt="[Task] {input} [Answer] {completion} [Criterion] {criteria}",
    choice_strings=("Y", "N"),
    choice_scores={"Y": 1.0, "N": 0.0},
    eval_type="cot_classify",
)


def judge(prompt: str, request: GenerateRequest) -> str:
    """Likes answers that say please; says nothing useful to those that say blank."""
    assert request.sampling.temperature == 0.0
    if "blank" in prompt:
        return "I cannot decide."
    return "It was checked.\n" + ("Y" if "please" in prompt else "N")


def responses(*outputs: str) -> list[Graded]:
    item = Item("x", (Text("Ask {nicely}."),), meta={"criteria": "polite"})
    return [Graded(item, "prompt", output) for output in outputs]


def test_a_choice_becomes_a_score_and_none_a_failure() -> None:
    model = Written(judge)
    grader = ModelGrader(model=model, template=CLOSED)
    found = grader.grade(responses("please", "now", "blank"))
    assert [one.score for one in found] == [1.0, 0.0, None]
    assert [one.reason for one in found] == [Reason.OK, Reason.OK, Reason.GRADER_FAILED]
    assert found[0].explanation.startswith("It was checked.")
    first = model.requests[0]
    assert isinstance(first, GenerateRequest) and isinstance(first.prompt[0], Text)
    assert first.prompt[0].text.startswith(
        "[Task] Ask {nicely}. [Answer] please [Criterion] polite"
    )


def test_a_judge_that_does_not_answer_has_failed() -> None:
    grader = ModelGrader(model=Written(judge, finish="failed"), template=CLOSED)
    (found,) = grader.grade(responses("please"))
    assert (found.score, found.reason) == (None, Reason.GRADER_FAILED)


def test_verdicts_are_told_as_they_come_whatever_the_order() -> None:
    seen: dict[int, Verdict] = {}
    grader = ModelGrader(model=Written(judge, backward=True), template=CLOSED)
    found = grader.grade(responses("please", "now"), seen.__setitem__)
    assert list(seen) == [1, 0] and [seen[0], seen[1]] == found


def test_the_judge_and_its_template_are_settings() -> None:
    plain = ModelGrader(model=Written(judge), template=CLOSED).settings()
    other = ModelGrader(model=Written(judge, name="other"), template=CLOSED).settings()
    scored = ModelGrader(
        model=Written(judge), template=CLOSED, choice_scores={"Y": 0.5, "N": 0.0}
    ).settings()
    assert plain["model"] == "written" and plain["template"]["prompt"] == CLOSED.prompt
    assert plain not in (other, scored)


def test_what_a_template_lacks_is_said_before_anything_is_asked() -> None:
    model = Written(judge)
    with pytest.raises(UserError, match="asks for criteria"):
        ModelGrader(model=model, template=CLOSED).check(Item("x", (Text("?"),)))
    bare = ModelGraded(name="fact", prompt="{completion}", choice_strings=("A", "B"))
    with pytest.raises(UserError, match="score for each of A, B"):
        ModelGrader(model=model, template=bare).check(Item("x", (Text("?"),)))
    fact = ModelGrader(model=model, template=bare, choice_scores={"A": 0.5, "B": 1.0})
    fact.check(Item("x", (Text("?"),)))
    assert model.asked == 0


RUBRIC = [
    {"criterion": "names the year", "points": 3},
    {"criterion": "names the place"},
]


def marker(prompt: str, request: GenerateRequest) -> str:
    criterion = prompt.split("Criterion:\n")[1].splitlines()[0]
    response = prompt.split("graded:\n")[1].splitlines()[0]
    if "illegible" in response and "place" in criterion:
        return "?"
    met = bool(re.search(r"\d", response)) if "year" in criterion else "Rome" in response
    return f"I looked.\n{'Yes' if met else 'No'}"


def test_points_of_a_rubric_add_up() -> None:
    item = Item("x", (Text("When and where?"),), meta={"rubric": RUBRIC})
    grader = RubricPoints(model=Written(marker, backward=True))
    grader.check(item)
    outputs = ("44 in Rome", "in Rome", "44", "never", "illegible 44")
    found = grader.grade([Graded(item, "p", output) for output in outputs])
    assert [one.score for one in found] == [1.0, 0.25, 0.75, 0.0, None]
    assert found[1].answer == "1 of 4"
    assert found[1].explanation == "0 of 3: names the year\n1 of 1: names the place"
    assert found[4].reason == Reason.GRADER_FAILED
    with pytest.raises(UserError, match="has a rubric"):
        grader.check(Item("y", (Text("?"),)))
    with pytest.raises(UserError, match=r"item y, meta\.rubric, field criteria\.0\.name: missing"):
        grader.check(Item("y", (Text("?"),), meta={"rubric": [{"points": 1}]}))
