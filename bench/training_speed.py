"""Training speed beside other libraries: same shapes, batch, precision and threads, in turns.

The estimand is tokens per second of wall time of one whole training step (batch assembly,
forward, backward, clipping, optimiser) on one thread, at widths d with 4 blocks, heads of 32,
a feed-forward of 3 d, 2,048 ids, untied embeddings and, unless `--rows` says otherwise, 16 rows
of 128 random ids. Both sides multiply in bfloat16 over float32 weights (theirs by autocast), or
both in float32 with `--precision fp32`.
Every round measures every arm once, one after the other, so that what else the machine does
falls on all of them. A ratio is taken inside a round, against the peer with the same optimiser
whose median is best, and stated as its median [lowest, highest] over the rounds; `cpu` is the
median of the same ratio in processor time, which others on the machine disturb less.

The peers are Hugging Face `transformers` (Llama and Qwen3, attention `sdpa`) and `litgpt`, each
in the plain loop one would write: cross-entropy of the logits, `clip_grad_norm_`, no dropout;
from twice 2,048 tokens per step on also in micro-batches of 2,048 (as ours runs), and the
faster of the two forms, tried once, is the one that is measured. Each side runs once with AdamW
on everything (theirs fused) and once with Muon on the hidden matrices, as the recipes do
(theirs `torch.optim.Muon`). `of peak` is the model's FLOPs (`foresight.compute`: no optimiser)
per second over those of the best of three square `torch.mm` of the same precision in the round.

Exit code 0 if the median ratio of both our arms is at least 1.3 at every width, 1 otherwise
(and if no peer is installed). Peers that are not installed are named.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foresight.recipe import (
    ArchitectureSettings,
    CorpusSettings,
    LadderSettings,
    MatrixOptimizer,
    OptimizerSettings,
    Precision,
    Recipe,
    RunSpec,
    ScaleSettings,
)
from foresight.training.plan import RandomRows
from foresight.training.trainer import Trainer

WANTED = 1.3
CONTEXT = 128
MICRO_ROWS = 16
DEPTH = 4
WARM_UP = 3
PEAK_SIDES = (256, 512, 1024)
PEAK_SECONDS = 0.15

Step = Callable[[], object]
Make = Callable[[RunSpec], nn.Module]


@dataclass(frozen=True)
class Rate:
    """Tokens (or FLOPs) per second of wall time and of processor time."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Spread:
    """Median and range over the rounds."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Line:
    """One arm at one width; ratios are to `fastest_peer`, round by round."""

    arm: str
    ours: bool
    fastest_peer: str | None
    tokens_per_second: Spread
    ratio: Spread | None
    cpu_ratio: float | None
    share_of_peak: Spread


@dataclass(frozen=True)
class Table:
    """All arms at one width."""

    width: int
    peak_flops_per_second: Spread
    lines: list[Line]

    @property
    def holds(self) -> bool:
        ratios = [line.ratio for line in self.lines if line.ours]
        return all(ratio is not None and ratio.median >= WANTED for ratio in ratios)


def spec_of(width: int, matrix: MatrixOptimizer, rows: int, precision: Precision) -> RunSpec:
    """The benchmark's run at a width: the recipe's rules, a batch of so many rows."""
    recipe = Recipe(
        name="bench",
        corpus=CorpusSettings(vocab_size=2048),
        architecture=ArchitectureSettings(depth=DEPTH, head_dim=32, ffn_ratio=3.0, context=CONTEXT),
        optimizer=OptimizerSettings(matrix=matrix),
        scale=ScaleSettings(base_depth=DEPTH, precision=precision),
        ladder=LadderSettings(rungs=[1e12], seeds=[1], targets=[1e13], trained_targets=0),
    )
    # Compute for 10,000 batches of about the size that follows: warm-up and decay as in a run.
    compute = recipe.shape(width).flops_per_token() * 1e4 * rows * CONTEXT
    spec = recipe.at(compute, width=width)
    return spec.model_copy(update={"batch_rows": rows, "steps": 10_000})


def llama(spec: RunSpec) -> nn.Module:
    """transformers' Llama of the spec's shape."""
    from transformers import LlamaConfig, LlamaForCausalLM

    model: nn.Module = LlamaForCausalLM(LlamaConfig(**_hugging_face(spec)))
    return model


def qwen3(spec: RunSpec) -> nn.Module:
    """transformers' Qwen3 of the spec's shape: Llama with normalised queries and keys."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    model: nn.Module = Qwen3ForCausalLM(Qwen3Config(**_hugging_face(spec)))
    return model


def _hugging_face(spec: RunSpec) -> dict[str, Any]:
    s = spec.shape
    return {
        "vocab_size": s.vocab,
        "hidden_size": s.width,
        "intermediate_size": s.ffn,
        "num_hidden_layers": s.depth,
        "num_attention_heads": s.heads,
        "num_key_value_heads": s.heads,
        "head_dim": s.head_dim,
        "max_position_embeddings": s.context,
        "attention_dropout": 0.0,
        "tie_word_embeddings": False,
        "use_cache": False,
        "attn_implementation": "sdpa",
        "pad_token_id": None,
        "bos_token_id": None,
        "eos_token_id": None,
    }


