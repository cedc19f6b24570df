"""The command line: one verb per job. Each parses, calls one function, prints."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from foresight.errors import UserError

app = typer.Typer(
    name="foresight",
    help="Train the model you predicted: a ladder of small runs, a registered forecast, "
    "the target, the verification.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console()
_errors = Console(stderr=True)

Directory = Annotated[
    Path,
    typer.Argument(help="Experiment directory: recipe, corpus, ladder, targets, registrations."),
]
RecipeName = Annotated[
    str, typer.Option("--recipe", help="pocket, overnight, single-gpu, or a YAML file.")
]
Items = Annotated[
    int | None,
    typer.Option(help="Questions behind an accuracy: binomial standard errors where none stand."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
DEMO = Path("runs/demo")


def _print(value: Any, as_json: bool, show: Callable[[], None]) -> None:
    if as_json:
        sys.stdout.write(json.dumps(value, indent=2) + "\n")
    else:
        show()


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
    from foresight.views import show_report

    outcome = run_demo(directory, recipe, seed, Console(stderr=True) if as_json else console)
    _print(outcome.to_json(), as_json, lambda: show_report(console, outcome))
    if not outcome.holds:
        raise typer.Exit(1)


@app.command()
def corpus(
    directory: Directory = DEMO, recipe: RecipeName = "pocket", as_json: AsJson = False
) -> None:
    """Build the corpus: sources, split by package, de-duplication, tokenizer, shards."""
    from foresight.experiment import Experiment
    from foresight.views import show_corpus

    made = Experiment.create(directory, recipe).build_corpus(_say(as_json))
    _print(made.manifest, as_json, lambda: show_corpus(console, made))


@app.command()
def plan(recipe: RecipeName = "pocket", as_json: AsJson = False) -> None:
    """What every rung and target will cost here (time, memory, disk), measured in a few seconds."""
    from foresight.recipe import Recipe
    from foresight.training.plan import plan as make_plan
    from foresight.views import show_plan

    rows = make_plan(Recipe.named(recipe))
    _print([asdict(row) for row in rows], as_json, lambda: show_plan(console, rows))


@app.command()
def ladder(
    directory: Directory = DEMO, recipe: RecipeName = "pocket", as_json: AsJson = False
) -> None:
    """Train the rungs, one process per core; finished runs are kept, killed ones resume."""
    from foresight.experiment import Experiment
    from foresight.views import show_runs, watching

    experiment = Experiment.create(directory, recipe)
    experiment.build_corpus(_say(as_json))
    with watching(_errors) as watch:
        results = experiment.train_ladder(watch)
    _print(results, as_json, lambda: show_runs(console, results, experiment.recipe.ladder.metric))


@app.command()
def fit(
    runs: Annotated[
        Path, typer.Argument(help="CSV, TSV, JSONL or Parquet of runs, or an experiment directory.")
    ] = DEMO,
    at: Annotated[
        list[float] | None, typer.Option(help="Target FLOPs; may be given several times.")
    ] = None,
    target_params: Annotated[
        float | None, typer.Option(help="Parameters of a target; with --target-tokens.")
    ] = None,
    target_tokens: Annotated[
        float | None, typer.Option(help="Tokens of a target: C = 6 N D.")
    ] = None,
    group: Annotated[str | None, typer.Option(help="Column that tells recipes apart.")] = None,
    loss: Annotated[str | None, typer.Option(help="Column of the predicted metric.")] = None,
    accuracy: Annotated[
        str | None, typer.Option(help="Column of an accuracy (0..1): fit -log of it instead.")
    ] = None,
    chance: Annotated[
        float | None, typer.Option(help="With --accuracy: also try the share above chance.")
    ] = None,
    items: Items = None,
    as_json: AsJson = False,
) -> None:
    """Fit the law to anyone's runs and forecast larger ones: frontier, laws, back-test, verdict.

    Columns: compute (C, FLOPs) or params (N) and tokens (D); loss; optional seed, group, sigma,
    steps, schedule, batch, tokenizer. Exit code 3 if the runs cannot carry a forecast.
    """
    from foresight.forecast import answer, read_table
    from foresight.views import show_answer

    computes = list(at or [])
    if (target_params is None) != (target_tokens is None):
        raise UserError("--target-params and --target-tokens belong together: C = 6 N D")
    if target_params is not None and target_tokens is not None:
        computes.append(6.0 * target_params * target_tokens)
    if accuracy is not None:
        return _fit_accuracy(runs, accuracy, group, chance, items, computes, as_json)
    if runs.is_dir():
        from foresight.experiment import Experiment

        table = Experiment.open(runs).table()
    else:
        chosen = {"group": group, "loss": loss}
        table = read_table(runs, {key: name for key, name in chosen.items() if name})
    found = answer(table, computes)
    _print(found.to_json(), as_json, lambda: show_answer(console, found))
    if found.refused:
        raise typer.Exit(3)


def _fit_accuracy(
    runs: Path, metric: str, group: str | None, chance: float | None, items: int | None,
    computes: list[float], as_json: bool,
) -> None:  # fmt: skip
    from foresight.forecast import fit_accuracy, read_scores
    from foresight.views.scores import show_accuracies

    found = fit_accuracy(read_scores(runs, metric, {"group": group}, items), chance)
    forecasts = [found.predict(one) for one in computes]
    value = {"metric": metric, "weights": found.weights, "at": [one.to_json() for one in forecasts]}
    _print(value, as_json, lambda: show_accuracies(console, found, forecasts))
    if any(one.verdict == "refused" for one in forecasts):
        raise typer.Exit(3)


@app.command()
def trend(
    table: Annotated[Path, typer.Argument(help="CSV, TSV, JSONL or Parquet, one model per row.")],
    metric: Annotated[
        list[str] | None, typer.Option(help="Column of a score; may be given several times.")
    ] = None,
    scale: Annotated[
        str | None, typer.Option(help="Column that orders the models; default: compute, params.")
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="Column of model families: compared within, never across.")
    ] = None,
    stderr: Annotated[str | None, typer.Option(help="Column of standard errors.")] = None,
    items: Items = None,
    lower_is_better: Annotated[bool, typer.Option(help="The score is a loss.")] = False,
    flat_within: Annotated[float, typer.Option(help="Largest change that is still flat.")] = 0.05,
    seed: Annotated[int, typer.Option(help="Of the simulated null.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Does a score rise or fall with scale, or turn? At most 5 % false alarms of inverse scaling.

    Verdicts: rising (better with scale), falling, u_shaped (falls, then rises), inverted_u, flat,
    unclear. Needs 4 sizes; a turn needs 6 models.
    """
    from foresight.forecast import read_scores
    from foresight.forecast import trend as judge
    from foresight.views.scores import show_trends

    chosen = {"scale": scale, "group": group, "stderr": stderr}
    columns = metric or [""]  # the reader then looks for a usual spelling
    tables = [read_scores(table, name, chosen, items) for name in columns]
    found = [
        judge(one, higher_is_better=not lower_is_better, margin=flat_within, seed=seed)
        for one in tables
    ]
    _print([one.to_json() for one in found], as_json, lambda: show_trends(console, found))


