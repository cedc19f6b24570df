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
Registry = Annotated[
    Path, typer.Option("--registry", help="Directory of registered predictions and outcomes.")
]
DEMO = Path("runs/demo")
PREDICTIONS = Path("predictions")


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
        Path,
        typer.Argument(
            help="CSV, TSV, JSONL or Parquet of runs; an experiment directory; or a folder of runs "
            "(ours, TensorBoard, Weights & Biases)."
        ),
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
    planned = _six_n_d(target_params, target_tokens)
    if planned is not None:
        computes.append(planned)
    chosen = {"group": group, "loss": loss}
    found = answer(_table(runs, {key: name for key, name in chosen.items() if name}), computes)
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


def _six_n_d(params: float | None, tokens: float | None) -> float | None:
    if (params is None) != (tokens is None):
        raise UserError("--target-params and --target-tokens belong together: C = 6 N D")
    return None if params is None or tokens is None else 6.0 * params * tokens


def _table(runs: Path, chosen: dict[str, str]) -> RunTable:
    """Runs from a file or any kind of folder."""
    from foresight.forecast import read_folder, read_table

    if not runs.is_dir():
        return read_table(runs, chosen)
    if "group" in chosen:
        raise UserError(f"--group names a column of a table; {runs} is a folder")
    if (runs / "recipe.yaml").exists():
        from foresight.experiment import Experiment

        return Experiment.open(runs).table()
    return read_folder(runs, chosen.get("loss"))


