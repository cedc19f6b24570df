"""Verbs of post-training: sft, reward, ppo, dpo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foresight.cli.common import AsJson, app, console, emit, errors

if TYPE_CHECKING:
    from pydantic import BaseModel

    from foresight.data.tokenizer import Tokenizer
    from foresight.model.decoder import Decoder
    from foresight.posttrain.conversations import ChatPrompt
    from foresight.posttrain.ppo import PPOSettings
    from foresight.posttrain.rollout import Reward
    from foresight.posttrain.tuning import Begin, Finish
    from foresight.training.loop import Stepper

Base = Annotated[Path, typer.Argument(help="Run directory to start from.")]
Out = Annotated[
    Path | None,
    typer.Option(help="Run directory, in the experiment of BASE; default: posttrain/VERB."),
]
SettingsFile = Annotated[
    Path | None, typer.Option("--settings", help="YAML of the stage's settings.")
]
Seed = Annotated[int | None, typer.Option(help="Of orders and draws.")]
Rate = Annotated[float | None, typer.Option("--lr", help="Peak learning rate.")]


@app.command()
def sft(
    base: Base,
    demonstrations: Annotated[Path, typer.Argument(help="JSONL of OpenAI-style `messages`.")],
    out: Out = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the data.")] = None,
    lr: Rate = None,
    seed: Seed = None,
    settings: SettingsFile = None,
    as_json: AsJson = False,
) -> None:
    """Fine-tune on demonstrations: the loss of what the assistant says, nothing else."""
    from foresight.posttrain.conversations import read_demonstrations
    from foresight.posttrain.sft import SFT, SFTSettings, encode_demonstrations
    from foresight.posttrain.tuning import read_settings
    from foresight.runs import sha256_file

    chosen = read_settings(SFTSettings, settings, epochs=epochs, lr=lr, seed=seed)
    read = read_demonstrations(demonstrations)

    def begin(model: Decoder, tokenizer: Tokenizer) -> tuple[Stepper, Finish]:
        shape = model.spec.shape
        encoded = encode_demonstrations(read, tokenizer, shape.patch, shape.context)
        stage = SFT(model, encoded, chosen)
        return stage, lambda: {"demonstrations": len(read)}

    inputs = {"demonstrations": sha256_file(demonstrations)}
    _carry_out("sft", base, out, chosen, inputs, begin, as_json)


@app.command()
def reward(
    base: Base,
    pairs: Annotated[Path, typer.Argument(help="JSONL of pairs or rankings.")],
    out: Out = None,
    held_out: Annotated[float, typer.Option(help="Share of prompts the report is about.")] = 0.2,
    epochs: Annotated[int | None, typer.Option(help="Passes over the pairs.")] = None,
    lr: Rate = None,
    seed: Seed = None,
    settings: SettingsFile = None,
    as_json: AsJson = False,
) -> None:
    """Train a reward model on what people preferred, and say what it is worth."""
    from foresight.posttrain.conversations import read_pairs
    from foresight.posttrain.pairs import divide, encode_pairs
    from foresight.posttrain.reward_model import (
        RewardSettings,
        RewardTraining,
        normalise,
        report_on,
    )
    from foresight.posttrain.scalar_model import ScalarModel
    from foresight.posttrain.tuning import read_settings
    from foresight.runs import sha256_file

    chosen = read_settings(RewardSettings, settings, epochs=epochs, lr=lr, seed=seed)
    read = read_pairs(pairs)

    def begin(model: Decoder, tokenizer: Tokenizer) -> tuple[Stepper, Finish]:
        shape = model.spec.shape
        encoded = encode_pairs(read, tokenizer, shape.patch, shape.context)
        learned, kept = divide(encoded, held_out)
        scalar = ScalarModel(model.spec, chosen.seed)
        scalar.start_from(model.named_weights)
        stage = RewardTraining(scalar, learned, chosen)

        def finish() -> dict[str, Any]:
            normalise(scalar, [side for one in learned for side in (one.chosen, one.rejected)])
            return {"pairs": len(read), "report": report_on(scalar, kept)}

        return stage, finish

    inputs = {"pairs": sha256_file(pairs), "held_out": str(held_out)}
    _carry_out("reward", base, out, chosen, inputs, begin, as_json)


@app.command()
def dpo(
    base: Base,
    pairs: Annotated[Path, typer.Argument(help="JSONL of pairs or rankings.")],
    out: Out = None,
    beta: Annotated[float | None, typer.Option(help="Weight of the implied KL.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the pairs.")] = None,
    lr: Rate = None,
    seed: Seed = None,
    settings: SettingsFile = None,
    as_json: AsJson = False,
) -> None:
    """Tune on pairs directly, without a reward model: the baseline."""
    from foresight.posttrain.conversations import read_pairs
    from foresight.posttrain.dpo import DPO, DPOSettings
    from foresight.posttrain.pairs import encode_pairs
    from foresight.posttrain.tuning import read_settings
    from foresight.runs import sha256_file

    chosen = read_settings(DPOSettings, settings, beta=beta, epochs=epochs, lr=lr, seed=seed)
    read = read_pairs(pairs)

    def begin(model: Decoder, tokenizer: Tokenizer) -> tuple[Stepper, Finish]:
        shape = model.spec.shape
        encoded = encode_pairs(read, tokenizer, shape.patch, shape.context)
        stage = DPO(model, model.copy(), encoded, chosen)
        return stage, lambda: {"pairs": len(read)}

    inputs = {"pairs": sha256_file(pairs)}
    _carry_out("dpo", base, out, chosen, inputs, begin, as_json)


@app.command()
def ppo(
    base: Base,
    prompts: Annotated[Path, typer.Argument(help="JSONL of prompts, with their sets.")],
    reward: Annotated[Path, typer.Option(help="Run directory of a reward model.")],
    out: Out = None,
    rubric: Annotated[
        str | None, typer.Option(help="Rules: a YAML file, or `refusal`. Needs --grader.")
    ] = None,
    grader: Annotated[
        str | None, typer.Option(help="Folder of a trained grader, run directory, or api:NAME@URL.")
    ] = None,
    updates: Annotated[int | None, typer.Option(help="Rounds of answers.")] = None,
    beta: Annotated[float | None, typer.Option(help="Weight of the KL penalty.")] = None,
    lr: Rate = None,
    seed: Seed = None,
    settings: SettingsFile = None,
    as_json: AsJson = False,
) -> None:
    """Reinforcement learning from a reward model, with rules or without.

    Rules are fitted to the reward model on answers of BASE and audited first: where a class would
    earn more than a better one, nothing is trained. Every answer is in DIR/rollouts, with its
    reward in parts.
    """
    from foresight.posttrain.conversations import read_prompts
    from foresight.posttrain.ppo import PPO, PPOSettings, cycled
    from foresight.posttrain.scalar_model import ScalarModel
    from foresight.posttrain.tuning import corpus_rows, load_reward_model, place, read_settings
    from foresight.runs import Run, sha256_file

    chosen = read_settings(PPOSettings, settings, updates=updates, beta=beta, lr=lr, seed=seed)
    read = read_prompts(prompts)
    learned = load_reward_model(reward)
    composed, rules = _composed(base, read, learned, rubric, grader, chosen, as_json)

    def begin(model: Decoder, tokenizer: Tokenizer) -> tuple[Stepper, Finish]:
        critic = ScalarModel(model.spec)
        critic.start_from(learned.weights)
        corpus = corpus_rows(base, model.spec) if chosen.pretraining else None
        stage = PPO(
            model, model.copy(), critic, tokenizer, cycled(read, chosen.seed),
            composed, chosen, place(base, out, "ppo").path / "rollouts", corpus,
        )  # fmt: skip
        return stage, lambda: {
            "prompts": len(read),
            "reward": composed.name,
            "collapses": [vars(one) for one in getattr(composed, "collapses", [])],
        }

    inputs = {
        "prompts": sha256_file(prompts),
        "reward": Run(reward).result()["checkpoint_sha256"],
        "rules": rules,
    }
    _carry_out("ppo", base, out, chosen, inputs, begin, as_json)


def _carry_out(
    verb: str, base: Path, out: Path | None, settings: BaseModel, inputs: dict[str, str],
    begin: Begin, as_json: bool,
) -> None:  # fmt: skip
    from foresight.posttrain.tuning import place, tune
    from foresight.views.tuning import show_tuned, tuning

    run = place(base, out, verb)
    with tuning(errors, verb) as watch:
        result = tune(run, base, settings, inputs, begin, watch)
    emit(result, as_json, lambda: show_tuned(console, run.path, result))


def _composed(
    base: Path, prompts: list[ChatPrompt], learned: Any, rubric: str | None, grader: str | None,
    settings: PPOSettings, as_json: bool,
) -> tuple[Reward, str]:  # fmt: skip
    """The reward, audited, and what its rules are known by."""
    from foresight.errors import UserError
    from foresight.inference.checkpoints import load_model
    from foresight.posttrain.composition import compose, open_grader
    from foresight.posttrain.reward_model import LearnedReward
    from foresight.posttrain.rubric import read_rubric
    from foresight.runs import sha256_json
    from foresight.views.tuning import show_audit

    if rubric is None:
        return LearnedReward(learned), "none"
    if grader is None:
        raise UserError("--rubric needs --grader: somebody has to say which class an answer is of")
    read = read_rubric(rubric if not Path(rubric).exists() else Path(rubric))
    model, tokenizer, _ = load_model(base)
    composed, audit = compose(
        model, tokenizer, prompts, learned, read, open_grader(grader, read),
        settings.max_tokens, settings.seed,
    )  # fmt: skip
    show_audit(errors if as_json else console, audit)
    audit.refuse()
    return composed, sha256_json([read.model_dump(mode="json"), grader])
