from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from foresight.errors import UserError
from foresight.forecast import answer, read_folder
from tests.command import typed
from tests.forecast.event_files import golden, write_events

SIZES = [1e6 * 2**i for i in range(8)]


def loss_of(params: float) -> float:
    return float(1.8 + 1.5 * (120 * params * params / 1e14) ** -0.1)


def tensorboard(folder: Path, **extra: list[tuple[int, float]]) -> Path:
    """A run per size, 20 tokens per parameter; the training loss is lower, to be told apart."""
    for index, params in enumerate(SIZES):
        final = loss_of(params)
        scalars = {
            "train/loss": [(0, 9.0), (1000, final - 0.3)],
            "eval/loss": [(500, final + 0.5), (1000, final)],
            "num_params": [(0, params)],
            "tokens_seen": [(500, 10 * params), (1000, 20 * params)],
        }
        write_events(folder / f"m{index}" / "events.out.tfevents.1.host", scalars | extra)
    return folder


def wandb(folder: Path) -> Path:
    for index, params in enumerate(SIZES):
        home = folder / f"run-2026010{index}_120000-ab{index}" / "files"
        home.mkdir(parents=True)
        config = {
            "wandb_version": 1,
            "_wandb": {"desc": None, "value": {"python_version": "3.11"}},
            "model": {"desc": None, "value": {"n_params": params, "d": 64}},
            "seed": {"value": 1},
        }
        (home / "config.yaml").write_text(yaml.safe_dump(config))
        summary = {
            "_step": 77, "_runtime": 3.5, "train/loss": 1.0, "val/loss": loss_of(params),
            "data": {"total_tokens": 20 * params}, "note": "x",
        }  # fmt: skip
        (home / "wandb-summary.json").write_text(json.dumps(summary))
        (home / "wandb-metadata.json").write_text('{"program": "train.py"}')
    os.symlink(folder / "run-20260107_120000-ab7", folder / "latest-run")
    return folder


@pytest.mark.parametrize(("write", "tag"), [(tensorboard, "eval/loss"), (wandb, "val/loss")])
def test_a_folder_gives_the_table_of_its_runs(tmp_path: Path, write: Any, tag: str) -> None:
    table = read_folder(write(tmp_path))
    rows = sorted(table.rows, key=lambda row: row.compute_flops)
    assert table.metric == tag and len(rows) == len(SIZES)
    for row, params in zip(rows, SIZES, strict=True):
        assert row.loss == pytest.approx(loss_of(params), rel=1e-6)
        assert (row.params, row.tokens) == (pytest.approx(params), pytest.approx(20 * params))
        assert row.compute_flops == pytest.approx(120 * params**2)
    said = "; ".join(table.remarks)
    assert f"of {tag} the last value counts" in said and "tokens <- " in said
    forecast = answer(table, [1e19]).forecasts[0]
    assert forecast.intervals is not None
    low, high = forecast.intervals[95]
    assert low < 1.8 + 1.5 * 1e5**-0.1 < high


def test_names_and_steps_of_runs(tmp_path: Path) -> None:
    row = read_folder(tensorboard(tmp_path / "tb")).rows[0]
    assert (row.run, row.steps, row.seed) == ("m0", 1000, None)
    row = read_folder(wandb(tmp_path / "wandb")).rows[0]
    # W&B's own counter of log calls is no step of the optimizer.
    assert (row.run, row.steps, row.seed) == ("run-20260100_120000-ab0", None, 1)


def test_hyper_parameters_and_configurations_beside_events(tmp_path: Path) -> None:
    golden(tmp_path / "a")  # n_params in the events, tokens as a tensor
    write_events(tmp_path / "b" / "x.tfevents", {"val/loss": [(5, 2.0)]})
    (tmp_path / "b" / "hparams.yaml").write_text("model:\n  n_params: 7e6\ntokens: 1.0e+9\n")
    # YAML reads 7e6 (no dot, no sign) as text: not a number, so the run has no size.
    with pytest.raises(UserError, match=r"b, field compute_flops: missing"):
        read_folder(tmp_path)
    (tmp_path / "b" / "hparams.yaml").write_text("model:\n  n_params: 7000000\ntokens: 1.0e+9\n")
    rows = {row.run: row for row in read_folder(tmp_path).rows}
    assert rows["a"].params == 1.5e8 and rows["a"].tokens == 2e9 and rows["a"].seed == 3
    assert rows["b"].params == 7e6 and rows["b"].compute_flops == 6 * 7e6 * 1e9


def test_runs_without_a_final_loss_are_left_out_by_name(tmp_path: Path) -> None:
    tensorboard(tmp_path)
    size = {"num_params": [(0, 1e6)], "tokens_seen": [(0, 2e7)]}
    write_events(tmp_path / "crashed" / "x.tfevents", {"train/loss": [(3, 8.0)], **size})
    nan = float("nan")
    write_events(tmp_path / "diverged" / "x.tfevents", {"eval/loss": [(9, nan)], **size})
    write_events(tmp_path / "midway" / "x.tfevents", {"eval/loss": [(500, 3.0)], **size})
    (tmp_path / "midway" / "config.json").write_text('{"train": {"max_steps": 1000}}')
    table = read_folder(tmp_path)
    assert len(table.rows) == len(SIZES)
    said = [remark for remark in table.remarks if "left out" in remark]
    assert [one.split("left out, ")[1] for one in said] == [
        "it has no eval/loss",
        "its last eval/loss is nan",
        "its last eval/loss is of step 500 of 1,000",
    ]
    (tmp_path / "midway" / "config.json").write_text('{"train": {"max_steps": 510}}')
    assert len(read_folder(tmp_path).rows) == len(SIZES) + 1


