"""What a score is worth once questions that were seen in training are left out."""

from __future__ import annotations


def degradation(overall: float, clean: float) -> float | None:
    """(clean - overall) / overall: the change that the contaminated questions hide, negative where
    they helped. So is "Degradation" in Table 10 of the GPT-4 report computed, whatever its caption
    says. None where the overall score is 0."""
    return (clean - overall) / overall if overall else None


def lower(overall: float, clean: float | None) -> float:
    """The score that is reported: the lower of the two (GPT-4 report, appendix C). `clean` None:
    no question is left, or none was contaminated."""
    return overall if clean is None else min(overall, clean)
