"""Templates that let a language model grade answers, in the format of OpenAI Evals.

A template asks a grader model to end (or begin) its answer with one of a few choices; a choice may
be worth a score. Format: OpenAI Evals, `evals/registry/modelgraded/*.yaml` and
`docs/eval-templates.md`. The instruction on how to answer is worded here, not there.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from foresight.errors import UserError
from foresight.evals.files import read_yaml, validated
from foresight.evals.graders import PUNCTUATION

EvalType = Literal["cot_classify", "classify_cot", "classify"]
"""The choice stands after the reasons, before the reasons, or alone."""
Match = Literal["starts_or_endswith", "endswith", "exact", "include"]
"""How a line, its punctuation removed, names a choice."""

MATCHES: dict[str, Callable[[str, str], bool]] = {
    "starts_or_endswith": lambda line, choice: line.startswith(choice) or line.endswith(choice),
    "endswith": lambda line, choice: line.endswith(choice),
    "exact": lambda line, choice: line == choice,
    "include": lambda line, choice: choice in line,
}
INSTRUCTIONS: dict[str, str] = {
    "cot_classify": "Reason step by step before you decide; do not name the result first. Then "
    "write one of {choices}, without quotes or punctuation, on a line of its own as the last line."
    "\n\nReasoning:",
    "classify_cot": "Write one of {choices}, without quotes or punctuation, on the first line. "
    "Then explain the decision step by step, beginning on the next line.",
    "classify": "Answer with one of {choices}, without quotes or punctuation, and nothing else.",
}
NUMBERED = {"from_n": ("1",), "from_n_abc": ("a",), "from_n_ABC": ("A",)}
"""Choices that number the answers to be compared, of which there is one here."""


class ModelGraded(BaseModel):
    """A grader's prompt and how its answer is read: the fields of the format.

    Without `choice_scores` a verdict has a choice and no score.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    prompt: str
    """Text with `{field}`s."""
    choice_strings: tuple[str, ...]
    """The allowed answers: letters such as ABC, a list of texts, or a key of `NUMBERED`."""
    choice_scores: dict[str, float] = Field(default_factory=dict)
    """What each is worth; `from_strings` where the choices are numbers."""
    eval_type: EvalType = "classify"
    """Where the choice stands."""
    instruct: bool = True
    """Whether the prompt itself leaves open how to answer, so that `INSTRUCTIONS` is appended (in
    the format: the type is named by the eval, not by the template)."""
    input_outputs: dict[str, str] = Field(default_factory=lambda: {"input": "completion"})
    """Which field holds the answer to which field."""
    match_fn: Match = "starts_or_endswith"
    format_type: Literal["in_message", "out_message"] = "in_message"
    """`out_message`: the question is a message after the conversation."""
    output_template: str = ""
    """Of each of several answers: not used."""
    key: str = ""
    group: str = ""

    @field_validator("prompt")
    @classmethod
    def _plain(cls, value: str) -> str:
        _pieces(value)
        return value

    @field_validator("choice_strings", mode="before")
    @classmethod
    def _choices(cls, value: Any) -> Any:
        if isinstance(value, str) and value in NUMBERED:
            return NUMBERED[value]
        if not isinstance(value, str | Sequence) or not all(isinstance(c, str) for c in value):
            raise ValueError(
                "expected letters such as ABC, a list of texts in quotes (YAML reads Yes as true), "
                f"or one of {', '.join(NUMBERED)}"
            )
        for choice in value:
            if choice.strip().translate(PUNCTUATION) != choice or not choice:
                raise ValueError(
                    f"{choice!r} has punctuation or outer spaces, which are removed from an answer "
                    f"before it is read"
                )
        if len(set(value)) < len(value) or not value:
            raise ValueError("a choice stands twice, or there is none")
        return tuple(value)

    @field_validator("choice_scores", mode="before")
    @classmethod
    def _scores(cls, value: Any, info: ValidationInfo) -> Any:
        choices = info.data.get("choice_strings", ())
        if value == "from_strings":
            value = {choice: choice for choice in choices}
        if not isinstance(value, dict) or not set(choices) <= set(value):
            raise ValueError(
                f"expected a number for each of {', '.join(choices)}, or from_strings where the "
                f"choices are numbers"
            )
        if odd := sorted(map(str, set(value) - set(choices))):
            raise ValueError(f"{', '.join(odd)} is no choice")
        return value

    @property
    def fields(self) -> set[str]:
        """Names that `filled` needs."""
        return {name for _, name in _pieces(self.prompt) if name} - {"n"}

    def filled(self, fields: Mapping[str, str]) -> str:
        """The prompt for the grader. Values are put in as they are: braces in them mean nothing.

        Raises UserError naming a field that is missing.
        """
        if missing := sorted(self.fields - fields.keys()):
            raise UserError(
                f"{self.name}: the template needs the field {missing[0]}; there are "
                f"{', '.join(sorted(fields))}"
            )
        known = {"n": "1", **fields}
        text = "".join(text + (known[name] if name else "") for text, name in _pieces(self.prompt))
        if self.format_type == "out_message":
            talk = [known.get(k, "") for pair in self.input_outputs.items() for k in pair]
            text = "\n\n".join([*filter(None, talk), text])
        if not self.instruct:
            return text
        choices = " or ".join(f'"{choice}"' for choice in self.choice_strings)
        return f"{text}\n\n{INSTRUCTIONS[self.eval_type].format(choices=choices)}"

    def choice(self, output: str) -> str | None:
        """The choice that a grader's answer names, None if there is none."""
        return read_choice(output, self.choice_strings, self.eval_type, self.match_fn)

    def score(self, choice: str) -> float | None:
        """What a choice is worth in [0, 1], None where the template does not say. Scores beyond
        [0, 1] (1 to 5, say) are rescaled between the lowest and the highest."""
        if not self.choice_scores:
            return None
        worth = self.choice_scores[choice]
        low, high = min(self.choice_scores.values()), max(self.choice_scores.values())
        if low >= 0 and high <= 1:
            return worth
        return (worth - low) / (high - low) if high > low else 1.0


