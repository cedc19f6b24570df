"""Grader templates: every public one loads, choices are read as the format says."""

from __future__ import annotations

import string
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foresight.errors import UserError
from foresight.evals.model_graded import (
    MATCHES,
    EvalType,
    ModelGraded,
    read_choice,
    read_model_graded,
)


def template_of(prompt: str, **change: Any) -> ModelGraded:
    value = {"name": "t", "prompt": prompt, "choice_strings": ("Y",)} | change
    return ModelGraded.model_validate(value)


YES_NO = ("Yes", "No", "Unsure")


@pytest.fixture(scope="module")
def public(
    shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, ModelGraded]]:
    folder = tmp_path_factory.mktemp("public")
    source = shared_data / "evals" / "openai_evals_modelgraded" / "modelgraded_yaml.tar.xz"
    with tarfile.open(source) as archive:
        archive.extractall(folder, filter="data")
    return {path.name: read_model_graded(path) for path in sorted(folder.rglob("*.yaml"))}


def test_all_public_templates_load_and_fill(public: dict[str, dict[str, ModelGraded]]) -> None:
    assert len(public) == 18
    templates = [template for file in public.values() for template in file.values()]
    assert len(templates) == 21
    for template in templates:
        filled = template.filled({name: f"<<{name} {{x}}>>" for name in template.fields})
        for name in template.fields:
            assert f"<<{name} {{x}}>>" in filled
        assert template.choice_strings
        for choice in template.choice_strings:
            for text in (choice, f"({choice})", f'"{choice}".', f"  {choice}\n"):
                assert template.choice(text) == choice, (template.name, text)
            if template.eval_type == "cot_classify":
                assert template.choice(f"Some reasons.\n{choice}\n") == choice


def test_what_a_few_public_templates_say(public: dict[str, dict[str, ModelGraded]]) -> None:
    closed = public["closedqa.yaml"]["closedqa"]
    assert (closed.eval_type, closed.instruct, closed.choice_scores) == (
        "cot_classify", False, {"Y": 1.0, "N": 0.0},
    )  # fmt: skip
    assert closed.fields == {"input", "completion", "criteria"}
    likert = public["humor.yaml"]["humor_likert"]
    assert (likert.choice("4"), likert.score("4")) == ("4", 0.75)
    fact = public["fact.yaml"]["fact"]
    assert (fact.choice("C"), fact.score("C")) == ("C", None)
    worth = {"A": 0.4, "B": 0.6, "C": 1.0, "D": 0.0, "E": 1.0}
    scored = fact.model_copy(update={"choice_scores": worth})
    assert (scored.choice("(B) because"), scored.score("B")) == ("B", 0.6)
    asked = fact.model_copy(update={"eval_type": "cot_classify"}).filled(
        {"input": "q", "ideal": "i", "completion": "c"}
    )
    assert asked.endswith("Reasoning:") and '"A" or "B"' in asked
    assert public["best.yaml"]["best"].choice_strings == ("1",), "one answer is there to compare"
    after = public["humor.yaml"]["humor_out_message"].filled({"input": "joke?", "completion": "ha"})
    assert after.startswith("joke?\n\nha\n\nWas ")


@pytest.mark.parametrize(
    ("output", "kind", "choices", "expected"),
    [
        ("The poem scans.\n\nYes\n\nYes", "cot_classify", YES_NO, "Yes"),
        ("No\nYes", "cot_classify", YES_NO, "Yes"),
        ("No\nYes", "classify_cot", YES_NO, "No"),
        ("**Yes**", "cot_classify", YES_NO, "Yes"),
        ("The answer is: No.", "cot_classify", YES_NO, "No"),
        ("So it fails.\nNo\n...\n", "cot_classify", YES_NO, "No"),
        ("yes", "classify", YES_NO, None),
        ("", "classify", YES_NO, None),
        (" \n\n", "cot_classify", YES_NO, None),
        ("I cannot judge that.", "cot_classify", YES_NO, None),
        ("Yes or No", "classify", YES_NO, None),
        # Lines above the last are read only while none names a choice.
        ("Yes\nThat is my verdict", "cot_classify", YES_NO, "Yes"),
        # The format itself reads the next three as A, 1 and Y; a whole word is what was meant.
        ("Answer: B", "classify", tuple("ABCDE"), "B"),
        ("10", "classify", tuple(map(str, range(1, 13))), "10"),
        ("Your choice is N", "classify", ("Y", "N"), "N"),
        # A part of a word counts where nothing better is there, as in the format.
        ("Yes", "classify", ("Y", "N"), "Y"),
        ("Aです", "classify", tuple("ABC"), "A"),
    ],
)
def test_choices_read(
    output: str, kind: EvalType, choices: tuple[str, ...], expected: str | None
) -> None:
    assert read_choice(output, choices, kind) == expected


