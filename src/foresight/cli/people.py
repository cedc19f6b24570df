"""Verbs for what people say of answers: prefer, grade."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foresight.cli.common import AsJson, app, console, emit, errors, serve_until_stopped
from foresight.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foresight.evals.people.collection import Collection
    from foresight.evals.people.desk import Desk

prefer = typer.Typer(
    help="Which of two models do people prefer? Blind, in drawn order.", no_args_is_help=True
)
app.add_typer(prefer, name="prefer")

Collected = Annotated[Path, typer.Argument(help="What `prefer collect` wrote.")]
Overlap = Annotated[float, typer.Option(help="Share that two people judge.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")]
Host = Annotated[str, typer.Option(help="IPv4 address to serve at, if people sit elsewhere.")]


@prefer.command()
def collect(
    prompts: Annotated[Path, typer.Argument(help="Items as for `eval`: id, question or parts.")],
    model: Annotated[
        list[str], typer.Option(help="Run directory, checkpoint or api:NAME@URL; two or more.")
    ],
    out: Annotated[Path, typer.Option(help="Directory for prompts and answers.")],
    min_words: Annotated[int, typer.Option(min=0, help="Shorter prompts are left out.")] = 3,
    max_copies: Annotated[
        int,
        typer.Option(
            min=1,
            help="Prompts that occur more often are left out, nearly equal ones counted together.",
        ),
    ] = 3,
    disallowed: Annotated[
        Path | None, typer.Option(help="File of regular expressions; prompts with one go.")
    ] = None,
    layout: Annotated[
        str, typer.Option(help="How a prompt is put, such as 'Q: {question}\\nA:' (\\n: new line).")
    ] = "{question}",
    stop: Annotated[
        list[str] | None, typer.Option(help="Text that ends an answer (\\n: new line).")
    ] = None,
    temperature: Annotated[float, typer.Option(min=0)] = 0.6,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of an answer.")] = 1024,
    seed: Annotated[int, typer.Option(help="Of answers, and of the order of pairs.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Draw one answer of every model to every prompt.

    Call again to go on after an interruption, or with further models. Each prompt that is left out
    is named with its reason in DIR/filtered.jsonl.
    """
    from foresight.evals.layout import Layout
    from foresight.evals.people import collection
    from foresight.evals.people import prompts as sifting
    from foresight.evals.people.grades import People
    from foresight.evals.protocols import FreeResponse
    from foresight.evals.reading import read_items
    from foresight.inference.open import open_model
    from foresight.views.evals import running
    from foresight.views.people import show_collection

    if layout.count("{question}") != 1:
        raise UserError(f"layout {layout!r}: must contain {{question}} exactly once")
    filters = sifting.Filters(
        min_words, max_copies, disallowed=sifting.read_disallowed(disallowed) if disallowed else ()
    )
    protocol = FreeResponse(
        layout=Layout(question=layout.replace("\\n", "\n")),
        temperature=temperature,
        max_tokens=max_tokens,
        stop=tuple(one.replace("\\n", "\n") for one in stop or ()),
        grader=People(),
    )
    items = read_items(prompts)
    models = [open_model(name) for name in model]
    with running(errors, "answers") as watch:
        found = collection.collect(items, models, out, filters, protocol, seed, watch)
    value = _collected(found, [one.name for one in models], out)
    emit(value, as_json, lambda: show_collection(console, value))


def _collected(found: Collection, models: Sequence[str], out: Path) -> dict[str, Any]:
    """What `collect` says of all that is there and of these models' answers."""
    from foresight.runs import read_jsonl

    pairs, filtered = found.pairs(), read_jsonl(out / "filtered.jsonl")
    came = sum(one.model in models for one in found.answers)
    return {
        "out": str(out),
        "prompts": len(found.prompts),
        "models": found.models,
        "answers": len(found.answers),
        "missing": len(models) * len(found.prompts) - came,
        "pairs": len(pairs),
        "identical": sum(pair.identical for pair in pairs),
        "filtered": dict(Counter(one["reason"] for one in filtered)),
        "left_out": filtered,
    }


