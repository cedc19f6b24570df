"""Draw the next token of many sequences at once, each by its own rules and from its own stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from foresight.inference.language_model import Sampling


@dataclass(frozen=True)
class Drawn:
    """A token's id and, if asked for, its log-probability and the likeliest alternatives."""

    id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


class Stream:
    """Uniforms of one completion: a function of (seed, index of the completion) alone."""

    def __init__(self, seed: int, sample: int) -> None:
        self._generator = np.random.default_rng([seed % 2**63, sample])

    def next(self) -> float:
        return float(self._generator.random())


def draw(
    logits: Tensor,
    rules: Sequence[Sampling],
    streams: Sequence[Stream],
    forbidden: Tensor,
    allowed: Mapping[int, Tensor],
) -> list[Drawn]:
    """The next token of each row of logits (n, V), float32.

    `forbidden` (k,): ids that are never drawn; `allowed`: row -> (V,), nothing else is drawn
    there. Log-probabilities are of the model's distribution,
    before bias and cuts.
    """
    wanted = [row for row, rule in enumerate(rules) if rule.logprobs is not None]
    plain = torch.log_softmax(logits[wanted], dim=-1) if wanted else None
    scores = logits.clone() if wanted else logits
    scores[:, forbidden] = -torch.inf
    for row, mask in allowed.items():
        scores[row, ~mask.to(scores.device)] = -torch.inf
    for row, rule in enumerate(rules):
        for token, bias in rule.logit_bias:
            scores[row, token] += bias
    ids = scores.argmax(dim=-1)
    warm = [row for row, rule in enumerate(rules) if rule.temperature > 0]
    if warm:
        ids[warm] = _sample(
            scores[warm], [rules[row] for row in warm], [streams[row].next() for row in warm]
        )
    chosen = ids.tolist()
    if plain is None:
        return [Drawn(token) for token in chosen]
    told = dict(zip(wanted, _tell(plain, [chosen[row] for row in wanted],
                                  [rules[row].logprobs or 0 for row in wanted]),
                    strict=True))  # fmt: skip
    return [told.get(row, Drawn(token)) for row, token in enumerate(chosen)]


def _sample(scores: Tensor, rules: Sequence[Sampling], uniforms: Sequence[float]) -> Tensor:
    """Ids (n,) by inverting the distribution function: one uniform a row."""
    temperature = torch.tensor([rule.temperature for rule in rules], device=scores.device)
    scores = scores / temperature[:, None]
    vocabulary = scores.shape[1]
    if any(rule.top_k or rule.top_p < 1 for rule in rules):
        scores = _cut(scores, [rule.top_k or vocabulary for rule in rules],
                      [rule.top_p for rule in rules])  # fmt: skip
    share = torch.softmax(scores, dim=-1, dtype=torch.float64)
    total = share.cumsum(dim=-1)
    mark = torch.tensor(uniforms, dtype=torch.float64, device=scores.device) * total[:, -1]
    found = torch.searchsorted(total, mark[:, None], right=True)[:, 0]
    return found.clamp_(max=vocabulary - 1)


def _cut(scores: Tensor, top_k: Sequence[int], top_p: Sequence[float]) -> Tensor:
    """Scores with what lies outside the k likeliest, and then outside the smallest set that holds
    `top_p` of the rest (Holtzman et al. 2020), at minus infinity."""
    ordered, index = scores.sort(dim=-1, descending=True, stable=True)
    rank = torch.arange(scores.shape[1], device=scores.device)
    ordered = ordered.masked_fill(
        rank >= torch.tensor(top_k, device=scores.device)[:, None], -torch.inf
    )
    share = torch.softmax(ordered, dim=-1)
    before = share.cumsum(dim=-1) - share
    limit = torch.tensor(top_p, device=scores.device)[:, None]
    ordered = ordered.masked_fill((before >= limit) & (limit < 1), -torch.inf)
    return torch.empty_like(scores).scatter_(1, index, ordered)


def _tell(plain: Tensor, chosen: Sequence[int], counts: Sequence[int]) -> list[Drawn]:
    most = max(counts)
    values, ids = plain.topk(most, dim=-1) if most else (plain[:, :0], plain[:, :0].long())
    own = plain.gather(1, torch.tensor(chosen, device=plain.device)[:, None])[:, 0].tolist()
    return [
        Drawn(token, logprob, tuple(zip(row_ids[:count], row_values[:count], strict=True)))
        for token, logprob, count, row_ids, row_values in zip(
            chosen, own, counts, ids.tolist(), values.tolist(), strict=True
        )
    ]