def by_the_format(output: str, choices: tuple[str, ...], kind: str) -> str | None:
    """The definition of the format, written down plainly."""
    lines = output.strip().split("\n")
    for line in lines[::-1] if kind == "cot_classify" else lines:
        bare = "".join(c for c in line.strip() if c not in string.punctuation)
        for choice in choices:
            if bare and (bare.startswith(choice) or bare.endswith(choice)):
                return choice
    return None


LINES = st.lists(
    st.one_of(
        st.sampled_from(
            ["Yes", "No", "Unsure", "(A)", "A.", "B", "Reason", "", "Note: C", "B or A"]
        ),
        st.text("ABCYesNo .:()\n", max_size=12),
    ),
    max_size=5,
).map("\n".join)


@given(
    output=LINES,
    choices=st.sampled_from([YES_NO, ("A", "B", "C")]),
    kind=st.sampled_from(["cot_classify", "classify_cot", "classify"]),
)
def test_it_differs_from_the_format_only_on_lines_that_name_two_choices(
    output: str, choices: tuple[str, ...], kind: EvalType
) -> None:
    found, plain = read_choice(output, choices, kind), by_the_format(output, choices, kind)
    if found == plain:
        return
    lines = [
        "".join(c for c in line.strip() if c not in string.punctuation)
        for line in output.strip().split("\n")
    ]
    deciding = [
        named
        for line in (lines[::-1] if kind == "cot_classify" else lines)
        if (named := [c for c in choices if MATCHES["starts_or_endswith"](line, c)])
    ]
    assert len(deciding[0]) > 1 and (found is None or found in deciding[0])


@given(
    reasons=st.text(max_size=80),
    choice=st.sampled_from(YES_NO),
    ending=st.text(string.punctuation + " \n", max_size=6),
)
def test_the_last_line_decides_whatever_was_reasoned(
    reasons: str, choice: str, ending: str
) -> None:
    assert read_choice(f"{reasons}\n{choice}{ending}", YES_NO, "cot_classify") == choice
    assert read_choice(f"{choice}{ending}\n{reasons}", YES_NO, "classify_cot") == choice


@given(st.dictionaries(st.sampled_from(["input", "completion"]), st.text(), min_size=2))
def test_values_are_put_in_as_they_are(fields: dict[str, str]) -> None:
    template = template_of("{{a}} {input}|{completion}", instruct=False)
    assert template.filled(fields) == f"{{a}} {fields['input']}|{fields['completion']}"


@given(
    st.lists(st.floats(-5, 9), min_size=2, max_size=5, unique=True),
)
def test_scores_stay_in_the_unit_interval(points: list[float]) -> None:
    choices = tuple("ABCDE"[: len(points)])
    worth = dict(zip(choices, points, strict=True))
    template = template_of("{completion}", choice_strings=choices, choice_scores=worth)
    scores = {choice: template.score(template.choice(choice) or "") for choice in choices}
    assert all(one is not None and 0 <= one <= 1 for one in scores.values())
    by_points = sorted(choices, key=lambda choice: worth[choice])
    assert [scores[choice] for choice in by_points] == sorted(map(float, scores.values()))  # type: ignore[arg-type]


GOOD = """t:
  prompt: 'Is {completion} right?'
  choice_strings: ["Yes", "No"]
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "expected a mapping from a template's name"),
        ("t: 3\n", "x.yaml, t: expected fields"),
        ("t:\n  prompt: [a]\n", "field prompt: Input should be a valid string"),
        (GOOD.replace('["Yes", "No"]', "YY"), "stands twice"),
        (GOOD.replace("Yes", "Yes!"), "has punctuation"),
        (GOOD.replace('["Yes", "No"]', "[Yes, No]"), "YAML reads Yes as true"),
        (GOOD.replace("{completion}", "{completion"), "do not match"),
        (GOOD.replace("{completion}", "{completion.__class__}"), "no plain name"),
        (GOOD + "  eval_type: guess\n", "field eval_type: Input should be 'cot_classify'"),
        (GOOD + "  choice_scores: {'Yes': 1}\n", "expected a number for each of Yes, No"),
        (GOOD + "  choice_scores: {'Yes': 1, 'No': 0, Maybe: 2}\n", "Maybe is no choice"),
        (
            GOOD + "  choice_scores: from_strings\n",
            "choice_scores.Yes: Input should be a valid",
        ),
        (GOOD + "  temperature: 1\n", "field temperature: unknown"),
        ("t: {", "not valid YAML"),
    ],
)
def test_errors_name_file_template_and_field(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_model_graded(path)
    assert str(path) in str(caught.value) and message in str(caught.value)


def test_a_missing_field_is_named() -> None:
    template = template_of("{ideal} {completion}", name="fact")
    with pytest.raises(UserError, match="fact: the template needs the field ideal"):
        template.filled({"completion": "x"})
