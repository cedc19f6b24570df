"""The forecaster: run tables, laws, intervals, back-tests, registered predictions, verification.

Imports no torch: a team that trains with something else can use it alone.
"""

from foresight.forecast.answer import Answer, answer
from foresight.forecast.curve import Curve, predict_curve
from foresight.forecast.eligibility import Ineligible, Limits, judge
from foresight.forecast.forecast import Code, Fit, Forecast, LawPoint, fit
from foresight.forecast.frontier import FrontierPoint, frontier
from foresight.forecast.in_flight import register_in_flight
from foresight.forecast.law import PowerLaw
from foresight.forecast.reading import read_table
from foresight.forecast.registration import Registration, Target, register, seal_outcome
from foresight.forecast.table import Row, RunTable
from foresight.forecast.training_log import TrainingLog
from foresight.forecast.verification import Finding, Report, Score, crps_normal, verify
from foresight.forecast.watch import Look, Reference, Watch

__all__ = [
    "Answer",
    "Code",
    "Curve",
    "Finding",
    "Fit",
    "Forecast",
    "FrontierPoint",
    "Ineligible",
    "LawPoint",
    "Limits",
    "Look",
    "PowerLaw",
    "Reference",
    "Registration",
    "Report",
    "Row",
    "RunTable",
    "Score",
    "Target",
    "TrainingLog",
    "Watch",
    "answer",
    "crps_normal",
    "fit",
    "frontier",
    "judge",
    "predict_curve",
    "read_table",
    "register",
    "register_in_flight",
    "seal_outcome",
    "verify",
]
