"""Back-test of loss-to-loss prediction on Gadre et al.'s runs (11M to 6.9B, two data sets).

Only runs of at most 1/k of the largest compute are shown, and metric B of the largest run of 20
tokens per parameter is predicted: from its observed metric A (`map`), from the forecast of A
(`map of forecast`), by a straight line in logs without floors (`line`), and by forecasting B
itself (`direct`). Estimand: log(predicted / observed), in %; 95 % coverage. Deterministic.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from pathlib import Path

import numpy as np

from foresight.forecast import Row, RunTable, fit
from foresight.forecast.scores import ScoreRow, ScoreTable
from foresight.forecast.transfer import Mapped, fit_map

FACTORS = (10, 100)
FROM = "loss_c4_val"
TO = (
    "loss_openlm", "loss_paloma_c4_en", "loss_paloma_dolma_100_programing_languages",
    "loss_paloma_falcon-refinedweb", "loss_paloma_ptb", "loss_paloma_redpajama",
    "loss_val_de-en_100",
)  # fmt: skip


def table(rows: list[dict[str, str]], metric: str) -> ScoreTable:
    kept = [row for row in rows if row[metric]]
    return ScoreTable(tuple(ScoreRow(row["run_id"], float(row["C"]), float(row[metric]))
                            for row in kept), metric)  # fmt: skip


def law(rows: list[dict[str, str]], metric: str) -> RunTable:
    ladder = [row for row in rows if float(row["chinchilla_multiplier"]) == 1.0]
    return RunTable(tuple(Row(r["run_id"], float(r["C"]), float(r[metric])) for r in ladder))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("../shared/data/scaling"))
    wanted = parser.parse_args()
    with (wanted.folder / "gadre_overtraining" / "runs.csv").open() as stream:
        every = list(csv.DictReader(stream))
    errors: dict[tuple[int, str], list[float]] = {}
    inside: dict[tuple[int, str], list[bool]] = {}
    for data in ("c4_original", "rpj"):
        rows = [row for row in every if row["train_set"] == data]
        target = max((r for r in rows if float(r["chinchilla_multiplier"]) == 1.0),
                     key=lambda row: float(row["C"]))  # fmt: skip
        compute = float(target["C"])
        for k in FACTORS:
            shown = [row for row in rows if float(row["C"]) <= 1.02 * compute / k]
            forecast = fit(law(shown, FROM)).predict(compute, force=True)
            for metric in TO:
                observed = float(target[metric])
                mapping = fit_map(table(shown, FROM), table(shown, metric))
                direct = fit(law(shown, metric)).predict(compute, force=True)
                assert direct.point is not None and direct.intervals is not None
                x, y = (np.log([float(row[name]) for row in shown]) for name in (FROM, metric))
                line = math.exp(np.polyval(np.polyfit(x, y, 1), math.log(float(target[FROM]))))
                made = {
                    "map": mapping.predict(float(target[FROM])),
                    "map of forecast": mapping.predict(forecast),
                    "direct": Mapped(direct.point, direct.intervals),
                    "line": Mapped(line, {}),
                }
                cells = []
                for name, one in made.items():
                    error = 100 * math.log(one.point / observed)
                    errors.setdefault((k, name), []).append(error)
                    cells.append(f"{name} {error:+6.2f}")
                    if one.intervals:
                        low, high = one.intervals[95]
                        inside.setdefault((k, name), []).append(low <= observed <= high)
                kappa = mapping.summary()["kappa"]
                print(f"{data:12} k={k:<4}{metric:44} {'  '.join(cells)}  kappa {kappa:.2f} "
                      f"of {mapping.runs} runs", flush=True)  # fmt: skip
    for (k, name), values in errors.items():
        hits = inside.get((k, name), [])
        held = f"95 % hold {sum(hits)} of {len(hits)}" if hits else ""
        print(f"k = {k:4} {name:16} median |error| {np.median(np.abs(values)):.2f} %, largest "
              f"{np.max(np.abs(values)):.2f} %  {held}")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
