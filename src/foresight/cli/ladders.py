"""Verbs of a ladder of one's own: corpus, rungs, targets, samples, the report."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from foresight.cli.common import (
    DEMO,
    AsJson,
    Directory,
    RecipeName,
    RunDirectory,
    TargetFlops,
    app,
    console,
    emit,
    errors,
    say,
)


@app.command()
def demo(
    directory: Directory = DEMO,
    recipe: RecipeName = "pocket",
    seed: Annotated[int, typer.Option(help="Added to every run's seed: another repetition.")] = 0,
    as_json: AsJson = False,
) -> None:
    """The whole path on this machine: corpus, ladder, registration, targets, verification, report.

    Interrupt it and call it again: finished runs are kept, the running one resumes.
    """
    from foresight.demo import run_demo
    from foresight.views.ladders import show_report

    outcome = run_demo(directory, recipe, seed, errors if as_json else console)
    emit(outcome.to_json(), as_json, lambda: show_report(console, outcome))
    if not outcome.holds:
        raise typer.Exit(1)


@app.command()
def corpus(
    directory: Directory = DEMO, recipe: RecipeName = "pocket", as_json: AsJson = False
) -> None:
    """Build the corpus: sources, split by package, de-duplication, tokenizer, shards."""
    from foresight.experiment import Experiment
    from foresight.views.ladders import show_corpus

    made = Experiment.create(directory, recipe).build_corpus(say(as_json))
    emit(made.manifest, as_json, lambda: show_corpus(console, made))


@app.command()
def plan(recipe: RecipeName = "pocket", as_json: AsJson = False) -> None:
    """What every rung and target will cost here (time, memory, disk), measured in a few seconds."""
    from foresight.recipe import Recipe
    from foresight.training.plan import plan as make_plan
    from foresight.views.ladders import show_plan

    rows = make_plan(Recipe.named(recipe))
    emit([asdict(row) for row in rows], as_json, lambda: show_plan(console, rows))


@app.command()
def ladder(
    directory: Directory = DEMO, recipe: RecipeName = "pocket", as_json: AsJson = False
) -> None:
    """Train the rungs, one process per core; finished runs are kept, killed ones resume."""
    from foresight.experiment import Experiment
    from foresight.views.ladders import show_runs, watching

    experiment = Experiment.create(directory, recipe)
    experiment.build_corpus(say(as_json))
    with watching(errors) as watch:
        results = experiment.train_ladder(watch)
    emit(results, as_json, lambda: show_runs(console, results, experiment.recipe.ladder.metric))


@app.command()
def predict(
    directory: Directory = DEMO,
    compute: TargetFlops = None,
    register: Annotated[
        bool, typer.Option("--register", help="Write the forecast down, hashed and chained.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Forecast the metric of larger runs, with intervals; --register before they start."""
    from foresight.experiment import Experiment
    from foresight.views.forecasts import show_forecasts

    experiment = Experiment.open(directory)
    computes = [compute] if compute else experiment.recipe.ladder.targets
    forecasts = [experiment.predict(flops, register) for flops in computes]
    emit([one.to_json() for one in forecasts], as_json, lambda: show_forecasts(console, forecasts))


@app.command()
def train(
    directory: Directory = DEMO,
    compute: TargetFlops = None,
    tensorboard: Annotated[bool, typer.Option(help="Also write TensorBoard scalars.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train predicted runs: all cores for one run, one core each for several."""
    from foresight.experiment import Experiment
    from foresight.views.ladders import show_runs, watching

    experiment = Experiment.open(directory)
    computes = [compute] if compute else experiment.recipe.ladder.targets
    with watching(errors) as watch:
        results = experiment.train_targets(computes, watch, tensorboard)
    emit(results, as_json, lambda: show_runs(console, results, experiment.recipe.ladder.metric))


@app.command()
def transfer(directory: Directory = DEMO, as_json: AsJson = False) -> None:
    """Does the learning rate transfer? Sweep it at two widths, ours and standard."""
    from foresight.experiment import Experiment
    from foresight.views.ladders import show_transfer, watching

    experiment = Experiment.open(directory)
    with watching(errors) as watch:
        found = experiment.learning_rate_transfer(watch)
    emit(found, as_json, lambda: show_transfer(console, found))


@app.command()
def sample(
    run: RunDirectory,
    prompt: Annotated[str, typer.Argument(help="Text to continue.")] = "def ",
    image: Annotated[
        list[Path] | None, typer.Option(help="Picture before the text; may be repeated.")
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1)] = 100,
    temperature: Annotated[float, typer.Option(min=0.0)] = 0.7,
    seed: Annotated[int, typer.Option()] = 0,
    as_json: AsJson = False,
) -> None:
    """Text from a checkpoint, after an optional picture."""
    from foresight.document import Image, Text
    from foresight.inference.engine import Engine
    from foresight.inference.language_model import GenerateRequest, Sampling

    parts: list[Text | Image] = [*(Image.from_file(path) for path in image or []), Text(prompt)]
    sampling = Sampling(temperature=temperature, max_tokens=max_tokens, seed=seed)
    [[found]] = Engine.load(run).generate([GenerateRequest(tuple(parts), sampling)])
    value = {
        "prompt": prompt, "text": found.text, "tokens": found.completion_tokens,
        "finish": found.finish, "seed": seed,
    }  # fmt: skip
    emit(value, as_json, lambda: console.print(prompt + found.text, markup=False, highlight=False))


@app.command()
def export(
    run: RunDirectory,
    to: Annotated[Path, typer.Option("--to", help="New directory to write.")],
    chat: Annotated[
        bool,
        typer.Option("--chat", help="Trained on turns: with the chat template, ends with them."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """A checkpoint as a Hugging Face folder (Llama or Qwen3), for others to serve; text only."""
    from foresight.export.hugging_face import config, export_hugging_face
    from foresight.inference.checkpoints import load_model
    from foresight.posttrain.chat import CHAT_TEMPLATE

    model, tokenizer, _ = load_model(run)
    export_hugging_face(model, tokenizer, to, CHAT_TEMPLATE if chat else "")
    kind = config(model.spec)["architectures"][0]
    value = {"directory": str(to), "architecture": kind, "pictures": False}
    line = f"wrote {to}: {kind}, float32; the image weights are left out"
    emit(value, as_json, lambda: console.print(line, highlight=False))


@app.command()
def report(directory: Directory = DEMO, as_json: AsJson = False) -> None:
    """Write the page: Figure 1, loss per source, transfer, pictures, disclosure card."""
    from foresight.report.page import write_page

    path = write_page(directory)
    emit({"page": str(path)}, as_json, lambda: console.print(f"wrote {path}"))
