"""Programs written by the model, judged by the item's tests in a sandbox."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import Field, SkipValidation

from foresight.evals.execution import Limits, Outcome, Program, Sandbox
from foresight.evals.item import Item
from foresight.evals.layout import Layout, prompt_text
from foresight.evals.protocols.protocol import (
    Answer,
    Attempt,
    Emit,
    Protocol,
    came,
    needs_answers,
    unanswered,
)
from foresight.evals.record import Reason
from foresight.inference.language_model import (
    Completion,
    GenerateRequest,
    LanguageModel,
    Sampling,
)

_FENCE = re.compile(r"```[a-zA-Z0-9_+-]*\n(.*?)(?:```|\Z)", re.DOTALL)


class Code(Protocol):
    """Score 1 if the program passes its tests (Chen et al. 2021).

    The item's target holds the tests as Python source, one text or several, which run behind the
    program in the same module. pass@k of n samples per item is part of the summary.
    """

    kind: Literal["code"] = "code"

    layout: Layout = Layout()
    continues: bool = True
    """The completion continues the prompt's own source (HumanEval); false: it is the whole program
    (MBPP). A fenced block is taken as a whole program in both cases if it defines the function."""
    temperature: Annotated[float, Field(ge=0)] = 0.0
    """Use about .2 for pass@1 of many samples, .8 for pass@100 (Chen et al. 2021)."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Nucleus of the draw."""
    max_tokens: Annotated[int, Field(ge=1)] = 512
    """At most so many tokens of program."""
    stop: tuple[str, ...] = ("\nclass ", "\ndef ", "\n#", "\nif ", "\nprint")
    """End of the function, for models that go on writing (Chen et al. 2021)."""
    limits: Limits = Limits()
    """What a program may use."""
    sandbox: Annotated[Any, SkipValidation] = Field(default=None, exclude=True)
    """Where programs run; None: `foresight.evals.sandbox.Sandbox()`."""

    def check(self, item: Item) -> None:
        needs_answers(item)

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"limits": asdict(self.limits)}

    def ask(self, attempts: Sequence[Attempt], model: LanguageModel, emit: Emit) -> None:
        prompts = [self.prompt(one) for one in attempts]
        requests = [
            GenerateRequest(
                prompt,
                Sampling(
                    temperature=self.temperature,
                    top_p=self.top_p,
                    max_tokens=self.max_tokens,
                    stop=self.stop,
                    seed=one.seed("program"),
                ),
            )
            for one, prompt in zip(attempts, prompts, strict=True)
        ]
        written = [answers[0] for answers in model.generate(requests)]
        texts = [prompt_text(prompt) for prompt in prompts]
        for at, one in enumerate(written):
            if not came(one):
                emit(at, unanswered(texts[at], one))
        judged = [at for at, one in enumerate(written) if came(one)]
        programs = [self.program(attempts[at].item, written[at].text) for at in judged]
        with self._opened() as sandbox:
            outcomes = sandbox.run(programs)
        for at, program, outcome in zip(judged, programs, outcomes, strict=True):
            emit(at, _answer(texts[at], written[at], program, outcome))

    def program(self, item: Item, completion: str) -> Program:
        """Program and tests as one source."""
        assert isinstance(item.target, tuple), "check() has seen it"
        fenced = _FENCE.search(completion)
        body = fenced[1] if fenced else completion
        entry = item.meta.get("entry_point")
        whole = fenced is not None and (not entry or f"def {entry}" in body)
        # A whole program may lean on what the prompt imports and defines, so the prompt stays.
        head = item.text + ("\n    pass\n\n" if whole else "") if self.continues else ""
        source = "\n".join([head + body, *item.target]) + "\n"
        return Program(source, limits=self.limits)

    @contextmanager
    def _opened(self) -> Iterator[Sandbox]:
        if self.sandbox is not None:
            yield self.sandbox
            return
        with importlib.import_module("foresight.evals.sandbox").Sandbox() as sandbox:
            yield sandbox


def _answer(prompt: str, written: Completion, program: Program, outcome: Outcome) -> Answer:
    details: dict[str, Any] = {"status": outcome.status}
    # The last lines tell which test failed; times and addresses would differ from run to run.
    if outcome.stderr and outcome.status != "passed":
        details["stderr"] = outcome.stderr[-500:]
    if written.finish == "length":
        details["finish"] = "length"
    broken = outcome.status == "sandbox_failed"
    return Answer(
        prompt=prompt,
        output=written.text,
        answer=program.source,
        score=None if broken else float(outcome.status == "passed"),
        reason=Reason.SCORING_FAILED if broken else Reason.OK,
        tokens=written.completion_tokens,
        details=details,
    )
