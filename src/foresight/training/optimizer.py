"""Muon on hidden matrices, AdamW on the rest; rates, decay and epsilon from the parametrisation."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from foresight.model.parametrisation import TensorRule, compute_dtype
from foresight.recipe import RunSpec

# Coefficients of the quintic iteration, minimax-optimal per step ("Polar Express",
# Amsel et al. 2025, table of the composition of degree 5): five steps bring every singular
# value above 1e-3 of the largest to 1 within a few per cent.
_POLAR_EXPRESS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
)
_SAFETY = 1.01


def orthogonalise(stack: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Replace the singular values of each matrix of (n, a, b), a <= b, by about 1.

    Newton-Schulz iteration of Muon (Jordan et al. 2024), its products and its result in
    `dtype`. A zero matrix stays zero.

    The iteration corrects rounding as long as no singular value is rounded beyond the upper end
    of a polynomial's interval, where it is steep: from there values run away. In bfloat16 all
    steps but the last therefore aim at intervals 1 % wider (Amsel et al. 2025, on finite
    precision).
    """
    norm = torch.linalg.matrix_norm(stack, keepdim=True)
    x = torch.empty_like(stack, dtype=dtype)
    torch.mul(stack, 1 / (norm * 1.01 + 1e-30), out=x)
    for step, (a, b, c) in enumerate(_POLAR_EXPRESS, start=1):
        if dtype == torch.bfloat16 and step < len(_POLAR_EXPRESS):
            a, b, c = a / _SAFETY, b / _SAFETY**3, c / _SAFETY**5  # noqa: PLW2901
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


class Optimizer:
    """One step for all weights.

    Matrices of equal shape (up to transposition) are orthogonalised as one stack. The
    groups are built from `rules`, so what a tensor gets is what the parametrisation says.
    """

    def __init__(
        self, spec: RunSpec, rules: dict[str, TensorRule], weights: Mapping[str, Tensor]
    ) -> None:
        self._spec = spec
        self._rules = dict(rules)
        self._weights = dict(weights)
        self._stacks: dict[tuple[int, int], list[str]] = {}
        # From the head down: the image path, which may never move, ends each stack.
        for name, rule in reversed(rules.items()):
            if rule.optimizer == "muon":
                wide = (min(rule.shape), max(rule.shape))
                self._stacks.setdefault(wide, []).append(name)
        self._adam = [name for name, rule in rules.items() if rule.optimizer == "adamw"]
        # Without pictures in the corpus some weights never see a gradient.
        self.state: dict[str, Tensor] = {}
        for wide, names in self._stacks.items():
            self.state[f"momentum/{wide[0]}x{wide[1]}"] = torch.zeros(len(names), *wide)
        for name in self._adam:
            self.state[f"first/{name}"] = torch.zeros_like(weights[name])
            self.state[f"second/{name}"] = torch.zeros_like(weights[name])

    @torch.no_grad()
    def clip(self) -> float:
        """Scale gradients to the spec's largest global norm; returns the norm before."""
        gradients = [w.grad for w in self._weights.values() if w.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        value = float(norm)
        if value > self._spec.clip:
            torch._foreach_mul_(gradients, self._spec.clip / value)
        return value

    @torch.no_grad()
    def step(self, step: int, schedule: float) -> None:
        """Apply one update; `step` counts from 0, `schedule` is the share of the peak rate."""
        for wide, names in self._stacks.items():
            self._muon(wide, names, schedule)
        self._adamw(step, schedule)

    def _muon(self, wide: tuple[int, int], names: list[str], schedule: float) -> None:
        momentum = self.state[f"momentum/{wide[0]}x{wide[1]}"]
        moving = max((at + 1 for at, name in enumerate(names) if self._moves(name, momentum[at])),
                     default=0)  # fmt: skip
        if not moving:
            return
        names, momentum = names[:moving], momentum[:moving]
        turned = [self._rules[name].shape != wide for name in names]
        gradients = []
        for name, turn in zip(names, turned, strict=True):
            gradient = self._weights[name].grad
            if gradient is None:
                gradient = torch.zeros_like(self._weights[name])
            gradients.append(gradient.T if turn else gradient)
        stack = torch.stack(gradients)
        momentum.lerp_(stack, 1 - self._spec.momentum)
        updates = orthogonalise(
            stack.lerp_(momentum, self._spec.momentum), compute_dtype(self._spec)
        )
        for name, turn, update in zip(names, turned, updates, strict=True):
            rule, weight = self._rules[name], self._weights[name]
            rate = rule.lr * schedule
            weight.mul_(1 - rate * rule.weight_decay)
            weight.sub_(update.T if turn else update, alpha=rate)

    def _moves(self, name: str, momentum: Tensor) -> bool:
        """Whether a matrix has a gradient now or had one: without pictures some never do."""
        return self._weights[name].grad is not None or bool(momentum.any())

    def _adamw(self, step: int, schedule: float) -> None:
        """AdamW (Loshchilov & Hutter 2019) with bias correction."""
        beta1, beta2 = self._spec.beta1, self._spec.beta2
        correct1, correct2 = 1 - beta1 ** (step + 1), 1 - beta2 ** (step + 1)
        for name in self._adam:
            rule, weight = self._rules[name], self._weights[name]
            if weight.grad is None:
                continue
            first, second = self.state[f"first/{name}"], self.state[f"second/{name}"]
            first.lerp_(weight.grad, 1 - beta1)
            second.mul_(beta2).addcmul_(weight.grad, weight.grad, value=1 - beta2)
            scale = (second / correct2).sqrt_().add_(rule.epsilon)
            rate = rule.lr * schedule
            if rule.weight_decay:
                weight.mul_(1 - rate * rule.weight_decay)
            weight.addcdiv_(first, scale, value=-rate / correct1)


def schedule(spec: RunSpec, step: int) -> float:
    """Share of the peak rate: linear warm-up, then linear to zero (Bergsma et al. 2025)."""
    if step < spec.warmup_steps:
        return (step + 1) / spec.warmup_steps
    return (spec.steps - step) / (spec.steps - spec.warmup_steps)
