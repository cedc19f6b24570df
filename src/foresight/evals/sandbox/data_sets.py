"""Programs of the public code benchmarks: the model's answer apart from the tests."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from foresight.evals.sandbox.program import Limits, Program


def human_eval(
    prompt: str, completion: str, test: str, entry_point: str, limits: Limits | None = None
) -> Program:
    """HumanEval (Chen et al. 2021): the tests call `check` with the completed function.

    Tests may use helpers that the prompt defines. They get the prompt's own, whose function to
    complete has a docstring for a body.
    """
    tests = f"{prompt}\n{test}\ncheck(_program.{entry_point})\n"
    return Program(source=prompt + completion, tests=tests, limits=limits)


def mbpp(
    code: str,
    asserts: Sequence[str],
    names: Sequence[str],
    setup: str = "",
    limits: Limits | None = None,
) -> Program:
    """MBPP (Austin et al. 2021): assert statements that call the program's `names`."""
    given = [f"{name} = _program.{name}" for name in names]
    return Program(source=code, tests="\n".join([setup, *given, *asserts]) + "\n", limits=limits)


def defined_names(code: str) -> tuple[str, ...]:
    """Functions and classes that a reference solution defines: what its tests may call.

    Raises SyntaxError.
    """
    kinds = (ast.FunctionDef, ast.ClassDef)
    return tuple(node.name for node in ast.parse(code).body if isinstance(node, kinds))
