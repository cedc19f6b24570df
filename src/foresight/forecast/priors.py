"""What is known of loss laws before a run is seen: learned numbers, with their provenance.

Exponent and floor are learned from public ladders by type-II maximum likelihood (empirical
Bayes; Efron & Morris 1975): the marginal likelihood of every ladder, cut at 1, 1/10 and 1/100 of
its largest compute and averaged within its source, over a grid of priors. `make learn-priors`
computes them, and once more without each source: the benchmark scores a ladder only with the
prior that has not seen its source. They hardly differ (exponent .133-.144, floor .58 of the loss).

The sources: Epoch AI's Chinchilla runs, Gadre et al. 2024, Porian et al. 2024, (Mis)Fitting
FineWeb, Marin isoFLOPs, Gemstones, nanochat.

Nothing here has units: the exponent is a pure number, the floor a share of the loss at the
largest rung.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Prior:
    """`exponent` b: log-normal. `floor_share`: c as a share of the law at the largest rung, Beta.
    `free_*`: the exponent of the pure power law, whose slope is that of no law with a floor;
    `pure_weight`: how much that law weighs beforehand, the others sharing the rest alike. No
    public ladder of losses falls without a floor over several decades: there it must be earned."""

    exponent_median: float = 0.137
    exponent_sd_log: float = 0.24
    floor_alpha: float = 5.8
    floor_beta: float = 4.2
    free_exponent_median: float = 0.07
    free_exponent_sd_log: float = 0.5
    pure_weight: float = 1 / 8


LEARNED = Prior()
ERROR = Prior(0.15, 0.55, 1.0, 2.0, 0.10, 0.8, 1 / 2)
"""For -log accuracy, whose floor is 0 where a task can be solved: weak, set by hand."""