@app.command()
def register(
    name: Annotated[str, typer.Option(help="What the prediction is called, once and for all.")],
    runs: Annotated[
        Path | None, typer.Argument(help="Table or folder of runs to fit (as for `fit`).")
    ] = None,
    registry: Registry = PREDICTIONS,
    at: Annotated[float | None, typer.Option(help="FLOPs of the predicted run.")] = None,
    metric: Annotated[
        str | None, typer.Option("--metric", "--loss", help="Column, or what --value is of.")
    ] = None,
    value: Annotated[
        float | None, typer.Option(help="A stated prediction, fitted elsewhere.")
    ] = None,
    interval50: Annotated[
        tuple[float, float] | None, typer.Option(metavar="LOW HIGH", help="Of the value.")
    ] = None,
    interval80: Annotated[
        tuple[float, float] | None, typer.Option(metavar="LOW HIGH", help="Of the value.")
    ] = None,
    interval95: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="LOW HIGH", help="Of the value: required with --value."),
    ] = None,
    target: Annotated[str | None, typer.Option(help="The predicted run; default: NAME.")] = None,
    target_params: Annotated[float | None, typer.Option(help="Its parameters.")] = None,
    target_tokens: Annotated[float | None, typer.Option(help="Its tokens.")] = None,
    target_steps: Annotated[int | None, typer.Option(help="Its optimizer steps.")] = None,
    log: Annotated[
        Path | None, typer.Option(help="Where it will log; refused if a step is there.")
    ] = None,
    backcast: Annotated[
        bool, typer.Option("--backcast", help="The outcome is known: counted apart.")
    ] = False,
    timestamp: Annotated[
        str | None, typer.Option(help="URL of an RFC 3161 time-stamping authority to ask.")
    ] = None,
    git: Annotated[bool, typer.Option("--git", help="Commit it in the repository around.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a prediction of any metric down, hashed and chained, before its run.

    Either RUNS and --at: the table is kept, fitted and forecast. Or --metric, --value and
    --interval95: a number stated by hand or by another method. `observe` seals the outcome,
    `verify` checks and scores, `scoreboard` shows all.
    """
    from foresight.forecast import Subject, Witnesses, register_fit, register_stated
    from foresight.views.registry import show_registration

    if (runs is None) == (value is None):
        raise UserError("register either RUNS --at FLOPS, or --metric NAME --value V")
    compute = at if at is not None else _six_n_d(target_params, target_tokens)
    subject = Subject(target or name, compute, target_params, target_tokens, target_steps, log)
    witnesses = Witnesses(timestamp, git)
    if runs is not None:
        chosen = {"loss": metric} if metric else {}
        table = _table(runs, chosen) if runs.is_dir() else runs
        made = register_fit(
            registry, name, subject, table, chosen, backcast=backcast, witnesses=witnesses
        )
    else:
        assert value is not None, "one of the two is given"
        if metric is None:
            raise UserError("--value needs --metric NAME: what is it a prediction of?")
        pairs = {"50": interval50, "80": interval80, "95": interval95}
        stated = {level: pair for level, pair in pairs.items() if pair}
        made = register_stated(
            registry, name, subject, metric, value, stated, backcast=backcast, witnesses=witnesses
        )
    shown = {"path": str(made.path), **made.record}
    _print(shown, as_json, lambda: show_registration(console, made))


@app.command()
def observe(
    name: Annotated[str, typer.Argument(help="Name of a registered prediction.")],
    value: Annotated[float, typer.Option(help="What came out.")],
    registry: Registry = PREDICTIONS,
    file: Annotated[
        Path | None, typer.Option(help="The result it was read from: kept with its hash.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Seal the outcome of a registered prediction; once, for an outcome stands."""
    from foresight.forecast import observe as seal

    outcome = seal(registry, name, value, file)
    _print(outcome, as_json, lambda: console.print(f"sealed {name}: {outcome['value']:g}"))


@app.command()
def scoreboard(
    directories: Annotated[
        list[Path] | None, typer.Argument(help="Registries and experiment directories.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("scoreboard.html"),
    as_json: AsJson = False,
) -> None:
    """One page of all predictions: intervals, outcomes, scores, coverage; pending ones included."""
    from foresight.report.scoreboard import write_scoreboard
    from foresight.views.registry import show_board

    board = write_scoreboard(directories or [PREDICTIONS], out)
    _print({"page": str(out), **board}, as_json, lambda: show_board(console, board, out))


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

    chosen = {key: name for key, name in {"group": group, "loss": loss}.items() if name}
    found = None if runs is None else answer(_table(runs, chosen))
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
    """Recompute every registration of an experiment directory or a registry from the files alone,
    find any edit, score the forecasts.

    Exit code 0: all holds. 1: something does not, and is named.
    """
    from foresight.forecast import verify as check
    from foresight.views import show_verification
    from foresight.views.registry import show_totals

    report = check(directory)
    value = report.to_json()

    def show() -> None:
        show_totals(console, value["totals"])
        show_verification(console, report)

    _print(value, as_json, show)
    if not report.holds:
        raise typer.Exit(1)


@app.command()
def watch(
    run: Annotated[Path, typer.Argument(help="A run directory, or the JSONL log of any trainer.")],
    against: Annotated[
        Path | None,
        typer.Option(help="Registration; default: the one whose target the run directory is."),
    ] = None,
    like: Annotated[
        list[Path] | None,
        typer.Option(help="Finished smaller run (directory or log); at least 4, with --final."),
    ] = None,
    final: Annotated[
        tuple[float, float, float] | None,
        typer.Option(help="Forecast of the final training loss: POINT LOW HIGH, at 95 %."),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Steps of the whole run, if the log has no such field."),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the run ends.")] = False,
    register: Annotated[
        bool, typer.Option("--register", help="Write the forecast in flight down, chained.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the curve in its band: a .svg or .png file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """A running loss curve against the predicted one: alarms, and the end forecast in flight.

    Exit code 0: no alarm. 1: an alarm, named. Under 1 % of clean runs raise one. Log fields:
    step (or iter, global_step, ...), loss (or train_loss, ...), total_steps (or max_steps, ...).
    """
    from foresight.forecast.in_flight import register_in_flight
    from foresight.forecast.watch import Reference, Watch, log_path
    from foresight.runs import Run
    from foresight.views.watch import draw, follow_run, show_look

    if (like is not None) != (final is not None) or (like and (against or register)):
        raise UserError("--like and --final belong together, and replace --against and --register")
    if like and final:
        reference = Reference.like(like, final)
    else:
        reference = Reference.registered(against or Reference.registration_of(run).path)
    if register:
        register_in_flight(run.resolve().parents[1], Run(run))
    look = follow_run(_errors, Watch(reference), log_path(run), steps, follow)
    if plot:
        draw(look, plot)
    _print(look.to_json(), as_json, lambda: show_look(console, look))
    if look.alarms:
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
