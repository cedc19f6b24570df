"""The shipped priors are the learned ones, and hardly depend on any one source."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from foresight.forecast.priors import LEARNED, Prior

LEFT_OUT = Path(__file__).parents[2] / "bench" / "forecast_priors.json"


def test_shipped_numbers_are_those_that_were_learned() -> None:
    learned = {name: Prior(**value) for name, value in json.loads(LEFT_OUT.read_text()).items()}
    assert learned.pop("") == LEARNED
    assert len(learned) >= 7
    for source, prior in learned.items():
        assert prior.exponent_median == pytest.approx(LEARNED.exponent_median, rel=0.1), source
        share = prior.floor_alpha / (prior.floor_alpha + prior.floor_beta)
        assert share == pytest.approx(0.58, abs=0.03), source