def lit_llama(spec: RunSpec) -> nn.Module:
    """litgpt's Llama of the spec's shape."""
    from litgpt import GPT, Config

    s = spec.shape
    config = Config(
        name="bench",
        block_size=s.context,
        vocab_size=s.vocab,
        padded_vocab_size=s.vocab,
        n_layer=s.depth,
        n_head=s.heads,
        n_query_groups=s.heads,
        head_size=s.head_dim,
        n_embd=s.width,
        intermediate_size=s.ffn,
        rotary_percentage=1.0,
        parallel_residual=False,
        bias=False,
        norm_class_name="RMSNorm",
        mlp_class_name="LLaMAMLP",
    )
    model: nn.Module = GPT(config)
    return model


OURS = "foresight"
OPTIMIZERS: dict[MatrixOptimizer, str] = {"muon": "Muon", "adamw": "AdamW"}
PEERS: dict[str, tuple[str, Make]] = {
    "transformers Llama": ("transformers", llama),
    "transformers Qwen3": ("transformers", qwen3),
    "litgpt Llama": ("litgpt", lit_llama),
}


def our_step(spec: RunSpec) -> Step:
    """One update of our trainer on random ids."""
    return Trainer(spec, RandomRows(spec.shape)).update


def peer_step(model: nn.Module, spec: RunSpec) -> Step:
    """The plain loop around a peer's model: whole batches or micro-batches, what is faster."""
    model.train()
    optimizers = peer_optimizers(model, spec.matrix)
    whole = plain_loop(model, spec, spec.batch_rows, optimizers)
    if spec.batch_rows < 2 * MICRO_ROWS:
        return whole
    forms = [whole, plain_loop(model, spec, MICRO_ROWS, optimizers)]
    for step in forms:
        step()
    return max(forms, key=lambda step: rate(step, 1.0, 0.0).wall)


def peer_optimizers(model: nn.Module, matrix: MatrixOptimizer) -> list[torch.optim.Optimizer]:
    """Fused AdamW on everything, or Muon on the matrices between embedding and head."""
    if matrix == "adamw":
        return [torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)]
    hidden, other = [], []
    for name, weight in model.named_parameters():
        outer = weight.ndim != 2 or any(key in name for key in ("embed", "wte", "lm_head"))
        (other if outer else hidden).append(weight)
    return [
        torch.optim.Muon(hidden, lr=1e-3, ns_steps=5),
        torch.optim.AdamW(other, lr=1e-3, fused=True),
    ]


def plain_loop(
    model: nn.Module, spec: RunSpec, micro: int, optimizers: Sequence[torch.optim.Optimizer]
) -> Step:
    """One step on the same random ids as ours, `micro` rows at a time."""
    rows = RandomRows(spec.shape)
    taken = 0

    def step() -> float:
        nonlocal taken
        batch = rows.rows(taken * spec.batch_rows, spec.batch_rows)
        ids, targets = torch.from_numpy(batch.inputs), torch.from_numpy(batch.targets)
        model.zero_grad(set_to_none=True)
        total = 0.0
        for part, answer in zip(ids.split(micro), targets.split(micro), strict=True):
            with torch.autocast("cpu", torch.bfloat16, enabled=spec.precision == "bf16"):
                output = model(part)
                logits: Tensor = output if isinstance(output, Tensor) else output.logits
                loss = F.cross_entropy(logits.flatten(0, 1), answer.flatten())
            loss = loss * (len(part) / len(ids))
            loss.backward()
            total += loss.item()
        nn.utils.clip_grad_norm_(model.parameters(), spec.clip)
        for optimizer in optimizers:
            optimizer.step()
        taken += 1
        return total

    return step


def check_size(model: nn.Module, spec: RunSpec) -> None:
    """A peer's matrices must hold as many weights as ours without the picture path."""
    matrices = sum(weight.numel() for weight in model.parameters() if weight.ndim == 2)
    expected = spec.shape.params - spec.shape.image_params
    if matrices != expected:
        raise AssertionError(f"{type(model).__name__}: {matrices} weights, not {expected}")


def versions() -> dict[str, str | None]:
    """Versions of torch and of the peers; None: not installed."""
    found: dict[str, str | None] = {}
    for package in ["torch", *dict.fromkeys(package for package, _ in PEERS.values())]:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def rate(step: Step, amount: float, seconds: float) -> Rate:
    """Amount per second over at least `seconds` and two steps."""
    wall, cpu, taken = time.perf_counter(), time.process_time(), 0
    while taken < 2 or time.perf_counter() - wall < seconds:
        step()
        taken += 1
    return Rate(
        amount * taken / (time.perf_counter() - wall), amount * taken / (time.process_time() - cpu)
    )


