"""`foresight watch` on the logs of any trainer, as a process."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from bench.watch import World
from foresight.views.watch import follow_run
from tests.command import foresight


@pytest.fixture(scope="module")
def world() -> World:
    return World(np.random.default_rng(4))


def lines(loss: np.ndarray) -> list[str]:
    return [f'{{"iter": {s}, "train_loss": {v:.6f}}}\n' for s, v in enumerate(loss, start=1)]


@pytest.fixture
def like(world: World, tmp_path: Path) -> list[object]:
    """The options that give the world's ladder and forecast."""
    options: list[object] = ["--final", *world.watch.reference.final]
    for number, (_, loss) in enumerate(world.curves):
        path = tmp_path / f"rung{number}.jsonl"
        path.write_text("".join(lines(loss)))
        options += ["--like", path]
    return options


def test_clean_faulty_and_wrong(world: World, like: list[object], tmp_path: Path) -> None:
    log, (t, clean) = tmp_path / "live.jsonl", world.run()
    log.write_text("".join(lines(clean)[: len(t) // 2]) + '{"iter": 9')
    size = ["--steps", len(t)]
    done = foresight("watch", log, *like, *size, "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    look = json.loads(done.stdout)
    assert look["state"] == "running" and look["fraction"] == pytest.approx(0.5, abs=0.01)
    table = foresight("watch", log, *like, *size)
    assert table.returncode == 0 and "no alarm" in table.stdout and "in flight" in table.stdout
    _, bad = world.run("learning rate x4 from 10 %")
    log.write_text("".join(lines(bad)[: len(t) // 2]))
    done = foresight("watch", log, *like, *size, "--json", "-")
    assert done.returncode == 1 and json.loads(done.stdout)["alarms"][0]["fraction"] < 0.3
    for arguments, message in (
        ([log, *like], "pass --steps"),
        ([log, *like[:4]], "--like and --final belong together"),
        ([log, *like[:6], *size], "at least 4 finished curves"),
        ([tmp_path / "absent", *like, *size], "cannot be read"),
        ([log, "--against", like[5]], "not"),
        ([log, *like, *size, "--plot", tmp_path / "x.pdf"], "expected .svg or .png"),
    ):
        done = foresight("watch", *arguments)
        assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
        assert message in done.stderr.replace("\n", " "), done.stderr


def test_follow_ends_with_the_run(world: World, like: list[object], tmp_path: Path) -> None:
    log, (t, loss) = tmp_path / "live.jsonl", world.run()
    rows = lines(loss)
    command = [sys.executable, "-m", "foresight", "watch", str(log), "--follow", "--json",
               "--steps", str(len(t)), *map(str, like)]  # fmt: skip
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    time.sleep(1.0)
    log.write_text("".join(rows[: len(rows) // 2]))
    time.sleep(1.0)
    with log.open("a") as stream:
        stream.write("".join(rows[len(rows) // 2 :]))
    out, errors = child.communicate(timeout=120)
    assert child.returncode == 0, errors
    assert json.loads(out)["state"] == "finished"


def test_ctrl_c_ends_following_with_the_last_look(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, (t, loss) = tmp_path / "live.jsonl", world.run()
    rows = lines(loss)
    log.write_text("".join(rows[: len(rows) // 2]))
    shown = Console(file=io.StringIO(), force_terminal=True, width=120)
    slept = 0

    def sleep(_: float) -> None:
        nonlocal slept
        slept += 1
        with log.open("a") as stream:
            stream.write(rows[len(rows) // 2])
        if slept == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
    look = follow_run(shown, world.watch, log, len(t), True)
    assert look.state == "running" and look.step == len(rows) // 2 + 1 and slept == 2
