"""One problem of a suite whose results are predicted before training."""

from __future__ import annotations

from dataclasses import dataclass

from foresight.document import Image, Text
from foresight.worlds.interpreter import call
from foresight.worlds.primitives import Value


@dataclass(frozen=True, eq=False)
class SuiteProblem:
    """What is shown to a model, and what passes.

    `parts`: the prompt as the training documents write it. Either `choices` (each starts with a
    space) and the index of the right one, or `tests`: (input, output) pairs of the function whose
    signature the prompt holds. `solution`: a completion that passes. `bucket`: the difficulty it
    was made for, 0 the easiest, None: hardest, set aside (which problems a ladder finds hard is
    measured, see `forecast.buckets`). `group`: problems that are not independent share one.
    """

    id: str
    family: str
    parts: tuple[Text | Image, ...]
    solution: str
    choices: tuple[str, ...] = ()
    answer: int | None = None
    variable: str = ""
    tests: tuple[tuple[Value, Value], ...] = ()
    bucket: int | None = None
    group: str = ""

    def passes(self, completion: str) -> bool:
        """Whether a sampled continuation is right: all tests, or the right choice on its first
        line."""
        if not self.tests:
            first, _, _ = completion.lstrip(" ").partition("\n")
            return first.strip() == self.solution.strip()
        body = function_body(completion)
        try:
            return bool(body) and all(
                call(self.variable, body, value) == output for value, output in self.tests
            )
        except Exception:  # whatever a wrong body raises, it has not passed
            return False


def function_body(completion: str) -> str:
    """The indented lines that a completion starts with."""
    kept = []
    for line in completion.splitlines(keepends=True):
        if line.strip() and not line.startswith((" ", "\t")):
            break
        kept.append(line)
    return "".join(kept) if any(line.strip() for line in kept) else ""