def read_choice(
    output: str,
    choices: Sequence[str],
    eval_type: EvalType,
    match: Match = "starts_or_endswith",
) -> str | None:
    """The choice that a grader's answer names, None if there is none.

    As the format has it: lines from the last one up for `cot_classify`, else from the first one
    down; ASCII punctuation removed; the first line that names a choice decides. Where a line names
    several, the format takes the first in the order of the choices, so that "Answer: B" is A and
    "10" is 1. Here choices that stand as whole words come first, then one that contains the
    others; two that are left ("Yes or No") are no verdict.
    """
    lines = output.strip().split("\n")
    for line in reversed(lines) if eval_type == "cot_classify" else lines:
        # Punctuation goes after the spaces, as there: "( B" keeps a space in front and names none.
        bare = line.strip().translate(PUNCTUATION)
        named = [choice for choice in choices if MATCHES[match](bare, choice)]
        if not named:
            continue
        if len(named) > 1:
            named = [choice for choice in named if _word(bare, choice, match)] or named
            named = [c for c in named if all(other in c for other in named)]
        return named[0] if len(named) == 1 else None
    return None


def _word(line: str, choice: str, match: Match) -> bool:
    padded = f" {' '.join(line.split())} "
    if match == "include":
        return f" {choice} " in padded
    return padded.startswith(f" {choice} ") or padded.endswith(f" {choice} ")


def read_model_graded(path: Path) -> dict[str, ModelGraded]:
    """Every template of a YAML file, by name.

    Raises UserError naming file, template and field.
    """
    raw = read_yaml(path)
    if not isinstance(raw, dict) or not raw:
        raise UserError(f"{path}: expected a mapping from a template's name to its fields")
    return {str(name): _template(f"{path}, {name}", str(name), spec) for name, spec in raw.items()}


def _template(where: str, name: str, spec: Any) -> ModelGraded:
    if not isinstance(spec, dict):
        raise UserError(f"{where}: expected fields such as prompt and choice_strings")
    value = {"name": name, "instruct": "eval_type" not in spec, **spec}
    return validated(ModelGraded, value, where)


def _pieces(template: str) -> list[tuple[str, str | None]]:
    """Pairs of literal text and the name that follows it. Names only: no attributes, no formats."""
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"braces of the template do not match ({error})") from None
    for _, name, form, conversion in parsed:
        if name is not None and (form or conversion or not name.isidentifier()):
            raise ValueError(f"{{{name}}} of the template is no plain name in braces")
    return [(text, name) for text, name, _, _ in parsed]