def test_a_run_that_resumed_and_one_that_was_killed(tmp_path: Path) -> None:
    tensorboard(tmp_path)
    first = tmp_path / "m0" / "events.out.tfevents.1.host"
    write_events(tmp_path / "m0" / "later" / "a.tfevents", {"eval/loss": [(1200, 2.25)]})
    write_events(tmp_path / "m0" / "later" / "b.tfevents", {"eval/loss": [(800, 7.0)]})
    killed = tmp_path / "m1" / "events.out.tfevents.1.host"
    killed.write_bytes(killed.read_bytes() + first.read_bytes()[:5])
    table = read_folder(tmp_path)
    assert (table.rows[0].loss, table.rows[0].steps) == (2.25, 1200)
    assert any("m1" in one and "ends inside a record" in one for one in table.remarks)


def test_keras_keeps_its_splits_apart(tmp_path: Path) -> None:
    size = {"num_params": [(0, 1e6)], "tokens_seen": [(0, 2e7)]}
    write_events(tmp_path / "a" / "train" / "x.tfevents", {"loss": [(9, 1.0)], **size})
    write_events(tmp_path / "a" / "validation" / "x.tfevents", {"loss": [(9, 2.0)]})
    table = read_folder(tmp_path)
    assert (table.metric, table.rows[0].loss) == ("validation/loss", 2.0)


def test_which_loss(tmp_path: Path) -> None:
    other = {"eval/c4": [(1000, 2.0)], "eval/pile": [(1000, 2.0)]}
    tensorboard(tmp_path, **other)
    assert read_folder(tmp_path, "train/loss").rows[0].loss == pytest.approx(
        loss_of(SIZES[0]) - 0.3, rel=1e-6
    )
    with pytest.raises(UserError, match=r"no run has 'eval/owt'; they have train/loss, eval/loss"):
        read_folder(tmp_path, "eval/owt")
    write_events(tmp_path / "m0" / "y.tfevents", {"eval/a/bpb": [(1, 1.0)], "x/bpb": [(1, 1.0)]})
    assert read_folder(tmp_path).metric == "eval/loss"
    for home in tmp_path.iterdir():
        (home / "events.out.tfevents.1.host").unlink()
    with pytest.raises(UserError, match=r"eval/a/bpb or x/bpb\? Name one with --loss"):
        read_folder(tmp_path)
    write_events(tmp_path / "m0" / "y.tfevents", {"accuracy": [(1, 1.0)]})
    with pytest.raises(UserError, match="field loss: not among accuracy"):
        read_folder(tmp_path)


def test_settings_of_something_else_are_not_the_run_s(tmp_path: Path) -> None:
    size = {"num_params": [(0, 1e6)], "warmup/tokens": [(0, 5.0)], "eval/tokens": [(0, 6.0)]}
    write_events(tmp_path / "a" / "x.tfevents", {"val_loss": [(9, 2.0)], **size})
    with pytest.raises(UserError, match="field compute_flops: missing"):
        read_folder(tmp_path)
    write_events(tmp_path / "a" / "y.tfevents", {"data/tokens": [(9, 2e7)]})
    assert read_folder(tmp_path).rows[0].tokens == 2e7


def test_damage_is_named(tmp_path: Path) -> None:
    tensorboard(tmp_path / "tb")
    path = tmp_path / "tb" / "m3" / "events.out.tfevents.1.host"
    path.write_bytes(path.read_bytes().replace(b"eval/loss", b"eval/lozz", 1))
    with pytest.raises(UserError, match=r"m3.*byte \d+: damaged"):
        read_folder(tmp_path / "tb")
    home = wandb(tmp_path / "wandb") / "run-20260103_120000-ab3" / "files"
    (home / "config.yaml").write_text("a: [")
    with pytest.raises(UserError, match=r"ab3/files/config\.yaml: cannot be read"):
        read_folder(tmp_path / "wandb")
    (home / "config.yaml").write_text("- a\n")
    with pytest.raises(UserError, match=r"config\.yaml: expected names with values"):
        read_folder(tmp_path / "wandb")


def test_our_own_runs_without_their_recipe(ladder: Any) -> None:
    table = read_folder(ladder.directory / "ladder", "bits_per_byte/code")
    assert len(table.rows) == 11 and len(table.fitted) == 10
    assert read_folder(ladder.directory / "ladder").metric == "losses/mix"
    (ladder.directory / "ladder" / "r4-s1" / "result.json").unlink()
    table = read_folder(ladder.directory / "ladder")
    assert len(table.rows) == 10 and "r4-s1: left out, not finished" in table.remarks[0]
    for path in (ladder.directory / "ladder").glob("*/result.json"):
        path.unlink()
    with pytest.raises(UserError, match="none of its 11 runs is finished"):
        read_folder(ladder.directory / "ladder")


def test_the_command_reads_folders(tmp_path: Path) -> None:
    done = typed("fit", tensorboard(tmp_path / "tb"), "--at", "1e19", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["provenance"]["metric"] == "eval/loss" and found["at"][0]["loss"] > 1.8
    done = typed("fit", tmp_path / "tb", "--group", "arm")
    assert done.returncode == 2 and "--group names a column" in done.stderr
    (tmp_path / "nothing").mkdir()
    done = typed("fit", tmp_path / "nothing")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    for looked_for in ("recipe.yaml", "result.json", "tfevents", "wandb-summary.json"):
        assert looked_for in done.stderr