def peak(precision: Precision) -> Rate:
    """FLOPs per second of the fastest of three square products."""
    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    rates = []
    for side in PEAK_SIDES:
        a, b, out = torch.randn(3, side, side).to(dtype).unbind()
        rates.append(rate(lambda a=a, b=b, out=out: torch.mm(a, b, out=out), 2.0 * side**3,
                          PEAK_SECONDS))  # fmt: skip
    return max(rates, key=lambda one: one.wall)


def measure(width: int, rows: int, precision: Precision, rounds: int, seconds: float) -> Table:
    """Build every arm at a width, warm it up, and measure all of them in turns."""
    installed = versions()
    arms: dict[str, Step] = {}
    for matrix, optimizer in OPTIMIZERS.items():
        spec = spec_of(width, matrix, rows, precision)
        arms[f"{OURS}, {optimizer}"] = our_step(spec)
        for name, (package, make) in PEERS.items():
            if installed[package]:
                model = make(spec)
                check_size(model, spec)
                arms[f"{name}, {optimizer}"] = peer_step(model, spec)
    for step in arms.values():
        for _ in range(WARM_UP):
            step()
    found: dict[str, list[Rate]] = {name: [] for name in arms}
    peaks = []
    for _ in range(rounds):
        peaks.append(peak(precision))
        for name, step in arms.items():
            found[name].append(rate(step, spec.batch_tokens, seconds))
    return tabulate(spec, found, peaks)


def tabulate(spec: RunSpec, found: dict[str, list[Rate]], peaks: list[Rate]) -> Table:
    """Medians, ranges and paired ratios of the rounds of one width."""
    flops = spec.shape.flops_per_token()
    lines = []
    for name, rates in found.items():
        optimizer = name.rpartition(", ")[2]
        peers = {
            peer: statistics.median(one.wall for one in rates)
            for peer, rates in found.items()
            if peer.endswith(f", {optimizer}") and not peer.startswith(OURS)
        }
        fastest = max(peers, key=peers.__getitem__) if peers else None
        ratio, cpu_ratio = None, None
        if fastest:
            pairs = list(zip(rates, found[fastest], strict=True))
            ratio = Spread.of([one.wall / peer.wall for one, peer in pairs])
            cpu_ratio = statistics.median(one.cpu / peer.cpu for one, peer in pairs)
        shares = [one.wall * flops / top.wall for one, top in zip(rates, peaks, strict=True)]
        lines.append(
            Line(
                arm=name,
                ours=name.startswith(OURS),
                fastest_peer=fastest,
                tokens_per_second=Spread.of([one.wall for one in rates]),
                ratio=ratio,
                cpu_ratio=cpu_ratio,
                share_of_peak=Spread.of(shares),
            )
        )
    return Table(spec.shape.width, Spread.of([one.wall for one in peaks]), lines)


def show(table: Table, out: Any = None) -> None:
    """Print one width."""
    top = table.peak_flops_per_second
    print(
        f"\nd = {table.width}: matrix-multiply peak {top.median / 1e9:.0f} "
        f"[{top.lowest / 1e9:.0f}, {top.highest / 1e9:.0f}] GFLOP/s; ratios are to the "
        f"fastest peer with the same optimiser\n"
        f"{'arm':26}{'tokens/s':>26}{'ratio':>21}{'cpu':>7}{'of peak':>9}",
        file=out,
    )
    for line in table.lines:
        t, r = line.tokens_per_second, line.ratio
        speed = f"{t.median:,.0f} [{t.lowest:,.0f}, {t.highest:,.0f}]"
        ratio = f"{r.median:.2f} [{r.lowest:.2f}, {r.highest:.2f}]" if r else "-"
        cpu = f"{line.cpu_ratio:.2f}" if line.cpu_ratio else "-"
        share = f"{line.share_of_peak.median:.0%}"
        print(f"{line.arm:26}{speed:>26}{ratio:>21}{cpu:>7}{share:>9}", file=out, flush=True)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--rows", type=int, default=16, help="rows of 128 ids in a batch")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--rounds", type=int, default=7, help="times every arm is measured")
    parser.add_argument("--seconds", type=float, default=0.7, help="least time of a measurement")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and say by the exit code whether the wanted ratio was reached."""
    wanted = arguments(argv)
    torch.set_num_threads(1)
    installed = versions()
    named = ", ".join(f"{name} {one or 'ABSENT'}" for name, one in installed.items())
    settings = (
        f"{wanted.precision}, 1 thread, {wanted.rows} rows of {CONTEXT}, {wanted.rounds} rounds"
    )
    if not wanted.json:
        print(f"{settings}; {named}", flush=True)
    tables = []
    for width in wanted.widths:
        tables.append(measure(width, wanted.rows, wanted.precision, wanted.rounds, wanted.seconds))
        if not wanted.json:
            show(tables[-1])
    holds = all(table.holds for table in tables)
    if wanted.json:
        document = {
            "settings": settings,
            "versions": installed,
            "wanted_ratio": WANTED,
            "holds": holds,
            "widths": [asdict(table) for table in tables],
        }
        print(json.dumps(document, indent=2))
    else:
        print(f"\nat least {WANTED} times the fastest peer everywhere: {'yes' if holds else 'no'}")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
