"""The command line: one verb per job. Each parses, calls one function, prints."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console

from foresight.errors import UserError

if TYPE_CHECKING:
    from foresight.forecast import RunTable

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
    plot: Annotated[
        Path | None,
        typer.Option(help="SVG, PNG or HTML file; default without --json: RUNS.forecast.svg here."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fit the law to anyone's runs and forecast larger ones: frontier, laws, back-test, verdict.

    Columns: compute (C, FLOPs) or params (N) and tokens (D); loss; optional seed, group, sigma,
    steps, schedule, batch, tokenizer. Exit code 3 if the runs cannot carry a forecast.
    """
    from foresight.forecast import answer
    from foresight.views import show_answer

    computes = list(at or [])
    if (target_params is None) != (target_tokens is None):
        raise UserError("--target-params and --target-tokens belong together: C = 6 N D")
    if target_params is not None and target_tokens is not None:
        computes.append(6.0 * target_params * target_tokens)
    found = answer(_table_of(runs, group, loss), computes)
    if plot is None and not as_json and found.frontier:
        plot = Path(f"{runs.resolve().stem}.forecast.svg")
    if plot is not None:
        from foresight.report.fit_plot import write_fit_plot

        write_fit_plot(found, plot)
    _print(found.to_json(), as_json, lambda: show_answer(console, found))
    if plot is not None:
        _say(as_json)(f"wrote {plot}")
    if found.refused:
        raise typer.Exit(3)


@app.command()
def design(
    budget: Annotated[float, typer.Option(help="FLOPs to spend on further rungs.")],
    target: Annotated[float, typer.Option(help="FLOPs of the run to be forecast.")],
    runs: Annotated[
        Path | None, typer.Argument(help="Runs there are, as for `fit`; without: from priors.")
    ] = None,
    min_compute: Annotated[
        float | None, typer.Option(help="Smallest compute at which the recipe is sound.")
    ] = None,
    group: Annotated[str | None, typer.Option(help="Column that tells recipes apart.")] = None,
    loss: Annotated[str | None, typer.Option(help="Column of the predicted metric.")] = None,
    as_json: AsJson = False,
) -> None:
    """Which rungs to train for a budget: the ladder whose forecast of the target is sharpest.

    Optimal design before spending: expected intervals of the best ladders, of a plain one, of
    other budgets, and the one further run that would narrow the forecast most.
    """
    from foresight.forecast import answer, plan_ladder
    from foresight.views.planning import designing, show_plan_of_ladder

    found = None if runs is None else answer(_table_of(runs, group, loss))
    with designing(_errors) as watch:
        planned = plan_ladder(
            budget,
            target,
            min_compute_flops=min_compute,
            fitted=None if found is None else found.fitted,
            watch=watch,
        )
    recommended = found.recommended if found else None
    value = planned.to_json(recommended)
    _print(value, as_json, lambda: show_plan_of_ladder(console, planned, recommended))


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


def _table_of(runs: Path, group: str | None, loss: str | None) -> RunTable:
    """The table of an experiment directory, or of a file with the columns the user named."""
    if runs.is_dir():
        from foresight.experiment import Experiment

        return Experiment.open(runs).table()
    from foresight.forecast import read_table

    chosen = {"group": group, "loss": loss}
    return read_table(runs, {key: name for key, name in chosen.items() if name})


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
