"""Programs written by the model, judged by the item's tests in a sandbox."""

from __future__ import annotations

import ast
import builtins
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Literal
from typing import Protocol as Structural

from pydantic import Field, SkipValidation

from foresight.errors import UserError
from foresight.evals.item import Item
from foresight.evals.layout import Layout, prompt_text
from foresight.evals.protocols.protocol import (
    Answer,
    Attempt,
    Emit,
    Protocol,
    came,
    needs_answers,
    requests,
    unanswered,
)
from foresight.evals.record import Reason
from foresight.evals.sandbox import Limits, Outcome, Program, Sandbox
from foresight.inference.language_model import Completion, LanguageModel

_FENCE = re.compile(r"```[a-zA-Z0-9_+-]*\n(.*?)(?:```|\Z)", re.DOTALL)


class ProgramRunner(Structural):
    """Runs programs away from this process; outcomes in the order of the programs."""

    def run(self, programs: Sequence[Program]) -> list[Outcome]: ...


class Code(Protocol):
    """Score 1 if the program passes its tests (Chen et al. 2021).

    The item's target holds the tests as Python source, one text or several, which run apart from
    the program: `_program.NAME` is the program's NAME, and names that tests neither define nor
    find among the builtins are taken from there. Summaries of several samples tell pass@k.
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
    sandbox: Annotated[ProgramRunner | None, SkipValidation] = Field(default=None, exclude=True)
    """Where programs run; None: a `Sandbox` of this machine."""

    def check(self, item: Item) -> None:
        needs_answers(item)
        try:
            free_names("\n".join(item.target) if isinstance(item.target, tuple) else "")
        except SyntaxError as error:
            raise UserError(f"item {item.id}: its tests are no Python source ({error})") from None

    def samples_differ(self) -> bool:
        return self.temperature > 0

    def ask(self, attempts: Sequence[Attempt], model: LanguageModel, emit: Emit) -> None:
        prompts = [self.prompt(one) for one in attempts]
        asked = requests(
            attempts,
            prompts,
            "program",
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_tokens,
            stop=self.stop,
        )
        # Opened first: where there is no sandbox, nothing is spent on programs.
        with self._opened() as sandbox:
            written = [answers[0] for answers in model.generate(asked)]
            judged = [at for at, one in enumerate(written) if came(one)]
            programs = [self.program(attempts[at].item, written[at].text) for at in judged]
            outcomes = sandbox.run(programs)
        texts = [prompt_text(prompt) for prompt in prompts]
        for at, one in enumerate(written):
            if not came(one):
                emit(at, unanswered(texts[at], one))
        for at, program, outcome in zip(judged, programs, outcomes, strict=True):
            emit(at, _answer(texts[at], written[at], program, outcome))

    def program(self, item: Item, completion: str) -> Program:
        """The program that a completion makes of an item, and its tests."""
        assert isinstance(item.target, tuple), "check() has seen it"
        fenced = _FENCE.search(completion)
        body = fenced[1] if fenced else completion
        entry = item.meta.get("entry_point")
        whole = fenced is not None and (not entry or f"def {entry}" in body)
        # A whole program may lean on what the prompt imports and defines, so the prompt stays.
        head = item.text + ("\n    pass\n\n" if whole else "") if self.continues else ""
        tests = "\n".join(item.target) + "\n"
        bound = "".join(f"{name} = _program.{name}\n" for name in free_names(tests))
        return Program(head + body + "\n", limits=self.limits, tests=bound + tests)

    @contextmanager
    def _opened(self) -> Iterator[ProgramRunner]:
        if self.sandbox is not None:
            yield self.sandbox
            return
        with Sandbox() as sandbox:
            yield sandbox


def _answer(prompt: str, written: Completion, program: Program, outcome: Outcome) -> Answer:
    details: dict[str, Any] = {"status": outcome.status}
    if outcome.stderr.strip() and outcome.status != "passed":
        # The last line names the failure; addresses would differ from run to run.
        last = outcome.stderr.strip().splitlines()[-1][:500]
        details["stderr"] = re.sub(r"0x[0-9a-f]+", "0x", last)
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


def free_names(tests: str) -> list[str]:
    """Global names that tests use and neither define nor find among the builtins: those of the
    program under test. Raises SyntaxError."""
    used: dict[str, None] = {}
    with warnings.catch_warnings():
        # Escapes such as "\w" in tests of others are none of our user's business.
        warnings.simplefilter("ignore")
        tree = ast.parse(tests)
    made = {"_program"}
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                used[name] = None
            case ast.Name(id=name) | ast.arg(arg=name) | ast.ExceptHandler(name=str(name)):
                made.add(name)
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                made.add(name)
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                made |= {(one.asname or one.name).split(".")[0] for one in names}
    return [name for name in used if name not in made and not hasattr(builtins, name)]