@app.command("map")
def map_losses(
    table: Annotated[Path, typer.Argument(help="CSV, TSV, JSONL or Parquet, one run per row.")],
    source: Annotated[str, typer.Option("--from", help="Column of the loss that is forecast.")],
    target: Annotated[str, typer.Option("--to", help="Column of the loss that is wanted.")],
    at: Annotated[list[float], typer.Option(help="Target FLOPs; may be given several times.")],
    as_json: AsJson = False,
) -> None:
    """Forecast one loss through another: law of the first by compute, map from it to the second.

    Exit code 3 if the runs cannot carry a forecast of the first.
    """
    from foresight.forecast import answer, fit_map, read_scores, read_table
    from foresight.views.scores import show_map

    found = answer(read_table(table, {"loss": source}), at)
    mapping = fit_map(read_scores(table, source), read_scores(table, target))
    mapped = [None if one.point is None else mapping.predict(one) for one in found.forecasts]
    value = {
        "from": source, "to": target, "law": mapping.summary(), "runs": mapping.runs,
        "at": [
            {"compute_flops": first.compute_flops, "from": first.to_json(),
             "to": second and second.to_json()}
            for first, second in zip(found.forecasts, mapped, strict=True)
        ],
    }  # fmt: skip
    _print(value, as_json, lambda: show_map(console, mapping, (source, target), found, mapped))
    if found.refused:
        raise typer.Exit(3)


