"""The steps of an experiment that no single room owns."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foresight.data.corpus import Corpus
from foresight.errors import UserError
from foresight.experiment import Experiment, optimum
from foresight.recipe import Recipe


@given(st.floats(-1.9, 1.9), st.floats(0.1, 5), st.floats(-3, 3))
def test_the_optimum_of_a_parabola_is_its_vertex(vertex: float, scale: float, base: float) -> None:
    points = [[octave, base + scale * (octave - vertex) ** 2] for octave in range(-3, 4)]
    assert optimum(points) == pytest.approx(vertex, abs=1e-6)


def test_an_optimum_at_the_edge_is_the_edge() -> None:
    assert optimum([[-2, 1.0], [-1, 2.0], [0, 3.0]]) == -2
    assert optimum([[-1, 3.0], [0, 1.0], [1, math.inf]]) == 0


def test_the_learning_rate_transfers_and_under_standard_it_does_not(
    corpus: Corpus, recipe: Recipe, tmp_path: Path
) -> None:
    """Widths 32 and 128, all rates moved together; about a minute."""
    wide = recipe.model_copy(update={"scale": Recipe.named("pocket").scale})
    experiment = Experiment.create(tmp_path / "transfer", wide)
    (tmp_path / "transfer" / "corpus").symlink_to(corpus.directory)
    found = experiment.learning_rate_transfer(lambda _: None)
    best = found["optimum_octave"]
    ours = best["complete"]["128"] - best["complete"]["32"]
    standard = best["standard"]["128"] - best["standard"]["32"]
    assert abs(ours) < 0.5, best
    assert abs(standard) > 0.5, best


def test_another_recipe_in_the_directory_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    Experiment.create(tmp_path / "x", recipe)
    with pytest.raises(UserError, match=r"recipe\.yaml: differs from recipe 'tiny' \(seed 1\)"):
        Experiment.create(tmp_path / "x", recipe.model_copy(update={"seed": 1}))
    with pytest.raises(UserError, match="no experiment here"):
        Experiment.open(tmp_path / "y")


def test_a_corpus_too_small_for_a_target_is_told_before_the_ladder(
    corpus: Corpus, recipe: Recipe, tmp_path: Path
) -> None:
    ladder = recipe.ladder.model_copy(update={"targets": [1e12]})
    experiment = Experiment.create(tmp_path / "x", recipe.model_copy(update={"ladder": ladder}))
    (tmp_path / "x" / "corpus").symlink_to(corpus.directory)
    with pytest.raises(UserError, match="one pass is the rule"):
        experiment.train_ladder(lambda _: None)
    assert not any(run.started for run in experiment.rungs)
