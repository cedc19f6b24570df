"""The forecaster: run tables, laws, intervals, back-tests, registered predictions, verification.

Imports no torch: a team that trains with something else can use it alone.
"""

from foresight.forecast.accuracy import AccuracyFit, AccuracyForecast, fit_accuracy
from foresight.forecast.allocation import Recommendation, recommend
from foresight.forecast.answer import Answer, JointAnswer, PlannedRun, answer, answer_jointly
from foresight.forecast.capability import CapabilityAnswer, capability
from foresight.forecast.counts import Counts, read_counts
from foresight.forecast.curve import Curve, predict_curve
from foresight.forecast.eligibility import Ineligible, Limits, judge
from foresight.forecast.folders import read_folder
from foresight.forecast.forecast import Fit, Forecast, LawPoint, fit
from foresight.forecast.frontier import FrontierPoint, frontier
from foresight.forecast.in_flight import register_in_flight
from foresight.forecast.law import PowerLaw
from foresight.forecast.planning import Plan, plan_ladder
from foresight.forecast.reading import read_table
from foresight.forecast.reasons import Code
from foresight.forecast.registration import Registration, Target, register, seal_outcome
from foresight.forecast.registry import Subject, Witnesses, observe, register_fit, register_stated
from foresight.forecast.registry_audit import verify
from foresight.forecast.scores import ScoreRow, ScoreTable, read_scores
from foresight.forecast.surface import Surface, fit_surface
from foresight.forecast.table import Row, RunTable
from foresight.forecast.training_log import TrainingLog
from foresight.forecast.transfer import LossMap, Mapped, fit_map
from foresight.forecast.trend import Trend, trend
from foresight.forecast.verification import Finding, Report, Score, crps_normal
from foresight.forecast.watch import Look, Reference, Watch

__all__ = [
    "AccuracyFit",
    "AccuracyForecast",
    "Answer",
    "CapabilityAnswer",
    "Code",
    "Counts",
    "Curve",
    "Finding",
    "Fit",
    "Forecast",
    "FrontierPoint",
    "Ineligible",
    "JointAnswer",
    "LawPoint",
    "Limits",
    "Look",
    "LossMap",
    "Mapped",
    "Plan",
    "PlannedRun",
    "PowerLaw",
    "Recommendation",
    "Reference",
    "Registration",
    "Report",
    "Row",
    "RunTable",
    "Score",
    "ScoreRow",
    "ScoreTable",
    "Subject",
    "Surface",
    "Target",
    "TrainingLog",
    "Trend",
    "Watch",
    "Witnesses",
    "answer",
    "answer_jointly",
    "capability",
    "crps_normal",
    "fit",
    "fit_accuracy",
    "fit_map",
    "fit_surface",
    "frontier",
    "judge",
    "observe",
    "plan_ladder",
    "predict_curve",
    "read_counts",
    "read_folder",
    "read_scores",
    "read_table",
    "recommend",
    "register",
    "register_fit",
    "register_in_flight",
    "register_stated",
    "seal_outcome",
    "trend",
    "verify",
]
