"""The forecaster: run tables, laws, intervals, back-tests, registered predictions, verification.

Imports no torch: a team that trains with something else can use it alone.
"""

from foresight.forecast.allocation import Recommendation, recommend
from foresight.forecast.answer import Answer, answer
from foresight.forecast.curve import Curve, predict_curve
from foresight.forecast.eligibility import Ineligible, Limits, judge
from foresight.forecast.forecast import Code, Fit, Forecast, LawPoint, fit
from foresight.forecast.frontier import FrontierPoint, frontier
from foresight.forecast.law import PowerLaw
from foresight.forecast.planning import Plan, plan_ladder
from foresight.forecast.reading import read_table
from foresight.forecast.registration import Registration, Target, register, seal_outcome
from foresight.forecast.table import Row, RunTable
from foresight.forecast.verification import Finding, Report, Score, crps_normal, verify

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
    "Plan",
    "PowerLaw",
    "Recommendation",
    "Registration",
    "Report",
    "Row",
    "RunTable",
    "Score",
    "Target",
    "answer",
    "crps_normal",
    "fit",
    "frontier",
    "judge",
    "plan_ladder",
    "predict_curve",
    "read_table",
    "recommend",
    "register",
    "seal_outcome",
    "verify",
]
