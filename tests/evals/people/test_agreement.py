"""Agreement: published examples, definitions, and what clusters do to intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foresight.evals.people.agreement import agreed, alpha, beside, weighted_kappa

# Krippendorff (2011), section E: four observers, twelve units, missing values.
KRIPPENDORFF = [
    [1, 1, 1], [2, 2, 3, 2], [3, 3, 3, 3], [3, 3, 3, 3], [2, 2, 2, 2], [1, 2, 3, 4],
    [4, 4, 4, 4], [1, 1, 2, 1], [2, 2, 2, 2], [5, 5, 5], [1, 1], [3],
]  # fmt: skip


def test_alpha_of_the_published_example() -> None:
    units = [[float(value) for value in unit] for unit in KRIPPENDORFF]
    found = alpha(units, range(len(units)))
    assert found.value == pytest.approx(0.849, abs=5e-4)
    assert found.low is not None and found.high is not None
    assert found.low < 0.849 < found.high <= 1
    assert alpha([*units, [5.0]], range(13)).value == found.value, "one value tells nothing"


def test_alpha_where_all_say_the_same() -> None:
    assert alpha([[1.0, 1.0]] * 5, range(5)).value is None
    assert alpha([[1.0, 1.0], [0.0, 0.0]], range(2)).value == 1.0
    assert alpha([[1.0, 0.0]] * 2, range(2)).value == pytest.approx(-0.5)
    lonely = alpha([[1.0, 1.0], [0.0, 0.0]], ["p", "p"])
    assert (lonely.value, lonely.low) == (1.0, None)


def test_a_tie_is_half_a_disagreement() -> None:
    base = [[0.0, 0.0], [1.0, 1.0]] * 10
    near, far = (alpha([*base, [1.0, other]], range(21)).value for other in (0.5, 0.0))
    assert near is not None and far is not None and far < near < 1


scores = st.lists(
    st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.sampled_from([0.0, 0.25, 0.5, 1.0])),
    min_size=2,
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(scores)
def test_kappa_is_that_of_the_table(rows: list[tuple[float, float]]) -> None:
    x, y = ([row[at] for row in rows] for at in (0, 1))
    found = weighted_kappa(x, y, range(len(x))).value
    names = [0.0, 0.25, 0.5, 1.0]
    table = np.zeros((4, 4))
    for one, other in rows:
        table[names.index(one), names.index(other)] += 1 / len(rows)
    weights = np.subtract.outer(names, names) ** 2
    expected = (weights * np.outer(table.sum(1), table.sum(0))).sum()
    if expected < 1e-12:
        assert found is None
    else:
        assert found == pytest.approx(1 - (weights * table).sum() / expected, abs=1e-9)


def test_two_graders_beside_each_other() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 5, 200) / 4
    strict = np.clip(truth - 0.25, 0, 1)
    found = beside(("ann", "ben"), list(strict), list(truth), range(200))
    assert found.difference.high is not None and found.difference.high < 0
    assert found.kappa.high is not None and 0.5 < (found.kappa.value or 0) < found.kappa.high < 1
    same = beside(("ann", "ben"), list(truth), list(truth), range(200))
    assert same.kappa.value == pytest.approx(1) and same.difference.mean == 0
    noise = list(random.permutation(truth))
    chance = weighted_kappa(list(truth), noise, range(200))
    assert chance.low is not None and chance.high is not None and chance.low < 0 < chance.high


def test_units_of_one_prompt_are_not_independent() -> None:
    random = np.random.default_rng(1)
    units = [[float(a), float(a if random.random() < 0.7 else 1 - a)] for a in [0, 1] * 20]
    thrice, of = [unit for unit in units for _ in range(3)], [at for at in range(40) for _ in "abc"]
    together, apart = agreed(thrice, of), agreed(thrice, range(120))
    assert together is not None and apart is not None
    width = [(one.alpha.high or 0) - (one.alpha.low or 0) for one in (together, apart)]
    assert width[0] > 1.4 * width[1]
    assert together.same.se is not None and apart.same.se is not None
    assert together.same.se > 1.5 * apart.same.se
    assert agreed([[1.0], [0.0]], "ab") is None


def test_kappa_of_two_labels_is_cohens() -> None:
    # 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: po .7, pe .5 (Cohen's textbook example).
    given_, labels = [1.0] * 25 + [0.0] * 25, [1.0] * 20 + [0.0] * 5 + [1.0] * 10 + [0.0] * 15
    found = beside(("judge", "people"), given_, labels, range(50))
    assert (found.n, found.same.mean) == (50, pytest.approx(0.7))
    assert found.kappa.value == pytest.approx(0.4) and found.same.method == "wilson"


def test_kappas_interval_covers() -> None:
    random, hits = np.random.default_rng(6), 0
    table = np.array([[0.35, 0.1, 0.02], [0.08, 0.2, 0.05], [0.03, 0.05, 0.12]])
    distance = np.subtract.outer(range(3), range(3)) ** 2
    truth = 1 - (table * distance).sum() / (np.outer(table.sum(1), table.sum(0)) * distance).sum()
    for _ in range(300):
        cells = random.choice(9, 200, p=table.ravel())
        found = weighted_kappa(list(cells // 3 / 2.0), list(cells % 3 / 2.0), range(200))
        assert found.low is not None and found.high is not None
        hits += found.low <= truth <= found.high
    assert hits / 300 == pytest.approx(0.95, abs=0.03)


def test_kappa_is_none_where_one_label_is_all_there_is() -> None:
    found = beside(("a", "b"), [1.0, 1.0], [1.0, 1.0], range(2))
    assert found.same.mean == 1.0 and found.kappa.value is None
