"""Verbs that forecast from anyone's tables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import MofNCompleteColumn, TimeRemainingColumn

from foresight.cli.common import (
    DEMO,
    AsJson,
    Group,
    Items,
    Loss,
    Targets,
    app,
    columns,
    console,
    emit,
    end_refused,
    errors,
    say,
    six_n_d,
    table_of,
)

if TYPE_CHECKING:
    from foresight.forecast import Answer


@app.command()
def fit(
    runs: Annotated[
        Path,
        typer.Argument(
            help="CSV, TSV, JSONL or Parquet of runs; an experiment directory; or a folder of runs "
            "(ours, TensorBoard, Weights & Biases)."
        ),
    ] = DEMO,
    at: Targets = None,
    target_params: Annotated[
        float | None, typer.Option(help="Parameters of a target; with --target-tokens.")
    ] = None,
    target_tokens: Annotated[
        float | None, typer.Option(help="Tokens of a target: C = 6 N D.")
    ] = None,
    group: Group = None,
    loss: Loss = None,
    accuracy: Annotated[
        str | None, typer.Option(help="Column of an accuracy (0..1): fit -log of it instead.")
    ] = None,
    chance: Annotated[
        float | None, typer.Option(help="With --accuracy: also try the share above chance.")
    ] = None,
    items: Items = None,
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
    from foresight.forecast import PlannedRun, answer, answer_jointly
    from foresight.views.forecasts import show_answer

    computes = list(at or [])
    compute = six_n_d(target_params, target_tokens)
    if accuracy is not None:
        computes += [] if compute is None else [compute]
        return _fit_accuracy(runs, accuracy, group, chance, items, computes, as_json)
    planned = None
    if target_params is not None and target_tokens is not None:
        planned = PlannedRun(target_params, target_tokens)
    table = table_of(runs, columns(group=group, loss=loss))
    joint = None
    if len({row.group for row in table.fitted}) > 1:
        joint = answer_jointly(table, computes, planned)
        answers = list(joint.answers.items())
    else:
        answers = [("", answer(table, computes, planned))]
    found = joint or answers[0][1]
    plots = _plot(runs, answers, plot, as_json)
    emit(found.to_json(), as_json, lambda: show_answer(console, answers, found.verdict))
    for path in plots:
        say(as_json)(f"wrote {path}")
    end_refused(found.refused)


def _plot(
    runs: Path, answers: list[tuple[str, Answer]], plot: Path | None, as_json: bool
) -> list[Path]:
    """A picture per group where there is something to draw; where they went."""
    if plot is None:
        if as_json:
            return []
        plot = Path(f"{runs.resolve().stem}.forecast.svg")
        answers = [(name, one) for name, one in answers if one.frontier]
    from foresight.report.fit_plot import write_fit_plot

    written = []
    for name, one in answers:
        plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", name)
        path = plot.with_stem(f"{plot.stem}.{plain}") if name else plot
        write_fit_plot(one, path)
        written.append(path)
    return written


def _fit_accuracy(
    runs: Path, metric: str, group: str | None, chance: float | None, items: int | None,
    computes: list[float], as_json: bool,
) -> None:  # fmt: skip
    from foresight.forecast import fit_accuracy, read_scores
    from foresight.views.forecasts import show_accuracies

    found = fit_accuracy(read_scores(runs, metric, {"group": group}, items), chance)
    forecasts = [found.predict(one) for one in computes]
    value = {"metric": metric, "weights": found.weights, "at": [one.to_json() for one in forecasts]}
    emit(value, as_json, lambda: show_accuracies(console, found, forecasts))
    end_refused(any(one.verdict == "refused" for one in forecasts))


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
    group: Group = None,
    loss: Loss = None,
    as_json: AsJson = False,
) -> None:
    """Which rungs to train for a budget: the ladder whose forecast of the target is sharpest.

    Optimal design before spending: expected intervals of the best ladders, of a plain one, of
    other budgets, and the one further run that would narrow the forecast most.
    """
    from foresight.forecast import answer, plan_ladder
    from foresight.views import counting
    from foresight.views.planning import show_plan_of_ladder

    left = TimeRemainingColumn()
    found = None if runs is None else answer(table_of(runs, columns(group=group, loss=loss)))
    with counting(errors, "fitting simulated ladders", MofNCompleteColumn(), left) as watch:
        planned = plan_ladder(
            budget,
            target,
            min_compute_flops=min_compute,
            fitted=None if found is None else found.fitted,
            watch=watch,
        )
    recommended = found.recommended if found else None
    value = planned.to_json(recommended)
    emit(value, as_json, lambda: show_plan_of_ladder(console, planned, recommended))


@app.command()
def capability(
    counts: Annotated[Path, typer.Argument(help="CSV, TSV, JSONL or Parquet of counts.")],
    at: Targets = None,
    pass_at: Annotated[int, typer.Option(help="k of pass@k.")] = 1,
    samples: Annotated[
        int | None, typer.Option(help="Samples per problem that will be taken; default: as now.")
    ] = None,
    buckets: Annotated[int, typer.Option(help="Difficulty buckets.")] = 6,
    as_json: AsJson = False,
) -> None:
    """Fit pass rates problem by problem and forecast a larger model's, by difficulty bucket.

    Columns: problem, passes, samples; compute (C, FLOPs) or params (N) and tokens (D); optional
    model, and assign (rows that assign buckets). Exit code 3 if the counts cannot carry a
    forecast.
    """
    from foresight.forecast import capability as forecast_capability
    from foresight.forecast import read_counts
    from foresight.views.capability import show_capability

    table = read_counts(counts)
    with errors.status("fitting every problem's pass rates"):
        found = forecast_capability(table, at or (), buckets=buckets, k=pass_at, samples=samples)
    emit(found.to_json(), as_json, lambda: show_capability(console, found))
    end_refused(found.refused)


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
    from foresight.views.forecasts import show_trends

    chosen = {"scale": scale, "group": group, "stderr": stderr}
    found = [
        judge(
            read_scores(table, name, chosen, items),
            higher_is_better=not lower_is_better,
            margin=flat_within,
            seed=seed,
        )
        for name in metric or [""]  # the reader then looks for a usual spelling
    ]
    emit([one.to_json() for one in found], as_json, lambda: show_trends(console, found))


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
    from foresight.views.forecasts import show_map

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
    emit(value, as_json, lambda: show_map(console, mapping, (source, target), found, mapped))
    end_refused(found.refused)
