"""What a recipe will cost on this machine: measured in seconds, before anything is spent."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass

import numpy as np
import torch

from foresight.compute import Shape
from foresight.data.loader import Batch
from foresight.recipe import Recipe, RunSpec
from foresight.training.ladder import cores
from foresight.training.trainer import Trainer

_PROBE_SECONDS = 0.4


@dataclass(frozen=True)
class PlannedRun:
    """One line of a plan; seconds on one core, memory and disk in bytes."""

    name: str
    role: str
    compute_flops: float
    width: int
    depth: int
    active_params: int
    tokens: int
    steps: int
    seeds: int
    flops_per_second: float
    seconds: float
    memory_bytes: int
    disk_bytes: int


class RandomRows:
    """Rows of random ids: a probe's data, with the loader's interface."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape

    def rows(self, start: int, count: int) -> Batch:
        size = (count, self._shape.context)
        ids = np.random.default_rng(start).integers(64, self._shape.vocab, size)
        zeros = np.zeros(size, np.int64)
        return Batch(
            inputs=ids,
            targets=ids,
            weights=np.ones(size, np.float32),
            positions=np.broadcast_to(np.arange(size[1]), size).copy(),
            segments=zeros,
            patches=np.zeros((0, 3 * self._shape.patch**2), np.uint8),
            sources=zeros,
        )


def measure_flops_per_second(spec: RunSpec) -> float:
    """Training FLOPs per second of one core at the shape and batch of `spec`."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        trainer = Trainer(spec, RandomRows(spec.shape))
        trainer.update()
        started, steps = time.perf_counter(), 0
        while time.perf_counter() - started < _PROBE_SECONDS:
            trainer.update()
            steps += 1
        seconds = (time.perf_counter() - started) / steps
    finally:
        torch.set_num_threads(threads)
    return spec.batch_tokens * spec.shape.flops_per_token() / seconds


def plan(recipe: Recipe) -> list[PlannedRun]:
    """Every rung and target of a recipe with its measured cost on this machine."""
    speeds: dict[int, float] = {}
    # Interpreter and torch, as they stand in this process before the first probe.
    process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    planned = []
    rungs = zip(recipe.ladder.rungs, recipe.ladder.seeds, strict=True)
    wanted = [("rung", compute, seeds) for compute, seeds in rungs]
    wanted += [("target", compute, 1) for compute in recipe.ladder.targets]
    for role, compute, seeds in wanted:
        spec = recipe.at(compute)
        width = spec.shape.width
        if width not in speeds:
            speeds[width] = measure_flops_per_second(spec)
        planned.append(
            PlannedRun(
                name=f"c{compute:.1e}",
                role=role,
                compute_flops=compute,
                width=width,
                depth=spec.shape.depth,
                active_params=spec.shape.active_params,
                tokens=spec.tokens,
                steps=spec.steps,
                seeds=seeds,
                flops_per_second=speeds[width],
                seconds=compute / speeds[width],
                memory_bytes=process + spec.shape.training_bytes(spec.batch_tokens),
                disk_bytes=spec.steps * 200 + (16 * spec.shape.params if role == "target" else 0),
            )
        )
    return planned


def wall_seconds(planned: list[PlannedRun], role: str, count: int | None = None) -> float:
    """Wall time of all runs of a role (the first `count` of them) on this machine's cores."""
    chosen = [one for one in planned if one.role == role][:count]
    each = sorted((one.seconds for one in chosen for _ in range(one.seeds)), reverse=True)
    loads = [0.0] * cores()
    for seconds in each:
        loads[loads.index(min(loads))] += seconds
    return max(loads)
