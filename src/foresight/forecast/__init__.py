"""The forecaster: run tables, laws, intervals, back-tests, registered predictions, verification.

Imports no torch: a team that trains with something else can use it alone.
"""

from foresight.forecast.accuracy import AccuracyFit, AccuracyForecast, fit_accuracy
from foresight.forecast.answer import Answer, answer
from foresight.forecast.curve import Curve, predict_curve
from foresight.forecast.eligibility import Ineligible, Limits, judge
from foresight.forecast.forecast import Code, Fit, Forecast, LawPoint, fit
from foresight.forecast.frontier import FrontierPoint, frontier
from foresight.forecast.law import PowerLaw
from foresight.forecast.reading import read_table
from foresight.forecast.registration import Registration, Target, register, seal_outcome
from foresight.forecast.scores import ScoreRow, ScoreTable, read_scores
from foresight.forecast.table import Row, RunTable
from foresight.forecast.transfer import LossMap, Mapped, fit_map
from foresight.forecast.trend import Trend, trend
from foresight.forecast.verification import Finding, Report, Score, crps_normal, verify

__all__ = [
    "AccuracyFit",
    "AccuracyForecast",
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
    "LossMap",
    "Mapped",
    "PowerLaw",
    "Registration",
    "Report",
    "Row",
    "RunTable",
    "Score",
    "ScoreRow",
    "ScoreTable",
    "Target",
    "Trend",
    "answer",
    "crps_normal",
    "fit",
    "fit_accuracy",
    "fit_map",
    "frontier",
    "judge",
    "predict_curve",
    "read_scores",
    "read_table",
    "register",
    "seal_outcome",
    "trend",
    "verify",
]
