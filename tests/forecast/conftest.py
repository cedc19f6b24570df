"""A small ladder directory in the layout that `register` and `verify` expect, without training."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from foresight.forecast import Registration, Row, RunTable, Target, register, seal_outcome
from foresight.runs import Run, sha256_file, sha256_text, write_atomic, write_json

STEPS = 300
TOP = 2e12
METRIC = "bits_per_byte/code"


def table_of(compute: list[float], loss: list[float]) -> RunTable:
    """One run per rung."""
    rows = (Row(f"r{i}", c, v) for i, (c, v) in enumerate(zip(compute, loss, strict=True)))
    return RunTable(tuple(rows))


def true_loss(compute_flops: float) -> float:
    return float((compute_flops / TOP) ** -0.18 + 1.6)


@dataclass
class Ladder:
    """Writes run directories whose losses follow `true_loss`, as our trainer would."""

    directory: Path

    def hashes(self) -> dict[str, str]:
        corpus = self.directory / "corpus"
        return {
            "recipe": sha256_file(self.directory / "recipe.yaml"),
            "data": sha256_file(corpus / "manifest.json"),
            "tokenizer": sha256_file(corpus / "tokenizer.json"),
            "code": sha256_text("code"),
        }

    def manifest(self, run: Run, created: datetime) -> None:
        value = {"spec": {"name": run.path.name}, "hashes": self.hashes()}
        write_json(run.manifest_path, {**value, "created_utc": created.isoformat()})

    def train(
        self, path: str, compute: float, *, seed: int = 0, factor: float = 1.0, hour: int = 0,
        clip_rate: float = 0.0,
    ) -> Run:  # fmt: skip
        run = Run(self.directory / path)
        final = true_loss(compute) * factor
        self.manifest(run, datetime(2026, 1, 1, hour, tzinfo=UTC))
        rows = ""
        for step in range(5, STEPS + 1, 5):
            loss = 1.4 * final * (1 + 0.8 * math.exp(-6.0 * step / STEPS))
            rows += f'{{"step": {step}, "tokens": {step * 1024}, "loss": {loss:.6f}}}\n'
        write_atomic(run.metrics_path, rows)
        diagnostics = {"clip_rate": clip_rate, "epochs": 0.4, "head_share": 0.3, "copy_gain": 0.2}
        result = {
            "run": run.path.name, "compute_flops": compute, "params": 1000, "tokens": STEPS * 1024,
            "steps": STEPS, "seed": seed, "rung": f"{compute:.1e}",
            "losses": {"code": 1.4 * final, "mix": 1.4 * final},
            "bits_per_byte": {"code": final, "mix": final}, "diagnostics": diagnostics,
            "metrics_sha256": sha256_file(run.metrics_path),
        }  # fmt: skip
        write_json(run.result_path, result)
        return run

    def target(self, ratio: float = 10.0) -> Target:
        name = f"targets/x{ratio:g}"
        return Target(Run(self.directory / name), TOP * ratio, 10_000, 10_000_000, STEPS)

    def register(self, name: str = "x10", ratio: float = 10.0) -> Registration:
        runs = [Run(path) for path in sorted((self.directory / "ladder").iterdir())]
        now = datetime(2026, 1, 2, tzinfo=UTC)
        return register(
            self.directory, name=name, metric=METRIC, target=self.target(ratio), rungs=runs, now=now
        )


@pytest.fixture
def ladder(tmp_path: Path) -> Ladder:
    return build_ladder(tmp_path)


def build_ladder(tmp_path: Path) -> Ladder:
    """Five rungs of two seeds over two decades, one run clipped too often; nothing registered."""
    write_atomic(tmp_path / "recipe.yaml", "width: 64\nlearning_rate: 0.01\n")
    write_atomic(tmp_path / "corpus" / "tokenizer.json", '{"vocabulary": 512}\n')
    write_atomic(tmp_path / "corpus" / "code.bin", b"\x01\x02\x03")
    files = {f: sha256_file(tmp_path / "corpus" / f) for f in ("tokenizer.json", "code.bin")}
    write_json(tmp_path / "corpus" / "manifest.json", {"files": files})
    built = Ladder(tmp_path)
    for index in range(5):
        compute = TOP / 100 * 100 ** (index / 4)
        for seed in (0, 1):
            factor = 1 + 0.002 * (seed - 0.5)
            built.train(f"ladder/r{index}-s{seed}", compute, seed=seed, factor=factor)
    built.train("ladder/r2-s2", TOP / 10, seed=2, clip_rate=0.5, factor=1.2)
    return built


@pytest.fixture(scope="session")
def verified_once(tmp_path_factory: pytest.TempPathFactory) -> Ladder:
    """One finished and sealed target at 10x, one pending at 30x; not to be touched."""
    ladder = build_ladder(tmp_path_factory.mktemp("verified"))
    ladder.register("x10", 10.0)
    ladder.register("x30", 30.0)
    run = ladder.train("targets/x10", ladder.target().compute_flops)
    ladder.manifest(run, datetime(2026, 1, 3, tzinfo=UTC))
    seal_outcome(ladder.directory, run)
    return ladder


@pytest.fixture
def make_table() -> Callable[[list[float], list[float]], RunTable]:
    return table_of