@prefer.command()
def judge(
    directory: Collected,
    judge: Annotated[
        list[str] | None, typer.Option("--judge", help="Who judges; several get a page each.")
    ] = None,
    overlap: Overlap = 0.2,
    port: Port = 8422,
    host: Host = "127.0.0.1",
    as_json: AsJson = False,
) -> None:
    """Serve the page on which people choose the better answer, until Ctrl-C.

    Keys: 1 and 2 choose, t or 0 is a tie, s skips, u takes back. Every vote is on disk before the
    next pair is shown; addresses stay the same after a restart.
    """
    from foresight.evals.people.collection import Collection
    from foresight.evals.people.desk import Sharing
    from foresight.evals.people.vote import VoteDesk
    from foresight.runs import locked

    collection = Collection.read(directory)
    sharing = Sharing(tuple(judge or ["judge"]), overlap, collection.seed)
    with locked(directory), VoteDesk(collection, sharing) as desk:
        _serve(desk, "prefer", port, host, as_json)


@prefer.command()
def result(directory: Collected, as_json: AsJson = False) -> None:
    """Win rates with intervals, strengths of several models, position bias, agreement."""
    from foresight.evals.people.collection import Collection
    from foresight.evals.people.preference import preference
    from foresight.views.people import show_preference

    found = preference(Collection.read(directory))
    emit(asdict(found), as_json, lambda: show_preference(console, found))


@prefer.command()
def export(
    directory: Collected,
    out: Annotated[Path, typer.Argument(help="JSONL: prompt, chosen, rejected, judges.")],
    as_json: AsJson = False,
) -> None:
    """Write pairs to train a reward model on; ties are left out and counted."""
    from foresight.evals.people.collection import Collection
    from foresight.evals.people.preference import export as write_pairs
    from foresight.views.people import show_export

    found = write_pairs(Collection.read(directory), out)
    value = {"out": str(out), **asdict(found)}
    emit(value, as_json, lambda: show_export(console, value))


@app.command()
def grade(
    records: Annotated[Path, typer.Argument(help="A records.jsonl, or a folder of them.")],
    rubric: Annotated[
        str,
        typer.Option(
            help="N for points from 0 to N, a YAML file {max, criteria}, or the JSONL of items "
            "(the folder of an exam) that have a rubric each."
        ),
    ] = "10",
    grader: Annotated[
        list[str] | None, typer.Option("--grader", help="Who grades; several get a page each.")
    ] = None,
    overlap: Overlap = 0.2,
    seed: Annotated[int, typer.Option(help="Of the order of answers.")] = 0,
    port: Port = 8423,
    host: Host = "127.0.0.1",
    result: Annotated[
        bool, typer.Option("--result", help="Print what was graded; no page.")
    ] = False,
    to: Annotated[
        Path | None, typer.Option(help="Write the records with people's scores here; no page.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Have people grade answers on a page that shows neither model nor score, until Ctrl-C.

    Every grade is a line of grades.jsonl beside the records before the next answer is shown. Enter
    saves, digits reach the criteria, n the note, s skips, u takes back.
    """
    from foresight.evals.people.desk import Sharing
    from foresight.evals.people.grading import Answers, GradeDesk, grading
    from foresight.evals.people.rubrics import read_rubrics
    from foresight.runs import locked, write_atomic
    from foresight.views.people import show_grading

    answers = Answers.read(records)
    if result or to is not None:
        found = grading(answers.records, answers.grades())
        if to is not None:
            write_atomic(to, "".join(one.to_line() + "\n" for one in answers.scored()))
        return emit(asdict(found), as_json, lambda: show_grading(console, found))
    sharing = Sharing(tuple(grader or ["grader"]), overlap, seed)
    with locked(answers.folder), GradeDesk(answers, read_rubrics(rubric), sharing) as desk:
        _serve(desk, "grade", port, host, as_json)


def _serve(desk: Desk[Any], kind: str, port: int, host: str, as_json: bool) -> None:
    from foresight.report.people_server import serve_people
    from foresight.views.people import show_pages

    server, addresses = serve_people(desk, kind, port, host)
    value = [
        {"person": person, "url": url, "left": desk.card(person)["left"]}
        for person, url in addresses.items()
    ]
    serve_until_stopped(server, value, as_json, lambda: show_pages(console, value))
