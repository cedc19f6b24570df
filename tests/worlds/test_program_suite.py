"""The suite of programs: what is in it, that it can be passed, and that it was not trained on."""

from __future__ import annotations

from collections import Counter

import pytest

from foresight.worlds import functions, programs
from foresight.worlds.program_suite import ASIDE, PER_BUCKET, program_suite
from foresight.worlds.programs import PRIMITIVES, Step, composition, split_of
from foresight.worlds.suite_problem import SuiteProblem, function_body


@pytest.fixture(scope="module")
def suite() -> tuple[SuiteProblem, ...]:
    return program_suite()


def test_six_buckets_of_thirty_and_fifteen_aside(suite: tuple[SuiteProblem, ...]) -> None:
    assert Counter(one.bucket for one in suite) == {
        **dict.fromkeys(range(6), PER_BUCKET),
        None: ASIDE,
    }
    assert len({one.id for one in suite}) == len(suite) == 195
    assert len({one.parts[0].text for one in suite}) == len(suite)
    assert max(Counter(one.group for one in suite if one.bucket == 0).values()) <= 3


def test_the_same_seed_gives_the_same_suite(suite: tuple[SuiteProblem, ...]) -> None:
    again, other = program_suite(), program_suite(1)
    assert [(p.id, p.parts, p.tests) for p in again] == [(p.id, p.parts, p.tests) for p in suite]
    assert [p.parts for p in other] != [p.parts for p in suite]


def test_solutions_pass_and_other_problems_solutions_do_not(
    suite: tuple[SuiteProblem, ...],
) -> None:
    assert all(one.passes(one.solution) for one in suite)
    assert all(one.passes(one.solution + "\ndef g(x):\n    return 1\n") for one in suite)
    wrong = [
        (one, other)
        for one in suite
        for other in suite
        if one.variable == other.variable and one.solution != other.solution
    ]
    passed = [(a, b) for a, b in wrong if a.passes(b.solution)]
    # The tests tell compositions apart but for a few that compute the same.
    assert len(passed) < 0.002 * len(wrong), [(a.solution, b.solution) for a, b in passed[:5]]


@pytest.mark.parametrize(
    "completion",
    ["", "\n", "return 1", "    return\n", "    retur", "    return f(n)\n", "    pass\n",
     "    return [\n", "    return n.\n", "\u0000", "    return '\ud800'\n"],
)  # fmt: skip
def test_what_is_no_answer_does_not_pass(suite: tuple[SuiteProblem, ...], completion: str) -> None:
    assert not any(one.passes(completion) for one in suite)


def test_a_stub_for_one_input_does_not_pass(suite: tuple[SuiteProblem, ...]) -> None:
    """Negative control of the tests: the answer of the first test alone, or the input itself."""
    for one in suite:
        assert not one.passes(f"    return {one.tests[0][1]!r}\n")
        assert not one.passes(f"    return {one.variable}\n")


def steps_of(problem: SuiteProblem) -> list[str]:
    return problem.group.split(" > ")


def test_no_training_document_of_any_seed_has_a_problem_composition(
    suite: tuple[SuiteProblem, ...],
) -> None:
    """`split_of` knows no seed, and both generators draw until it says "train"; so it is enough
    that it says "validation" of every composition, and that documents keep to it."""
    for one in suite:
        names = steps_of(one)
        if len(names) > 1:
            assert split_of([Step(name) for name in names]) == "validation"
    singles = {
        composition([Step(p.name, a)]): split_of([Step(p.name, a)])
        for p in PRIMITIVES.values()
        for a in p.arguments
    }
    assert all(singles[one.group] == "validation" for one in suite if len(steps_of(one)) == 1)
    problems = {one.group for one in suite}
    for seed in range(4):
        for world in (programs, functions):
            groups = {document.group for document in world.documents(seed, 800, "train")}
            assert not groups & problems


def test_no_training_document_has_a_problem_solution(suite: tuple[SuiteProblem, ...]) -> None:
    """The body of a problem is that of no trained composition: bodies tell steps apart."""
    lines: dict[str, tuple[str, object]] = {}
    for primitive in PRIMITIVES.values():
        for argument in primitive.arguments:
            code = Step(primitive.name, argument).code(f"<{primitive.takes}>")
            # One line, one step: so one body, one tuple of steps, and so one composition.
            assert lines.setdefault(code, (primitive.name, argument)) == (primitive.name, argument)
    bodies = {one.solution for one in suite}
    for seed in range(3):
        for world in (programs, functions):
            for document in world.documents(seed, 1500, "train"):
                assert document.parts[1].text not in bodies


def test_the_leak_test_finds_a_leak(suite: tuple[SuiteProblem, ...]) -> None:
    """Negative control: held-out documents do have such compositions and bodies."""
    held = list(functions.documents(0, 1500, "validation"))
    assert {d.group for d in held} & {one.group for one in suite}
    assert {d.parts[1].text for d in held} & {one.solution for one in suite}


def test_a_body_ends_at_the_first_line_that_is_not_indented() -> None:
    assert function_body("    a = 1\n\n    return a\ndef g():\n") == "    a = 1\n\n    return a\n"
    assert function_body("\n\n") == "" and function_body("x = 1\n    return x\n") == ""
