"""Programs written by models, run where they can do no harm and cannot grade themselves."""

from foresight.evals.sandbox.data_sets import human_eval, mbpp
from foresight.evals.sandbox.pool import Report, Sandbox, check
from foresight.evals.sandbox.program import Limits, Outcome, Program, Status

__all__ = [
    "Limits",
    "Outcome",
    "Program",
    "Report",
    "Sandbox",
    "Status",
    "check",
    "human_eval",
    "mbpp",
]
