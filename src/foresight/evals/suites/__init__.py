"""Readers of public sets, from files that the user has."""

from collections.abc import Callable
from pathlib import Path

from foresight.evals.suites.big_bench_hard import big_bench_hard
from foresight.evals.suites.drop import drop
from foresight.evals.suites.factuality import factuality
from foresight.evals.suites.generation import gsm8k, humaneval, mbpp, mgsm
from foresight.evals.suites.multiple_choice import (
    agieval,
    arc,
    hellaswag,
    mmlu,
    mmlu_language,
    winogrande,
)
from foresight.evals.suites.openai_evals import openai_evals
from foresight.evals.suites.suite import Suite
from foresight.evals.suites.truthfulqa import truthfulqa

SUITES: dict[str, Callable[[Path, str], Suite]] = {
    "agieval": agieval,
    "arc": arc,
    "bbh": big_bench_hard,
    "drop": drop,
    "factuality": factuality,
    "gsm8k": gsm8k,
    "hellaswag": hellaswag,
    "humaneval": humaneval,
    "mbpp": mbpp,
    "mgsm": mgsm,
    "mmlu": mmlu,
    "mmlu_language": mmlu_language,
    "openai_evals": openai_evals,
    "truthfulqa": truthfulqa,
    "winogrande": winogrande,
}

__all__ = ["SUITES", "Suite"]
