"""Generated programs are valid, mean what their reference says, and stay in their split."""

from itertools import islice, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foresight.document import Text
from foresight.errors import UserError
from foresight.worlds import programs as world
from foresight.worlds.primitives import PRIMITIVES, VARIABLES
from foresight.worlds.programs import Program, Step

SPLITS = st.sampled_from(["train", "validation"])


def run(program: Program, value: Any) -> Any:
    namespace: dict[str, Any] = {}
    exec(program.prompt + program.solution, namespace)
    return namespace["f"](value)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**40), split=SPLITS)
def test_every_body_computes_the_reference_and_passes_its_tests(seed, split):
    for program in world.programs(seed, 10, split):
        for value, output in program.tests:
            before = repr(value)
            assert run(program, value) == output == program.reference(value), program.prompt
            assert repr(value) == before, "a reference must not change its input"


@pytest.mark.parametrize("name", sorted(PRIMITIVES))
def test_every_primitive_and_argument_agrees_with_its_code(name):
    primitive = PRIMITIVES[name]
    values = {
        "ints": [[], [3], [5, -2, 5, 0, 12, 7, -4, 9, 9, 2], [1, 2, 3]],
        "text": ["", "a", "Tree oven stone ant", "rAin  e"],
        "words": [[], ["b"], ["Tree", "oven", "a", "stOne"]],
        "number": [-1000, -11, -1, 0, 1, 9, 10, 999],
    }[primitive.takes]
    for argument in primitive.arguments:
        code = Step(name, argument).code(VARIABLES[primitive.takes])
        for value in values:
            expected = eval(code, {VARIABLES[primitive.takes]: value})
            assert primitive.run(value, argument) == expected, (argument, value)


def test_a_wrong_body_fails_the_tests():
    """Negative control: the body of another program passes hardly ever, of its own always."""
    drawn = [p for p in world.programs(5, 400, "train") if p.prompt.startswith("def f(xs)")]
    passed = 0
    for program, other in pairwise(drawn):
        swapped = Program(other.steps, program.prompt, program.tests)
        if other.steps != program.steps:
            passed += all(run(swapped, value) == output for value, output in program.tests)
    assert len(drawn) > 150
    assert passed <= 2


@pytest.mark.parametrize("shares", [world.DEFAULT_STEP_SHARES, (1,), (0, 0, 0, 0, 0, 1)])
def test_no_composition_is_in_both_splits(shares):
    train = {p.composition for p in world.programs(1, 1500, "train", shares)}
    held = {p.composition for p in world.programs(2, 400, "validation", shares)}
    assert len(train) > 20
    assert len(held) > 10
    assert not train & held


def test_some_one_step_programs_are_held_out_and_no_primitive_is():
    pairs = [Step(p.name, argument) for p in PRIMITIVES.values() for argument in p.arguments]
    held = [step for step in pairs if world.split_of([step]) == "validation"]
    assert 0.1 < len(held) / len(pairs) < 0.3
    kept = {step.name for step in pairs if world.split_of([step]) == "train"}
    assert kept == set(PRIMITIVES)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**40), split=SPLITS, count=st.integers(1, 30))
def test_document_i_does_not_depend_on_the_count(seed, split, count):
    longer = islice(world.documents(seed, 1000, split), count)
    assert list(world.documents(seed, count, split)) == list(longer)


def test_other_seeds_give_other_documents():
    first = [d.text for d in world.documents(0, 50, "train")]
    second = [d.text for d in world.documents(1, 50, "train")]
    assert len(set(first) & set(second)) < 5


def test_a_document_is_prompt_and_solution_and_its_example_is_right():
    examples = 0
    for document in world.documents(3, 300, "train"):
        prompt, solution = document.parts
        assert isinstance(prompt, Text)
        assert isinstance(solution, Text)
        assert prompt.text.endswith('"""\n')
        assert solution.text.startswith("    ")
        assert document.source == "programs"
        assert document.group
        if ">>> " in prompt.text:
            call, output = prompt.text.split(">>> ")[1].split("\n")[:2]
            namespace: dict[str, Any] = {}
            exec(document.text, namespace)
            assert repr(eval(call, namespace)) == output.strip()
            examples += 1
    assert 100 < examples < 200


def test_step_shares_are_kept_and_lean_to_few_steps():
    lengths = [len(p.steps) for p in world.programs(0, 2000, "train")]
    shares = [lengths.count(k) / len(lengths) for k in range(1, 7)]
    assert shares == pytest.approx(world.DEFAULT_STEP_SHARES, abs=0.04)


def test_no_step_is_idle_and_no_answer_constant():
    for program in world.programs(11, 300, "validation", (0, 1, 1)):
        stub = Program(program.steps[:-1], program.prompt, program.tests)
        assert any(stub.reference(value) != output for value, output in program.tests)
        assert len({repr(output) for _, output in program.tests}) > 1


@pytest.mark.parametrize("shares", [(), (0, 0), (1, -1), (1,) * 7])
def test_bad_shares_are_refused(shares):
    with pytest.raises(UserError, match="step_shares"):
        next(world.programs(0, 1, "train", shares))
