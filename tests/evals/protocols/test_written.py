"""Cloze, free responses and programs."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from foresight.document import Text
from foresight.errors import UserError
from foresight.evals.graders import NumericAnswer
from foresight.evals.item import Item
from foresight.evals.protocols import ChoiceGenerate, Cloze, Code, FreeResponse
from foresight.evals.protocols.code import free_names
from foresight.evals.record import Reason
from foresight.evals.sandbox import Outcome, Program
from foresight.evals.task import Task
from foresight.inference.language_model import GenerateRequest
from tests.evals.models import Written, open_items
from tests.evals.protocols.test_choice import answers

ADD = Item(
    "add",
    (Text("def add(a, b):\n"),),
    (),
    ("def check(f):\n    assert f(1, 2) == 3\n\ncheck(add)",),
    meta={"entry_point": "add"},
)


class Here:
    """A sandbox for programs of these tests alone: runs them in this process."""

    def __init__(self, broken: bool = False) -> None:
        self.programs: list[Program] = []
        self.broken = broken

    def run(self, programs: Sequence[Program]) -> list[Outcome]:
        self.programs += programs
        return [self._run(one) for one in programs]

    def _run(self, one: Program) -> Outcome:
        if self.broken:
            return Outcome("sandbox_failed", "", "no namespaces", None, 0.0)
        names: dict[str, object] = {}
        try:
            exec(one.source, names)
            exec(one.tests, {"_program": type("Names", (), names)})
        except Exception as error:
            text = f"Trace\n{type(error).__name__}: at 0x7ffe12 {error}\n"
            return Outcome("failed", "", text, 1, 0.0)
        return Outcome("passed", "", "", 0, 0.0)


def test_cloze_is_right_if_a_target_is_greedy() -> None:
    nats = {" Paris": -1.0, " Lutetia": -5.0, " Rome": -3.0}
    model = Written(nats=lambda prompt, choice: nats[choice])
    items = (
        Item("a", (Text("France:"),), (), ("Lutetia", "Paris")),
        Item("b", (Text("Italy:"),), (), ("Rome",)),
    )
    first, second = answers(Cloze(), items, model)
    assert (first.score, first.answer, first.details) == (1.0, "Paris", {"logprob": -1.0})
    assert (second.score, second.answer, second.details) == (0.0, None, {"logprob": -3.0})
    (broken,) = answers(Cloze(), items[1:], Written(nats=lambda prompt, choice: float("nan")))
    assert (broken.score, broken.reason) == (None, Reason.NO_RESPONSE)


def test_free_responses_are_graded() -> None:
    def add(prompt: str, request: GenerateRequest) -> str:
        assert request.sampling.temperature == 0.6
        number = int(prompt.split(maxsplit=1)[0])
        return {3: "", 4: "no idea", 5: "it is 7"}.get(number, f"It is {number + 1}.0 apples")

    found = answers(FreeResponse(grader=NumericAnswer()), open_items(6), Written(add))
    assert [one.score for one in found] == [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]
    assert [one.reason for one in found][3:] == [
        Reason.INVALID_FORMAT, Reason.INVALID_FORMAT, Reason.OK,
    ]  # fmt: skip
    assert found[0].answer == "1" and found[5].answer == "7"


@pytest.mark.parametrize(
    ("finish", "score", "reason"),
    [("refused", 0.0, Reason.REFUSAL), ("failed", None, Reason.NO_RESPONSE),
     ("stop", 1.0, Reason.OK)],
)  # fmt: skip
@pytest.mark.parametrize("protocol", ["choice", "written", "code"])
def test_declined_is_zero_and_unanswered_no_score(
    protocol: str, finish: str, score: float | None, reason: Reason
) -> None:
    right = {"choice": "A]", "written": "1", "code": "    return a + b\n"}[protocol]
    model = Written(lambda prompt, request: right, finish=finish)
    asked, items = {
        "choice": (ChoiceGenerate(explanation_tokens=0),
                   (Item("q", (Text("1?"),), ("yes", "no"), 0),)),
        "written": (FreeResponse(grader=NumericAnswer()), open_items(1)),
        "code": (Code(sandbox=Here()), (ADD,)),
    }[protocol]  # fmt: skip
    (found,) = answers(asked, items, model)
    assert (found.score, found.reason) == (score, reason)


def test_samples_draw_from_streams_of_their_own() -> None:
    task = Task("t", open_items(3), FreeResponse())
    seeds = {task.attempt(item, at).seed("response") for item in task.items for at in range(4)}
    assert len(seeds) == 12
    assert task.attempt(task.items[0]).seed("response") == task.attempt(task.items[0]).seed(
        "response"
    )


@pytest.mark.parametrize(
    ("completion", "score"),
    [
        ("    return a + b\n", 1.0),
        ("    return a - b\n", 0.0),
        ("    return a +\n", 0.0),
        ("Sure:\n```python\ndef add(x, y):\n    return y + x\n```\nDone.", 1.0),
        ("```\n    return a + b\n```", 1.0),
        ("```python\ndef add(x, y):\n    return y - x", 0.0),
    ],
)
def test_programs_are_run_with_their_tests(completion: str, score: float) -> None:
    sandbox = Here()
    # No stop strings: instruct models write a whole program in a fence.
    protocol = Code(sandbox=sandbox, stop=())
    (found,) = answers(protocol, (ADD,), Written(lambda prompt, request: completion))
    assert (found.score, found.reason) == (score, Reason.OK)
    assert "assert" not in sandbox.programs[0].source
    assert sandbox.programs[0].tests.startswith("add = _program.add\n")


def test_a_sandbox_that_fails_is_no_verdict() -> None:
    protocol = Code(sandbox=Here(broken=True))
    (found,) = answers(protocol, (ADD,), Written(lambda prompt, request: "    return a + b"))
    assert (found.score, found.reason) == (None, Reason.SCORING_FAILED)
    assert found.details["stderr"] == "no namespaces"


def test_failures_are_told_without_addresses() -> None:
    (found,) = answers(
        Code(sandbox=Here()), (ADD,), Written(lambda prompt, request: "    return a - b")
    )
    assert found.details == {"status": "failed", "stderr": "AssertionError: at 0x"}


def test_names_of_the_program_are_found() -> None:
    tests = """
import math
METADATA = {}
def helper(x, *rest, key=None):
    return [y for y in rest if y > x] + [key]
class Box: pass
def check(candidate):
    try:
        assert math.isclose(candidate(poly([1])), 0)
    except ValueError as error:
        print(error, len(METADATA), helper(1), Box)
check(find_zero)
"""
    assert free_names(tests) == ["find_zero", "poly"] or set(free_names(tests)) == {
        "find_zero", "poly"
    }  # fmt: skip


def test_tests_that_are_no_source_are_refused() -> None:
    with pytest.raises(UserError, match="item x: its tests are no Python source"):
        Task("t", (Item("x", (Text("?"),), (), ("assert (",)),), Code())


def test_the_sandbox_is_no_setting_but_its_limits_are() -> None:
    assert Task("t", (ADD,), Code(sandbox=Here())).hash == Task("t", (ADD,), Code()).hash
    tighter = Code.model_validate({"limits": {"cpu_seconds": 1}})
    assert Task("t", (ADD,), tighter).hash != Task("t", (ADD,), Code()).hash
