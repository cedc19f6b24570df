"""Templates that let a language model grade answers, in the format of OpenAI Evals.

A template asks a grader model to end (or begin) its answer with one of a few choices; a choice may
be worth a score. Format: OpenAI Evals, `evals/registry/modelgraded/*.yaml` and
`docs/eval-templates.md`. The instruction on how to answer is worded here, not there.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from foresight.errors import UserError
from foresight.evals.files import read_yaml

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
COUNTED = {
    "from_n": lambda i: str(i + 1),
    "from_n_abc": lambda i: string.ascii_lowercase[i],
    "from_n_ABC": lambda i: string.ascii_uppercase[i],
}
"""Choices that number the answers to be compared."""
FIELDS = {
    "prompt", "choice_strings", "choice_scores", "eval_type", "input_outputs", "output_template",
    "format_type", "match_fn", "key", "group",
}  # fmt: skip
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class Verdict:
    """What a grader said. `choice` None: no choice could be read (Reason.GRADER_FAILED).

    `points`: what the template gives for the choice, None where it gives none. `score`: the same
    in [0, 1]; points beyond [0, 1] (1 to 5, say) are rescaled between the lowest and the highest.
    """

    choice: str | None
    points: float | None = None
    score: float | None = None


@dataclass(frozen=True)
class ModelGraded:
    """A grader's prompt and how its answer is read.

    `prompt`: text with `{field}`s. `choices`: the allowed answers, or a key of `COUNTED`.
    `points`: of each choice, or empty: then verdicts have a choice and no score; give scores with
    `dataclasses.replace(template, points=...)`. `eval_type`: where the choice stands. `instruct`:
    whether the prompt itself leaves open how to answer, so that `INSTRUCTIONS` is appended (in the
    format: the type is named by the eval, not by the template). `input_outputs`: which field holds
    the answer to which field. `output_template`: of each of n answers. `after`: the question is a
    message after the conversation (format_type out_message).
    """

    name: str
    prompt: str
    choices: tuple[str, ...] | str
    points: Mapping[str, float]
    input_outputs: Mapping[str, str]
    eval_type: EvalType = "classify"
    instruct: bool = True
    match: Match = "starts_or_endswith"
    output_template: str = "{i}. {output}\n"
    after: bool = False

    @property
    def fields(self) -> set[str]:
        """Names that `filled` needs; `n` counts the answers."""
        return {name for _, name in _pieces(self.prompt, self.name) if name}

    def choices_of(self, n: int = 1) -> tuple[str, ...]:
        """The choices, given that `n` answers are compared."""
        if isinstance(self.choices, str):
            if self.choices != "from_n" and n > 26:
                raise UserError(f"{self.name}: {self.choices} has 26 letters for {n} answers")
            return tuple(COUNTED[self.choices](i) for i in range(n))
        return self.choices

    def filled(self, fields: Mapping[str, str], n: int = 1) -> str:
        """The prompt for the grader. Values are put in as they are: braces in them mean nothing.

        Raises UserError naming a field that is missing.
        """
        known = {"n": str(n), **fields}
        text = _fill(self.prompt, known, self.name)
        if self.after:
            talk = [known.get(k, "") for pair in self.input_outputs.items() for k in pair]
            text = "\n\n".join([*filter(None, talk), text])
        if not self.instruct:
            return text
        choices = " or ".join(f'"{choice}"' for choice in self.choices_of(n))
        return f"{text}\n\n{INSTRUCTIONS[self.eval_type].format(choices=choices)}"

    def joined(self, answers: Sequence[str]) -> str:
        """Several answers as the one text that stands for `{completion}`."""
        texts = [
            _fill(
                self.output_template,
                {
                    "i": str(i + 1),
                    "i_abc": string.ascii_lowercase[i % 26],
                    "i_ABC": string.ascii_uppercase[i % 26],
                    "output": answer,
                    "n": str(len(answers)),
                },
                self.name,
            )
            for i, answer in enumerate(answers)
        ]
        return "".join(texts).strip()

    def verdict(self, output: str, n: int = 1) -> Verdict:
        """Read a grader's answer."""
        choice = read_choice(output, self.choices_of(n), self.eval_type, self.match)
        if choice is None or not self.points:
            return Verdict(choice)
        points = self.points[choice]
        low, high = min(self.points.values()), max(self.points.values())
        if low >= 0 and high <= 1:
            return Verdict(choice, points, points)
        return Verdict(choice, points, (points - low) / (high - low) if high > low else 1.0)


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
        bare = line.strip().translate(_NO_PUNCTUATION)
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
    unknown = sorted(map(str, set(spec) - FIELDS))
    if unknown:
        raise UserError(
            f"{where}, field {unknown[0]}: unknown; known are {', '.join(sorted(FIELDS))}"
        )
    prompt = spec.get("prompt")
    if not isinstance(prompt, str):
        raise UserError(f"{where}, field prompt: expected text, found {prompt!r}")
    _pieces(prompt, where)
    choices = _choices(where, spec.get("choice_strings"))
    outputs = spec.get("input_outputs", {"input": "completion"})
    if not isinstance(outputs, dict):
        raise UserError(
            f"{where}, field input_outputs: expected a mapping such as input: completion"
        )
    output_template = spec.get("output_template", ModelGraded.output_template)
    _pieces(output_template, where)
    return ModelGraded(
        name=name,
        prompt=prompt,
        choices=choices,
        points=_points(where, spec.get("choice_scores"), choices),
        input_outputs={str(key): str(value) for key, value in outputs.items()},
        eval_type=one_of(where, "eval_type", spec.get("eval_type", "classify"), EvalType),
        instruct="eval_type" not in spec,
        match=one_of(where, "match_fn", spec.get("match_fn", ModelGraded.match), Match),
        output_template=output_template,
        after=one_of(
            where, "format_type", spec.get("format_type", "in_message"), _FormatType
        ) == "out_message",
    )  # fmt: skip


