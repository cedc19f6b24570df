"""Evals of an OpenAI Evals registry: what is asked, and how it is graded.

Format: OpenAI Evals, `evals/registry`: `evals/*.yaml` name a class and its arguments, `data/` has
the samples (JSONL of `input` and `ideal`), `modelgraded/*.yaml` the graders' templates. Classes
read: `basic/match`, `basic/includes`, `basic/fuzzy_match`, `basic/json_match`,
`modelgraded/classify`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from foresight.document import Text
from foresight.errors import UserError
from foresight.evals.files import read_rows, read_text, read_yaml, validated
from foresight.evals.graders import Graded, TextGrader, Verdict, normalised
from foresight.evals.item import Item
from foresight.evals.model_graded import ModelGraded, read_model_graded

Rule = Literal["match", "includes", "fuzzy_match", "json_match"]
CLASSES: dict[str, Rule | Literal["model_graded"]] = {
    "evals.elsuite.basic.match:Match": "match",
    "evals.elsuite.basic.includes:Includes": "includes",
    "evals.elsuite.basic.fuzzy_match:FuzzyMatch": "fuzzy_match",
    "evals.elsuite.basic.json_match:JsonMatch": "json_match",
    "evals.elsuite.modelgraded.classify:ModelBasedClassify": "model_graded",
}
ARGUMENTS = {
    "samples_jsonl", "max_tokens", "num_few_shot", "few_shot_jsonl", "ignore_case", "eval_type",
    "modelgraded_spec", "modelgraded_spec_file", "modelgraded_spec_args", "samples_renamings",
    "match_fn",
}  # fmt: skip
"""Arguments that are heeded; any other is refused, for it would change what a score means."""


@dataclass(frozen=True)
class OpenAIEval:
    """An eval. Exactly one of `rule` and `template` (for a grader model) is there."""

    name: str
    items: tuple[Item, ...]
    rule: OpenAIMatch | None
    template: ModelGraded | None
    max_tokens: int


class OpenAIMatch(TextGrader):
    """The rules of the format's basic classes, against each accepted answer B and the output A.

    `match`: A starts with B. `includes`: B stands in A. `fuzzy_match`: one stands in the other,
    both lower-cased without punctuation, articles and extra white space (an empty text is only in
    an empty one). `json_match`: both are JSON and equal; null is never equal.
    """

    kind: Literal["openai_evals"] = "openai_evals"
    rule: Rule
    ignore_case: bool = False

    def read(self, response: Graded) -> Verdict:
        accepted = response.item.target
        assert isinstance(accepted, tuple), "check() has seen it"
        found = [one for one in accepted if self._right(response.output, one)]
        return Verdict(float(bool(found)), found[0] if found else None)

    def _right(self, output: str, answer: str) -> bool:
        if self.rule == "json_match":
            return _equal_json(output, answer)
        if self.rule == "fuzzy_match":
            output, answer = normalised(output, "words"), normalised(answer, "words")
            if not output or not answer:
                return output == answer
            return output in answer or answer in output
        if self.ignore_case:
            output, answer = output.casefold(), answer.casefold()
        return output.startswith(answer) if self.rule == "match" else answer in output


def _equal_json(output: str, answer: str) -> bool:
    try:
        values = json.loads(output), json.loads(answer)
    except ValueError:
        return False
    return values[0] == values[1] and not _has_null(values[1])


def _has_null(value: Any) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value is None or any(_has_null(one) for one in inner)


def read_eval(path: Path, name: str) -> OpenAIEval:
    """The eval `name` of a registry folder (with `evals/`, `data/`, `modelgraded/`) or a YAML file.

    Raises UserError naming file, line and field of what is wrong or not read.
    """
    file, spec = _find(path, name)
    where = f"{file}, {name}"
    kind = CLASSES.get(str(spec.get("class")))
    if kind is None:
        raise UserError(
            f"{where}, field class: {spec.get('class')!r}; read are {', '.join(CLASSES)}"
        )
    args = spec.get("args")
    if not isinstance(args, dict):
        raise UserError(f"{where}, field args: missing; expected samples_jsonl and others")
    for key, value in args.items():
        # Neither one answer a question nor no labelled answers changes anything.
        if key not in ARGUMENTS and (key, value) not in (("multicomp_n", 1), ("metaeval", False)):
            raise UserError(f"{where}, field args.{key}: not read; read are {sorted(ARGUMENTS)}")
    template = _grader(where, file, args) if kind == "model_graded" else None
    items = _items(where, file, args, needs_ideal=template is None)
    rule = None
    if kind != "model_graded":
        rule = OpenAIMatch(rule=kind, ignore_case=args.get("ignore_case") is True)
    max_tokens = args.get("max_tokens", 1024 if template else 500)
    if not isinstance(max_tokens, int):
        raise UserError(f"{where}, field args.max_tokens: {max_tokens!r}; expected a number")
    return OpenAIEval(name, items, rule, template, max_tokens)


def _find(path: Path, name: str) -> tuple[Path, dict[str, Any]]:
    """The file and the fields that a name leads to, through aliases (`id`)."""
    files = sorted((path / "evals").glob("*.yaml")) if path.is_dir() else [path]
    for file in files:
        text = read_text(file)
        # A registry has a thousand files: parse only those that can have it.
        if f"{name}:" not in text and f'{name}":' not in text and f"{name}':" not in text:
            continue
        raw = read_yaml(file)
        spec, seen = raw.get(name) if isinstance(raw, dict) else None, {name}
        while isinstance(spec, dict) and "class" not in spec and str(spec.get("id")) not in seen:
            alias = str(spec.get("id"))
            seen.add(alias)
            spec = raw.get(alias)
        if isinstance(spec, dict):
            return file, spec
    where = f"{path / 'evals'}: no .yaml file there" if path.is_dir() else str(path)
    raise UserError(f"{where} has an eval {name!r} with a class; is this a registry folder?")


def _grader(where: str, file: Path, args: Mapping[str, Any]) -> ModelGraded:
    wanted = args.get("modelgraded_spec") or args.get("modelgraded_spec_file")
    if not isinstance(wanted, str):
        raise UserError(
            f"{where}, field args.modelgraded_spec: missing; expected a template's name"
        )
    folder = file.parent.parent / "modelgraded"
    template = None
    # Usually a template stands in a file of its name.
    for path in sorted(folder.glob("*.yaml"), key=lambda one: (one.stem != wanted, one)):
        if template is None:
            template = read_model_graded(path).get(wanted)
    if template is None:
        raise UserError(f"{where}, field args.modelgraded_spec: no template {wanted} in {folder}")
    named = {key: args[key] for key in ("eval_type", "match_fn") if key in args}
    if "eval_type" in named:
        named["instruct"] = True
    return validated(ModelGraded, template.model_dump() | named, f"{where}, field args")


def _items(where: str, file: Path, args: Mapping[str, Any], needs_ideal: bool) -> tuple[Item, ...]:
    path = _data(where, file, args, "samples_jsonl")
    shots: list[dict[str, Any]] = []
    if count := args.get("num_few_shot", 0):
        examples = list(read_rows(_data(where, file, args, "few_shot_jsonl")))[:count]
        shots = [message for at, row in examples for message in _messages(at, row, "sample")]
    fixed = args.get("modelgraded_spec_args", {})
    if not isinstance(fixed, dict) or not all(isinstance(one, str) for one in fixed.values()):
        raise UserError(
            f"{where}, field args.modelgraded_spec_args: {fixed!r}; expected texts by field"
        )
    renamed = args.get("samples_renamings", {})
    items = []
    for number, (at, row) in enumerate(read_rows(path)):
        sample = {renamed.get(key, key): value for key, value in row.items()}
        messages = _messages(at, sample, "input")
        messages = [*messages[:-1], *shots, messages[-1]]
        meta = {key: value for key, value in sample.items() if key not in ("input", "ideal", "id")}
        own = sample.get("id")
        items.append(
            Item(
                id=str(own) if isinstance(own, str | int) else str(number),
                parts=(Text(chat_text(messages)),),
                target=_ideal(at, sample, needs_ideal),
                meta={**meta, **fixed, **({"messages": messages} if len(messages) > 1 else {})},
            )
        )
    if not items:
        raise UserError(f"{path}: no samples")
    return tuple(items)


def _data(where: str, file: Path, args: Mapping[str, Any], field: str) -> Path:
    """A data file: in the registry's `data/`, else beside the YAML file."""
    name = args.get(field)
    if not isinstance(name, str):
        raise UserError(f"{where}, field args.{field}: {name!r}; expected a file of samples")
    tried = [file.parent.parent / "data" / name, file.parent / name]
    found = next((path for path in tried if path.is_file()), None)
    if found is None:
        raise UserError(f"{where}, field args.{field}: neither {tried[0]} nor {tried[1]} is there")
    return found


