"""Functions of one number: valid documents, native and interpreted results agree."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from foresight.worlds import functions, programs
from foresight.worlds.interpreter import call
from foresight.worlds.primitives import NUMBER_PRIMITIVES
from foresight.worlds.programs import Step


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**40), split=st.sampled_from(["train", "validation"]))
def test_documents_are_programs_of_one_number(seed: int, split: str) -> None:
    for document in functions.documents(seed, 20, split):
        prompt, solution = document.parts
        assert document.source == "functions" and document.group
        assert prompt.text.startswith('def f(n):\n    """')
        assert 1 <= len(solution.text.splitlines()) <= 3
        if ">>> " in prompt.text:
            shown, output = prompt.text.split(">>> f(")[1].split("\n")[:2]
            assert repr(call("n", solution.text, int(shown[:-1]))) == output.strip()


def test_primitives_agree_with_their_code() -> None:
    for primitive in NUMBER_PRIMITIVES:
        for argument in primitive.arguments:
            line = f"    return {Step(primitive.name, argument).code('n')}\n"
            for value in (-1000, -11, -1, 0, 1, 9, 10, 999):
                assert call("n", line, value) == primitive.run(value, argument), primitive.name


def test_programs_on_lists_are_what_they_were() -> None:
    """The primitives on numbers change no document of the other world."""
    names = {p.name for p in NUMBER_PRIMITIVES}
    for program in programs.programs(0, 400, "train"):
        assert not names & {step.name for step in program.steps}
