"""Serves the red team's page with a model that writes what depends on prompt and seed.

`python -m tests.posttrain.red_team_page FOLDER PORT` prints the address and serves until killed.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from foresight.inference.language_model import GenerateRequest
from foresight.posttrain.red_team import Exercise, Settings
from foresight.report.red_team_server import serve_red_team
from tests.evals.models import Written, unit


def answer(prompt: str, request: GenerateRequest) -> str:
    if "Slow" in prompt:
        time.sleep(1.0)
    return f"so {unit(prompt + str(request.sampling.seed)):.12f} <b>"


if __name__ == "__main__":
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    with Exercise(folder, Written(answer, name="m"), Settings(), "ann") as exercise:
        server, url = serve_red_team(exercise, folder, port)
        print(url, flush=True)
        server.serve_forever()