def _messages(where: str, sample: Mapping[str, Any], field: str) -> list[dict[str, str]]:
    """A conversation; a text is one message of the user. Texts only."""
    value = sample.get(field)
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    right = isinstance(value, list) and len(value) > 0
    for message in value if isinstance(value, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        right = right and isinstance(content, str) and isinstance(message.get("role"), str)
    if not right:
        raise UserError(
            f"{where}, field {field}: expected a text, or messages with `role` and a text `content`"
        )
    return [{"role": one["role"], "content": one["content"]} for one in value or ()]


def chat_text(messages: Sequence[Mapping[str, str]]) -> str:
    """A conversation as a prompt. While only instructions and a question were said, these with an
    empty line between them; else every turn with its speaker, ending where the answer begins."""
    if all(one["role"] != "assistant" for one in messages):
        return "\n\n".join(one["content"] for one in messages)
    turns = [f"{one.get('name', one['role']).capitalize()}: {one['content']}" for one in messages]
    return "\n\n".join([*turns, "Assistant:"])


def _ideal(where: str, sample: Mapping[str, Any], needed: bool) -> tuple[str, ...]:
    value = sample.get("ideal", [])
    answers = value if isinstance(value, list) else [value]
    if any(not isinstance(one, str) for one in answers) or (needed and not answers):
        raise UserError(f"{where}, field ideal: {value!r}; expected a text or a list of texts")
    return tuple(answers)
