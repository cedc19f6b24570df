"""Tokens per second beside Hugging Face `generate`, on the same exported weights, interleaved.

A decoder of random weights is exported; both sides continue the same prompts greedily. *even*: all
prompts 64 tokens, all answers 64; *mixed*: prompts of 16 to 128 and answers of 16 to 128 tokens,
four batches in all. `generate` pads a batch on the left and ends with its longest answer; only
tokens that were asked for count. The estimand is the ratio of the rates in one round; printed are
median and range over rounds. At batch 1 the share of the memory bound is printed too: the time that
reading every weight once takes at the measured bandwidth, over the time per token.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from foresight.data.tokenizer import EOS, SPECIAL_TOKENS, Tokenizer
from foresight.document import IM_END
from foresight.export.hugging_face import export_hugging_face
from foresight.inference.engine import Engine
from foresight.inference.language_model import GenerateRequest, Sampling
from foresight.model.decoder import Decoder
from foresight.recipe import (
    ArchitectureSettings,
    CorpusSettings,
    LadderSettings,
    Recipe,
    ScaleSettings,
)

SIZES = {"10M": (256, 8, 2048), "100M": (768, 12, 8192)}
"""Width, depth, vocabulary."""
CONTEXT = 512
Work = tuple[list[list[int]], list[int]]


@dataclass(frozen=True)
class Line:
    """Medians over rounds; the ratio with its range."""

    size: str
    precision: str
    batch: int
    work: str
    ours: float
    theirs: float
    ratio: float
    low: float
    high: float
    share_of_memory_bound: float | None


def build(size: str, precision: str) -> tuple[Decoder, Tokenizer]:
    """A decoder of random weights and a tokenizer of its vocabulary."""
    width, depth, vocabulary = SIZES[size]
    recipe = Recipe(
        name="bench",
        corpus=CorpusSettings(vocab_size=vocabulary),
        architecture=ArchitectureSettings(depth=depth, head_dim=64, context=CONTEXT),
        scale=ScaleSettings(base_depth=depth, base_width=width),
        ladder=LadderSettings(rungs=[1e12], seeds=[1], targets=[1e13], trained_targets=0),
    )
    spec = recipe.at(recipe.shape(width).flops_per_token() * 1e8, width=width)
    model = Decoder(spec.model_copy(update={"precision": precision}))
    with torch.no_grad():  # the head starts at zero
        model.weight("lm_head").normal_(std=0.1, generator=torch.Generator().manual_seed(0))
    rng = np.random.default_rng(0)
    letters = [chr(97 + code) for code in range(26)]
    words = ("".join(rng.choice(letters, 6)) for _ in range(8 * vocabulary))
    return model, Tokenizer.train([" ".join(words)], vocabulary)


def work(kind: str, batch: int, vocabulary: int, rng: np.random.Generator) -> Work:
    """Prompts of ids, and how many tokens are to follow each."""
    count = batch if kind == "even" else 4 * batch
    sizes = [64] * count if kind == "even" else rng.integers(16, 129, count).tolist()
    answers = [64] * count if kind == "even" else rng.integers(16, 129, count).tolist()
    first = len(SPECIAL_TOKENS)
    return [rng.integers(first, vocabulary, size).tolist() for size in sizes], answers


def ours(engine: Engine) -> Callable[[Work, int], float]:
    ends = tuple((token, -1e9) for token in (EOS, IM_END))

    def run(todo: Work, batch: int) -> float:
        requests = [
            GenerateRequest(tuple(prompt), Sampling(0.0, max_tokens=count, logit_bias=ends))
            for prompt, count in zip(*todo, strict=True)
        ]
        start = time.perf_counter()
        found = engine.generate(requests)
        seconds = time.perf_counter() - start
        assert [one.completion_tokens for [one] in found] == todo[1]
        return sum(todo[1]) / seconds

    return run


def theirs(folder: Path, dtype: torch.dtype) -> Callable[[Work, int], float]:
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()

    @torch.inference_mode()
    def run(todo: Work, batch: int) -> float:
        start = time.perf_counter()
        for first in range(0, len(todo[0]), batch):
            prompts, counts = todo[0][first : first + batch], todo[1][first : first + batch]
            longest = max(map(len, prompts))
            ids = torch.zeros(len(prompts), longest, dtype=torch.int64)
            mask = torch.zeros_like(ids)
            for row, prompt in enumerate(prompts):
                ids[row, longest - len(prompt) :] = torch.tensor(prompt)
                mask[row, longest - len(prompt) :] = 1
            most = max(counts)
            model.generate(ids, attention_mask=mask, do_sample=False, pad_token_id=0,
                           max_new_tokens=most, min_new_tokens=most)  # fmt: skip
        return sum(todo[1]) / (time.perf_counter() - start)

    return run


def bandwidth() -> float:
    """Bytes per second at which 512 MB are read; the best of several passes."""
    block = torch.ones(128 << 20)
    best = 0.0
    for _ in range(5):
        start = time.perf_counter()
        block.sum()
        best = max(best, block.numel() * 4 / (time.perf_counter() - start))
    return best


def measure(
    size: str, precision: str, batches: list[int], kinds: list[str], rounds: int
) -> list[Line]:
    model, tokenizer = build(size, precision)
    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    engine = Engine(model, tokenizer, "bench", batch=max(batches), memory_bytes=8 << 30)
    network = engine.network
    read = network.head.nbytes + sum(
        matrix.nbytes
        for layer in network.layers
        for matrix in (layer.qkv, layer.out, layer.gate_up, layer.down)
    )
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        export_hugging_face(model, tokenizer, Path(folder) / "hf")
        sides = (ours(engine), theirs(Path(folder) / "hf", dtype))
        for batch in batches:
            engine = Engine(model, tokenizer, "bench", batch=batch, memory_bytes=8 << 30)
            sides = (ours(engine), sides[1])
            for kind in kinds:
                rng = np.random.default_rng(batch)
                rates = []
                for round_ in range(rounds + 1):
                    todo = work(kind, batch, tokenizer.size, rng)
                    both = [side(todo, batch) for side in sides]
                    if round_:  # the first warms both up
                        rates.append(both)
                ratios = [a / b for a, b in rates]
                rate = statistics.median(a for a, _ in rates)
                share = rate * read / bandwidth() if batch == 1 else None
                lines.append(Line(size, precision, batch, kind, rate,
                                  statistics.median(b for _, b in rates),
                                  statistics.median(ratios), min(ratios), max(ratios),
                                  share))  # fmt: skip
                print(show(lines[-1]), flush=True)
    return lines


def show(line: Line) -> str:
    share = line.share_of_memory_bound
    return (
        f"{line.size:>5} {line.precision} batch {line.batch:2} {line.work:5}  ours {line.ours:7.1f}"
        f"  transformers {line.theirs:7.1f} tokens/s  ratio {line.ratio:5.2f} "
        f"[{line.low:.2f}, {line.high:.2f}]"
        + ("" if share is None else f"  {100 * share:.0f} % of the memory bound")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=SIZES)
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--work", nargs="+", default=["even", "mixed"], choices=["even", "mixed"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="write the lines here")
    wanted = parser.parse_args()
    torch.set_num_threads(wanted.threads)
    lines = [
        line
        for size in wanted.sizes
        for precision in wanted.precisions
        for line in measure(size, precision, wanted.batches, wanted.work, wanted.rounds)
    ]
    if wanted.json:
        wanted.json.write_text(json.dumps([asdict(line) for line in lines], indent=1) + "\n")


if __name__ == "__main__":
    main()
