"""Readers of public sets, from files that the user has."""

from collections.abc import Callable
from pathlib import Path

from foresight.evals.suites.generation import gsm8k, humaneval, mbpp, mgsm
from foresight.evals.suites.multiple_choice import agieval, arc, hellaswag, mmlu, truthfulqa
from foresight.evals.suites.openai_evals import openai_evals
from foresight.evals.suites.suite import Suite

SUITES: dict[str, Callable[[Path, str], Suite]] = {
    "agieval": agieval,
    "arc": arc,
    "gsm8k": gsm8k,
    "hellaswag": hellaswag,
    "humaneval": humaneval,
    "mbpp": mbpp,
    "mgsm": mgsm,
    "mmlu": mmlu,
    "openai_evals": openai_evals,
    "truthfulqa": truthfulqa,
}

__all__ = ["SUITES", "Suite"]
