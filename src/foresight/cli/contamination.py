"""The verb that looks for questions in a training corpus."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from foresight.cli.common import AsJson, app, console, emit, errors
from foresight.errors import UserError

if TYPE_CHECKING:
    from foresight.evals.contamination.clean import CleanScore
    from foresight.evals.contamination.findings import Findings


@app.command()
def contamination(
    corpus: Annotated[
        list[str],
        typer.Argument(
            help="Text, JSONL, Parquet (.gz, .zst, .bz2), a folder, an experiment, its corpus or a "
            "run of it, or - for standard input."
        ),
    ],
    task: Annotated[
        list[str],
        typer.Option(help="As `eval` takes it (mmlu@DIR, FILE.yaml), or JSONL of id and text."),
    ],
    out: Annotated[Path, typer.Option(help="Journal, findings and evidence; resumes there.")],
    records: Annotated[
        list[Path] | None, typer.Option(help="Records of `eval`: scores without what was found.")
    ] = None,
    field: Annotated[str, typer.Option(help="JSON field (meta.text) or column.")] = "text",
    kind: Annotated[
        Literal["text", "jsonl"], typer.Option(help="Of standard input and files without a suffix.")
    ] = "text",
    length: Annotated[int, typer.Option(help="Normalised characters of a substring.")] = 50,
    substrings: Annotated[int, typer.Option(help="Drawn for each item.")] = 3,
    shortest: Annotated[int, typer.Option(help="Shorter items are not judged.")] = 8,
    fold: Annotated[bool, typer.Option(help="Ignore upper case.")] = False,
    boilerplate: Annotated[int, typer.Option(help="Documents that make a substring so.")] = 10,
    ngram: Annotated[int, typer.Option(help="Overlap of runs of so many words too (13).")] = 0,
    near: Annotated[
        float, typer.Option(help="Near-duplicates too: share of an item in one document (0.5).")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the substrings.")] = 0,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Default: one for each processor.")
    ] = None,
    ray: Annotated[bool, typer.Option("--ray", help="On a Ray cluster (extra `cluster`).")] = False,
    as_json: AsJson = False,
) -> None:
    """Which items stand in the training corpus, where, and what the score is without them.

    The GPT-4 report's method: three random substrings of 50 letters and digits per item. What is
    doubtful (short items, boilerplate) is shown apart. Call again after an interruption.
    """
    from foresight.evals.contamination.corpora import units_of
    from foresight.evals.contamination.findings import Findings
    from foresight.evals.contamination.job import scan
    from foresight.evals.contamination.questions import Plan, Settings, read_questions
    from foresight.views.contamination import scanning, show_contamination

    settings = Settings(
        length, substrings, seed, fold, shortest, boilerplate=boilerplate, ngram=ngram, near=near
    )
    plan = Plan(read_questions(task), settings)
    units = units_of(corpus, field, kind)
    with scanning(errors, units) as watch:
        found = scan(plan, units, out, processes or len(os.sched_getaffinity(0)), ray, watch)
    findings = Findings(plan, units, found)
    findings.write(out)
    scores = _scores(records or [], findings)
    value: dict[str, Any] = findings.to_json() | {
        "out": str(out),
        "scores": {
            name: {model: {method: asdict(one) for method, one in methods.items()}
                   for model, methods in models.items()}
            for name, models in scores.items()
        },
    }  # fmt: skip
    emit(value, as_json, lambda: show_contamination(console, findings, scores, out))


def _scores(paths: list[Path], findings: Findings) -> dict[str, dict[str, dict[str, CleanScore]]]:
    """{task: {model: {method: score}}} of those tasks that records are of."""
    from foresight.evals.contamination.clean import clean_score
    from foresight.evals.journal import record_sets

    scores: dict[str, dict[str, dict[str, CleanScore]]] = {}
    for path in paths:
        sets = record_sets(path)
        known = [one for one in findings.tasks if one.task in sets]
        if not known:
            tasks = ", ".join(one.task for one in findings.tasks)
            raise UserError(f"{path}: records of {', '.join(sets)}; none of the tasks {tasks}")
        for one in known:
            rows = sets[one.task]
            items = {item.id for item in findings.plan.questions if item.task == one.task}
            if strange := next((row.item for row in rows if row.item not in items), None):
                raise UserError(
                    f"{path}: a record of {one.task} is of item {strange}, which was not looked for"
                )
            scores.setdefault(one.task, {})[rows[0].model] = {
                method: score
                for method, share in one.methods.items()
                if (score := clean_score(rows, share.ids)) is not None
            }
    return scores
