"""Programs of the public code benchmarks: the model's answer apart from the tests."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Sequence

from foresight.evals.sandbox.program import Limits, Program


def human_eval(
    prompt: str, completion: str, test: str, entry_point: str, limits: Limits | None = None
) -> Program:
    """HumanEval (Chen et al. 2021): the tests call `check` with the completed function.

    Tests may use helpers that the prompt defines. They get the prompt's own, whose function to
    complete has a docstring for a body; its name is then given to the completed one.
    """
    function = f"{entry_point} = _program.{entry_point}"
    tests = f"{prompt}\n{test}\n{function}\ncheck({entry_point})\n"
    return Program(source=prompt + completion, tests=tests, limits=limits)


def mbpp(
    answer: str, reference: str, asserts: Sequence[str], setup: str = "",
    limits: Limits | None = None,
) -> Program:  # fmt: skip
    """MBPP (Austin et al. 2021): assert statements about functions and classes of the answer.

    The reference solution tells which names the tests may mean, and which modules: these the
    tests import themselves. Raises SyntaxError if it does not parse.
    """
    imports, names = [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes in other people's strings
        solution = ast.parse(reference)
        tests = ast.parse("\n".join([setup, *asserts]))
    for node in solution.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports.append(ast.unparse(node))
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.append(node.name)
    used = {node.id for node in ast.walk(tests) if isinstance(node, ast.Name)}
    given = [f"{name} = _program.{name}" for name in dict.fromkeys(names) if name in used]
    lines = [*imports, *given, setup, *asserts, ""]
    return Program(source=answer, tests="\n".join(lines), limits=limits)
