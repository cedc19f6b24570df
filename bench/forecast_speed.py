"""Seconds of one core for reading, frontier, fit, back-test and intervals; and for the import.

Ladders and isoFLOP clouds of 100 and 2,000 rows, written as CSV and answered as `foresight fit`
does. Median of `--rounds` runs, processor time of this process with one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402

from foresight.forecast import answer, read_table  # noqa: E402

LIMITS = {100: 3.0, 2000: 30.0}
IMPORT_LIMIT = 0.5


def write(path: Path, rows: int, cloud: bool) -> None:
    """Budgets over four decades; a cloud has 20 sizes at each, a ladder several seeds."""
    rng = np.random.default_rng(0)
    each = 20 if cloud else max(rows // 50, 1)
    lines = ["params,tokens,compute,loss,seed"]
    for budget in np.geomspace(1e17, 1e21, rows // each):
        for i in range(each):
            off = float(np.log(3.0)) * (2 * i / (each - 1) - 1) if cloud else 0.0
            n = 0.1 * budget**0.5 * np.exp(off)
            loss = (1.7 + 2 * (budget / 1e17) ** -0.15) * np.exp(
                0.03 * off**2 + 0.002 * rng.normal()
            )
            lines.append(f"{n},{budget / (6 * n)},{budget},{loss},{i}")
    path.write_text("\n".join(lines) + "\n")


def seconds(path: Path) -> float:
    start = time.process_time()
    found = answer(read_table(path), [1e22])
    found.to_json()
    took = time.process_time() - start
    assert found.forecasts[0].point is not None, found.fitted.reasons
    return took


def import_seconds() -> float:
    code = (
        "import time; start = time.process_time(); import foresight.forecast; "
        "print(time.process_time() - start)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    return float(done.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        for rows, limit in LIMITS.items():
            for kind in ("ladder", "cloud"):
                path = Path(folder) / f"{kind}{rows}.csv"
                write(path, rows, kind == "cloud")
                times = [seconds(path) for _ in range(wanted.rounds)]
                result[f"{kind}, {rows} rows"] = (statistics.median(times), limit)
    times = [import_seconds() for _ in range(wanted.rounds)]
    result["import"] = (statistics.median(times), IMPORT_LIMIT)
    if wanted.json:
        print(json.dumps({k: {"seconds": s, "limit": x} for k, (s, x) in result.items()}, indent=1))
    else:
        for name, (took, limit) in result.items():
            print(f"{name:20} {took:6.2f} s of one core (limit {limit:g} s)")
    return int(any(took > limit for took, limit in result.values()))


if __name__ == "__main__":
    sys.exit(main())
