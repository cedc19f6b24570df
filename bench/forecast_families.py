"""Public ladders as tables: one family is one recipe of one source, its runs the rows.

Read from `shared/data/scaling` beside the checkout (each folder has a SOURCE.md). Nothing is
filtered by what a fit would like: only rows that are no runs of the recipe are left out, and
the reason stands at the reader.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from foresight.forecast import Row


@dataclass(frozen=True)
class Family:
    """Runs of one recipe: arrays of equal length, FLOPs, parameters, tokens, loss.

    `source` groups families that share data or authors: leave-one-family-out leaves out all of
    one source. `trap`: the name of the trap of design/forecasting.md it falls into, if any.
    """

    source: str
    name: str
    compute: np.ndarray
    params: np.ndarray
    tokens: np.ndarray
    loss: np.ndarray
    trap: str | None = None

    def below(self, compute_flops: float) -> Family:
        """The runs of at most so much compute (2 % of rounding allowed)."""
        kept = self.compute <= 1.02 * compute_flops
        return Family(
            self.source,
            self.name,
            self.compute[kept],
            self.params[kept],
            self.tokens[kept],
            self.loss[kept],
            self.trap,
        )


def rows_of(family: Family) -> list[Row]:
    """The family as rows of a run table."""
    return [
        Row(f"r{i}", c, loss, None if math.isnan(n) else n, None if math.isnan(d) else d)
        for i, (c, n, d, loss) in enumerate(
            zip(family.compute, family.params, family.tokens, family.loss, strict=True)
        )
    ]


def _family(source: str, name: str, frame: pd.DataFrame, trap: str | None = None) -> Family:
    frame = frame.dropna(subset=["C", "loss"]).sort_values("C")
    columns = (frame[key].to_numpy(float) for key in ("C", "N", "D", "loss"))
    return Family(source, name, *columns, trap=trap)


def chinchilla(folder: Path) -> Iterator[Family]:
    frame = pd.read_csv(folder / "chinchilla_epoch" / "runs.csv")
    # Epoch AI drop the five worst runs: their colours lie outside the map they were read from.
    yield _family("chinchilla", "chinchilla", frame.nsmallest(len(frame) - 5, "loss"))


def gadre(folder: Path) -> Iterator[Family]:
    frame = pd.read_csv(folder / "gadre_overtraining" / "runs.csv")
    for data, rows in frame.groupby("train_set"):
        for metric in ("loss_c4_val", "loss_openlm"):
            yield _family("gadre", f"{data} {metric}", rows.assign(loss=rows[metric]))


def porian(folder: Path) -> Iterator[Family]:
    frame = pd.read_csv(folder / "porian_owt2" / "isoflop_points.csv")
    keys = ["hparams", "warmup", "decay", "param_count", "val"]
    for key, rows in frame.groupby(keys):
        trap = "long_cosine" if key[2] == "kaplan" else None
        yield _family("porian", " ".join(key), rows, trap)


def marin(folder: Path) -> Iterator[Family]:
    for name in ("comma", "dclm"):
        frame = pd.read_csv(folder / "isoflops" / f"marin_raw_isoflop-{name}.csv")
        frame = frame.assign(
            C=frame["throughput/total_gflops"] * 1e9,
            N=frame["parameter_count"],
            D=frame["throughput/total_tokens"],
            loss=frame["eval/paloma/macro_loss"],
        )
        yield _family("marin", name, frame)


def misfitting(folder: Path) -> Iterator[Family]:
    frame = pd.read_csv(folder / "isoflops" / "misfitting.csv")
    yield _family(
        "misfitting", "fineweb_c4",
        frame.assign(C=frame["budget"], N=frame["params"], D=frame["tokens"]),
    )  # fmt: skip


def gemstones(folder: Path) -> Iterator[Family]:
    for name in ("wandb_df_for_fitting_cool_end", "fineweb_dclm_losses_combined"):
        frame = pd.read_json(folder / "gemstones" / f"{name}.jsonl", lines=True)
        frame = frame.assign(
            N=frame["params_active_precise"], D=frame["tokens"], loss=frame["final_loss"]
        )
        frame = frame.assign(C=6.0 * frame["N"] * frame["D"])
        yield _family("gemstones", name.split("_losses")[0], frame, "mid_run")


def nanochat(folder: Path) -> Iterator[Family]:
    frame = pd.read_csv(folder / "nanochat_isoflop" / "optima.csv")
    yield _family("nanochat", "nanochat", frame.assign(N=frame["N_eff"], loss=frame["val_bpb"]))


def pythia(folder: Path) -> Iterator[Family]:
    frame = pd.read_csv(folder / "pythia_evals" / "pythia_v1_evals_core.csv")
    frame = frame[(frame["task"] == "lambada_openai") & (frame["metric"] == "ppl")]
    frame = frame[(frame["shots"] == "zero-shot") & (frame["step"] == 143000)]
    for deduped, rows in frame.groupby("deduped"):
        name = "lambada, deduplicated" if deduped else "lambada"
        yield _family("pythia", name, rows.assign(loss=np.log(rows["value"])), "fixed_tokens")


READERS: tuple[Callable[[Path], Iterator[Family]], ...] = (
    chinchilla, gadre, porian, marin, misfitting, gemstones, nanochat, pythia,
)  # fmt: skip


def families(folder: Path) -> list[Family]:
    """Every family. `folder` is `shared/data/scaling`."""
    return [family for reader in READERS for family in reader(folder)]