@app.command()
def predict(
    directory: Directory = DEMO,
    compute: Annotated[
        float | None, typer.Option(help="Target FLOPs; default: every target of the recipe.")
    ] = None,
    register: Annotated[
        bool, typer.Option("--register", help="Write the forecast down, hashed and chained.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Forecast the metric of larger runs, with intervals; --register before they start."""
    from foresight.experiment import Experiment
    from foresight.views import show_forecasts

    experiment = Experiment.open(directory)
    computes = [compute] if compute else experiment.recipe.ladder.targets
    forecasts = [experiment.predict(flops, register) for flops in computes]
    _print(
        [one.to_json() for one in forecasts], as_json, lambda: show_forecasts(console, forecasts)
    )


@app.command()
def train(
    directory: Directory = DEMO,
    compute: Annotated[
        float | None, typer.Option(help="Target FLOPs; default: every target of the recipe.")
    ] = None,
    tensorboard: Annotated[bool, typer.Option(help="Also write TensorBoard scalars.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train predicted runs: all cores for one run, one core each for several."""
    from foresight.experiment import Experiment
    from foresight.views import show_runs, watching

    experiment = Experiment.open(directory)
    computes = [compute] if compute else experiment.recipe.ladder.targets
    with watching(_errors) as watch:
        results = experiment.train_targets(computes, watch, tensorboard)
    _print(results, as_json, lambda: show_runs(console, results, experiment.recipe.ladder.metric))


@app.command()
def verify(directory: Directory = DEMO, as_json: AsJson = False) -> None:
    """Recompute every registration from the files alone, find any edit, score the forecasts.

    Exit code 0: all holds. 1: something does not, and is named.
    """
    from foresight.forecast import verify as check
    from foresight.views import show_verification

    report = check(directory)
    _print(report.to_json(), as_json, lambda: show_verification(console, report))
    if not report.holds:
        raise typer.Exit(1)


@app.command()
def transfer(directory: Directory = DEMO, as_json: AsJson = False) -> None:
    """Does the learning rate transfer? Sweep it at two widths, ours and standard."""
    from foresight.experiment import Experiment
    from foresight.views import show_transfer, watching

    experiment = Experiment.open(directory)
    with watching(_errors) as watch:
        found = experiment.learning_rate_transfer(watch)
    _print(found, as_json, lambda: show_transfer(console, found))


@app.command()
def sample(
    run: Annotated[Path, typer.Argument(help="A run directory with a checkpoint.")],
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
    from foresight.experiment import load_model
    from foresight.inference.sampling import sample as continue_text

    model, tokenizer = load_model(run)
    parts: list[Text | Image] = [*(Image.from_file(path) for path in image or []), Text(prompt)]
    ids = list(continue_text(model, tokenizer, parts, max_tokens, temperature, seed))
    text = tokenizer.decode(ids)
    value = {"prompt": prompt, "text": text, "tokens": len(ids), "seed": seed}
    _print(value, as_json, lambda: console.print(prompt + text, markup=False, highlight=False))


@app.command()
def report(directory: Directory = DEMO, as_json: AsJson = False) -> None:
    """Write the page: Figure 1, loss per source, transfer, pictures, disclosure card."""
    from foresight.report.page import write_page

    path = write_page(directory)
    _print({"page": str(path)}, as_json, lambda: console.print(f"wrote {path}"))


def _say(as_json: bool) -> Callable[[str], None]:
    target = _errors if as_json else console
    return lambda line: target.print(f"[dim]{line}[/dim]")


def main() -> NoReturn:
    """Entry point: a user's mistake is one message and exit code 2, Ctrl-C is 130."""
    try:
        # `--json -` (to standard output) is accepted beside `--json`.
        words = sys.argv[1:]
        app([word for at, word in enumerate(words) if word != "-" or words[at - 1] != "--json"])
    except UserError as error:
        _fail(str(error))
    except SystemExit as done:
        if done.code == 130:
            _errors.print("interrupted: everything finished is kept, call again to go on")
        raise
    sys.exit(0)


def _fail(message: str) -> NoReturn:
    _errors.print(f"[bold red]error:[/bold red] {message}", highlight=False, soft_wrap=True)
    sys.exit(2)
