"""The whole path in one call, each phase timed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import MofNCompleteColumn, TimeElapsedColumn

from foresight.beside import Beside
from foresight.evals.exams.ladder import read_marks
from foresight.experiment import Experiment
from foresight.forecast import Reference, Report, TrainingLog, Watch, answer, verify
from foresight.forecast.band import MIN_CURVES
from foresight.forecast.registration import read_chain
from foresight.posttrain.chain import ChainSettings
from foresight.recipe import Recipe
from foresight.report.evidence import PictureAnswers
from foresight.report.fit_plot import write_fit_plot
from foresight.report.page import write_page
from foresight.report.posttraining_chapter import posttraining_folder, posttraining_tables
from foresight.report.scoreboard import write_scoreboard
from foresight.report.sections import pictures_table
from foresight.runs import Run, write_json
from foresight.views import Counting, counting, show
from foresight.views.exams import show_marks
from foresight.views.forecasts import show_fit, show_forecasts
from foresight.views.ladders import show_suites, watching
from foresight.views.watch import show_look

CHAIN = ChainSettings(
    asked=250, control_updates=20,
    questions=ChainSettings().questions.model_copy(update={"updates": 25, "prompts": 32}),
)  # fmt: skip
"""What post-training takes by default, but for the arms that are shown beside it: with fewer pairs
or updates, gentle verbs on hazards are refused too."""


@dataclass(frozen=True)
class Outcome:
    """What the demo found; `holds` is the verdict of `foresight verify`, `alarms` what the watch
    of each target raised."""

    directory: Path
    page: Path
    verification: Report
    pictures: dict[str, Any] | None
    alarms: dict[str, list[str]]
    seconds: dict[str, float]

    @property
    def holds(self) -> bool:
        return self.verification.holds

    def to_json(self) -> dict[str, Any]:
        return {
            "directory": str(self.directory),
            "page": str(self.page),
            "holds": self.holds,
            "scores": [asdict(score) for score in self.verification.scores],
            "pictures": self.pictures,
            "alarms": self.alarms,
            "seconds": self.seconds,
        }


def run_demo(directory: Path, recipe_name: str, seed: int, console: Console) -> Outcome:
    """Corpus, ladder, registration, targets, verification, page. Everything finished is kept."""
    recipe = Recipe.named(recipe_name)
    if seed:
        recipe = recipe.model_copy(update={"seed": seed})
    experiment = Experiment.create(directory, recipe)
    clock = _Clock(console)
    with _beside(experiment) as tuned:
        pictures, alarms = _trained(experiment, clock, console)
        if tuned:
            with clock.phase("post-training, begun beside the ladder"):
                show(console, *posttraining_tables(tuned.result(console))[:1])
    with clock.phase("verification"):
        verification = verify(directory)
    write_json(directory / "seconds.json", clock.seconds)
    page = write_page(directory, verification)
    write_fit_plot(answer(experiment.table(), recipe.ladder.targets), page.with_name("fit.html"))
    write_scoreboard([directory], page.with_name("scoreboard.html"), {directory: verification})
    return Outcome(directory, page, verification, pictures, alarms, clock.seconds)


def _beside(experiment: Experiment) -> AbstractContextManager[Beside | None]:
    """Post-training of a base model of its own, if the recipe asks for one."""
    name, seed = experiment.recipe.posttrained, experiment.recipe.seed
    if name is None:
        return nullcontext()
    recipe = Recipe.named(name).model_copy(update={"seed": seed})
    settings = CHAIN.model_copy(update={"seed": seed})
    return Beside(posttraining_folder(experiment.directory).parent, recipe, settings)


def _trained(
    experiment: Experiment, clock: _Clock, console: Console
) -> tuple[dict[str, Any] | None, dict[str, list[str]]]:
    """From the corpus to the targets' exam: what pictures were worth, what the watch raised."""
    directory, recipe = experiment.directory, experiment.recipe
    with clock.phase("corpus"):
        experiment.build_corpus(lambda line: console.print(f"  [dim]{line}[/dim]"))
    with clock.phase("ladder"), watching(console) as watch:
        experiment.train_ladder(watch)
    with clock.phase("forecast"):
        show_fit(console, experiment.fit())
        if not read_chain(directory):
            computes = recipe.ladder.targets
            show_forecasts(console, [experiment.predict(flops, True) for flops in computes])
    if recipe.ladder.suites:
        with clock.phase("suites put to the ladder"), _asking(console) as asked:
            experiment.predict_suites(asked)
    trained = recipe.ladder.targets[: recipe.ladder.trained_targets]
    with clock.phase("targets and learning-rate transfer"), watching(console) as watch:
        # The largest target keeps one core busy for minutes: the sweep's short runs fill the rest.
        experiment.train_targets(trained, watch, beside=experiment.transfer_jobs())
        experiment.learning_rate_transfer(watch)
    pictures = None
    if trained and "pictures" in recipe.corpus.mixture:
        with clock.phase("picture questions"):
            pictures = experiment.ask_about_pictures(experiment.targets[len(trained) - 1])
            show(console, pictures_table(PictureAnswers.model_validate(pictures)))
    if recipe.ladder.suites:
        with clock.phase("suites put to the target"), _asking(console) as asked:
            experiment.observe_suites(asked)
        show_suites(console, directory, recipe.ladder.suites)
    if "library" in recipe.corpus.mixture and experiment.asked:
        with clock.phase("the exam"), _asking(console) as asked:
            experiment.sit_exam(asked)
        show_marks(console, read_marks(directory, [*experiment.asked, *experiment.targets]))
    with clock.phase("the targets against their predicted curves"):
        alarms = {
            run.path.name: _watched(run, console) for run in experiment.targets[: len(trained)]
        }
    return pictures, alarms


def _asking(console: Console) -> AbstractContextManager[Counting]:
    """A bar over the runs that something is put to."""
    return counting(console, "runs asked", MofNCompleteColumn(), TimeElapsedColumn())


def _watched(run: Run, console: Console) -> list[str]:
    """Kinds of the alarms that `foresight watch` would have raised."""
    reference = Reference.registered(Reference.registration_of(run.path).path)
    if len(reference.curves) < MIN_CURVES:
        return []
    look = Watch(reference).look(TrainingLog.read(run.metrics_path))
    show_look(console, look)
    return [alarm.kind for alarm in look.alarms]


class _Clock:
    def __init__(self, console: Console) -> None:
        self._console = console
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self._console.print(f"[bold]{name}[/bold]")
        started = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - started, 2)
        self._console.print(f"  [dim]{name}: {self.seconds[name]:.1f} s[/dim]")
