"""Evals of an OpenAI Evals registry as a suite: `openai_evals:NAME@REGISTRY`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NoReturn

from foresight.errors import UserError
from foresight.evals.graders import Graded, Grader, Verdict
from foresight.evals.interop.openai_evals import read_eval
from foresight.evals.item import Item
from foresight.evals.model_grader import ModelGrader
from foresight.evals.protocols import FreeResponse
from foresight.evals.suites.suite import Suite
from foresight.inference.language_model import LanguageModel


class Judgeless(Grader):
    """Stands for a grader model that was not named: no item can be put before it is."""

    kind: Literal["judgeless"] = "judgeless"
    template: str

    def check(self, item: Item) -> NoReturn:
        raise UserError(
            f"item {item.id}: graded by a model with the template {self.template}; name the model "
            f"in a task file: protocol: {{kind: free_response, temperature: 0, grader: {{kind: "
            f"model, template: FILE#{self.template}, model: ...}}}}"
        )

    def grade(
        self, responses: Sequence[Graded], done: Callable[[int, Verdict], None] | None = None
    ) -> NoReturn:
        raise AssertionError("no item passes the check")


def openai_evals(path: Path, name: str, judge: LanguageModel | None = None) -> Suite:
    """The eval `name` of a registry folder or YAML file. Answers are the likeliest, as there.

    `judge`: grades the answers where the eval is model-graded.
    """
    if not name:
        raise UserError(f"openai_evals@{path}: which eval? write openai_evals:NAME@{path}")
    read = read_eval(path, name)
    grader: Grader
    if read.rule is not None:
        grader = read.rule
    elif read.template is not None and judge is not None:
        grader = ModelGrader(model=judge, template=read.template)
    else:
        assert read.template is not None, "an eval has a rule or a template"
        grader = Judgeless(template=read.template.name)
    return Suite(
        read.items, FreeResponse(temperature=0.0, max_tokens=read.max_tokens, grader=grader)
    )
