"""The forecaster: run tables, laws, intervals, back-tests, registered predictions, verification.

Imports no torch: a team that trains with something else can use it alone.
"""

from foresight.forecast.accuracy import AccuracyFit, AccuracyForecast, fit_accuracy
from foresight.forecast.allocation import Recommendation, recommend
from foresight.forecast.answer import Answer, PlannedRun, answer, answer_jointly
from foresight.forecast.capability import capability
from foresight.forecast.counts import read_counts
from foresight.forecast.curve import predict_curve
from foresight.forecast.draws import Estimate
from foresight.forecast.eligibility import Limits
from foresight.forecast.folders import read_folder
from foresight.forecast.forecast import Fit, Forecast, fit
from foresight.forecast.frontier import frontier
from foresight.forecast.law import PowerLaw
from foresight.forecast.planning import Plan, plan_ladder
from foresight.forecast.reading import read_table
from foresight.forecast.reasons import Code
from foresight.forecast.registration import Registration, Target, register, seal_outcome
from foresight.forecast.registry import Subject, Witnesses, observe, register_fit, register_stated
from foresight.forecast.registry_audit import verify
from foresight.forecast.scores import ScoreRow, ScoreTable, read_scores
from foresight.forecast.surface import fit_surface
from foresight.forecast.table import Row, RunTable
from foresight.forecast.training_log import TrainingLog
from foresight.forecast.transfer import LossMap, fit_map
from foresight.forecast.trend import Trend, trend
from foresight.forecast.verification import Finding, Report, Score, crps_normal
from foresight.forecast.watch import Reference, Watch

__all__ = [
    "AccuracyFit",
    "AccuracyForecast",
    "Answer",
    "Code",
    "Estimate",
    "Finding",
    "Fit",
    "Forecast",
    "Limits",
    "LossMap",
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
    "register_stated",
    "seal_outcome",
    "trend",
    "verify",
]
