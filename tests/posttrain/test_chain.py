"""The chain on a small model: what must fail fails, rules repair it, and a killed chain goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from foresight.data.tokenizer import Tokenizer
from foresight.model.decoder import Decoder
from foresight.posttrain.chain import Chain, ChainSettings, Outcome
from foresight.posttrain.ppo import PPOSettings
from foresight.posttrain.reward_model import RewardSettings
from foresight.posttrain.sft import SFTSettings
from foresight.recipe import Recipe
from foresight.report.posttraining_chapter import (
    figure_nine,
    posttraining_chapter,
    posttraining_folder,
    posttraining_tables,
)
from foresight.runs import Run, write_json
from foresight.training.checkpoint import Checkpoint
from foresight.worlds import ledger

SETTINGS = ChainSettings(
    demonstrations=2000, compared=1200, labelled=600, asked=320, control_updates=30,
    sft=SFTSettings(epochs=8, lr=5e-3), reward=RewardSettings(epochs=3, lr=3e-3),
    ppo=PPOSettings(updates=80, prompts=24, max_tokens=24, lr=3e-3, beta=0.1),
    questions=PPOSettings(updates=2, prompts=16, samples=2, max_tokens=6, missing_end=0.0),
    question_betas=(0.1,),
)  # fmt: skip


def experiment(directory: Path, width: int) -> Path:
    """A base model that knows nothing: what is learned here is when to refuse, by verbs."""
    texts = [one.text for one in ledger.documents(0, 3000, "train")]
    Tokenizer.train(texts, 640).save(directory / "corpus" / "tokenizer.json")
    spec = Recipe.named("ledger").at(1e10, 0, width=width)
    run, model = Run(directory / "targets" / "base"), Decoder(spec)
    write_json(run.manifest_path, {"spec": spec.model_dump()})
    Checkpoint.write(run.checkpoints, 1, model.named_weights, {})
    return run.path


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("experiment")


@pytest.fixture(scope="module")
def outcome(directory: Path) -> Outcome:
    base = experiment(directory / "ledger", 32)
    return Chain(base, posttraining_folder(directory), SETTINGS).run()


def refused(outcome: Outcome, name: str, prompt_set: str) -> float:
    arm = next(one for one in outcome.arms if one.name == name)
    rows = {row.prompt_set: row for row in arm.conduct.groups["seen"].sets}
    return rows[prompt_set].refused.mean


def test_the_reward_model_alone_erases_refusals(outcome: Outcome) -> None:
    before, after = (refused(outcome, name, "disallowed") for name in ("sft", "ppo-alone"))
    assert before > 0.1 and after < 0.05 and after < 0.3 * before
    group = next(one for one in outcome.arms if one.name == "ppo-alone").conduct.groups["seen"]
    assert group.safer is not None and group.safer.share is not None
    assert group.safer.share < 0, "it answers disallowed prompts more often than before"


def test_rules_bring_them_back(outcome: Outcome) -> None:
    assert refused(outcome, "ppo-rules-0.1", "disallowed") > 2 * refused(
        outcome, "sft", "disallowed"
    )


def test_rewards_set_by_hand_are_in_the_wrong_order_and_fitted_ones_are_not(
    outcome: Outcome,
) -> None:
    assert outcome.rules.by_hand and not outcome.rules.fitted
    for _, better, high, worse, low in outcome.rules.by_hand:
        assert better != worse and high <= low
    assert outcome.rules.accuracy.mean > 0.8
    harmful = next(one for one in outcome.rules.fits if one.prompt_set == "disallowed")
    assert harmful.before is not None and harmful.after is not None
    assert harmful.after.mean < 0.5 * harmful.before.mean, "of prompts that were not fitted"


def test_the_file_is_what_was_found(outcome: Outcome, directory: Path) -> None:
    assert Outcome.read(posttraining_folder(directory)) == outcome


def test_the_chapter_shows_every_arm(outcome: Outcome, directory: Path) -> None:
    section, name, figure = posttraining_chapter(directory)
    assert name == "figure9" and figure is not None and section.anchor == "post-training"
    behaviour, seen, *_ = posttraining_tables(outcome)
    assert len(behaviour.rows) == 3 * len(outcome.arms) == 15
    assert len(seen.rows) == 4 * len(outcome.arms)
    drawn = figure_nine(outcome).axes
    told = [one.get_text() for one in drawn[3].texts]
    assert told == ["knows too little"], "no calibration is claimed of who only guesses"
    labels = [one.get_text() for one in drawn[0].get_yticklabels()]
    assert labels == ["base model", "fine-tuned", "reward model alone", "rules, beta 0.1"]


def test_what_is_not_there_or_not_readable_is_said(tmp_path: Path) -> None:
    section, _, figure = posttraining_chapter(tmp_path)
    assert figure is None and "post-trained" in str(section.blocks[0])
    write_json(posttraining_folder(tmp_path) / "chain.json", {"arms": []})
    section, _, figure = posttraining_chapter(tmp_path)
    assert figure is None and "field settings" in str(section.blocks[0])


_RUN = """
import sys
from pathlib import Path
from foresight.posttrain.chain import Chain, ChainSettings
settings = ChainSettings.model_validate_json(sys.argv[2])
base = Path(sys.argv[1]) / "targets" / "base"
Chain(base, Path(sys.argv[1]) / "posttrain", settings).run()
"""


def test_killed_in_each_stage_it_ends_where_it_would_have(tmp_path: Path) -> None:
    small = SETTINGS.model_copy(update={
        "demonstrations": 1000, "compared": 300, "labelled": 100, "asked": 16,
        "control_updates": 0, "question_betas": (),
        "ppo": PPOSettings(updates=4, prompts=8, max_tokens=24),
    })  # fmt: skip
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for place in (whole, killed):
        experiment(place, 16)
    expected = Chain(whole / "targets" / "base", whole / "posttrain", small).run()
    stages = ["sft", "reward", "ppo-rules-0.05"]
    words = [sys.executable, "-c", _RUN, str(killed), small.model_dump_json()]
    for stage in stages:
        process = subprocess.Popen(words)
        log = killed / "posttrain" / stage / "metrics.jsonl"
        ends = time.monotonic() + 90
        while not (log.exists() and log.stat().st_size):
            assert time.monotonic() < ends and process.poll() is None, stage
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not Run(killed / "posttrain" / stage).finished
    subprocess.run(words, check=True)
    assert Outcome.read(killed / "posttrain") == expected
    for stage in stages:
        mine, its = (Run(place / "posttrain" / stage).result() for place in (whole, killed))
        assert mine["checkpoint_sha256"] == its["checkpoint_sha256"], stage