_FormatType = Literal["in_message", "out_message"]


def one_of(where: str, field: str, value: Any, allowed: Any) -> Any:
    """`value`, if it is one of a Literal's values; raises UserError otherwise."""
    if value not in get_args(allowed):
        raise UserError(
            f"{where}, field {field}: {value!r}; expected one of {', '.join(get_args(allowed))}"
        )
    return value


def _choices(where: str, value: Any) -> tuple[str, ...] | str:
    if isinstance(value, str) and value in COUNTED:
        return value
    if not isinstance(value, str | list) or not value or not all(isinstance(c, str) for c in value):
        raise UserError(
            f"{where}, field choice_strings: {value!r}; expected letters such as ABC, a list of "
            f"texts in quotes (YAML reads Yes as true), or one of {', '.join(COUNTED)}"
        )
    for choice in value:
        if choice.strip() != choice or choice.translate(_NO_PUNCTUATION) != choice or not choice:
            raise UserError(
                f"{where}, field choice_strings: {choice!r} has punctuation or outer spaces, which "
                f"are removed from an answer before it is read"
            )
    if len(set(value)) < len(value):
        raise UserError(f"{where}, field choice_strings: a choice stands twice in {value!r}")
    return tuple(value)


def _points(where: str, value: Any, choices: tuple[str, ...] | str) -> dict[str, float]:
    if value is None:
        return {}
    if isinstance(choices, str):
        raise UserError(f"{where}, field choice_scores: choices that are numbered have no scores")
    try:
        if value == "from_strings":
            return {choice: float(choice) for choice in choices}
        points = {choice: float(value[choice]) for choice in choices}
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{where}, field choice_scores: {error}; expected a number for each of "
            f"{', '.join(choices)}, or from_strings where the choices are numbers"
        ) from None
    if len(value) != len(choices):
        odd = ", ".join(sorted(map(str, set(value) - set(choices))))
        raise UserError(f"{where}, field choice_scores: {odd} is no choice")
    return points


def _pieces(template: str, where: str) -> list[tuple[str, str | None]]:
    """Pairs of literal text and the name that follows it. Names only: no attributes, no formats."""
    try:
        parsed = list(string.Formatter().parse(template))
    except (ValueError, TypeError) as error:
        raise UserError(f"{where}: braces of the template do not match ({error})") from None
    for _, name, form, conversion in parsed:
        if name is not None and (form or conversion or not name.isidentifier()):
            raise UserError(f"{where}: {{{name}}} of the template is no plain name in braces")
    return [(text, name) for text, name, _, _ in parsed]


def _fill(template: str, fields: Mapping[str, str], where: str) -> str:
    out = []
    for text, name in _pieces(template, where):
        out.append(text)
        if name is not None:
            if name not in fields:
                raise UserError(
                    f"{where}: the template needs the field {name}; there are "
                    f"{', '.join(sorted(fields))}"
                )
            out.append(fields[name])
    return "".join(out)
