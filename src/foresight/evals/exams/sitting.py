"""An exam put to a model: sections as tasks, the holdout's ledger, records on disk.

Protocols are those of the GPT-4 report, appendix A: choices with an explanation at temperature .3
and then the letter, behind worked examples of the development half; free responses at .6, one
sample, the plain task. Base models can be asked for the letter by log-probability instead.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from foresight.errors import UserError
from foresight.evals.exams.bracketed import PHRASE, Bracketed
from foresight.evals.exams.exam import Exam, Half, Section, without_pictures
from foresight.evals.exams.holdout import HoldoutRun, Ledger, Sitting
from foresight.evals.graders import Grader
from foresight.evals.journal import now, read_records
from foresight.evals.layout import Layout
from foresight.evals.people.grades import People
from foresight.evals.protocols import ChoiceGenerate, ChoiceLogprob, Code, FreeResponse, Protocol
from foresight.evals.reading import read_protocol
from foresight.evals.record import Reason, Record
from foresight.evals.runner import Progress, run
from foresight.evals.task import Task
from foresight.inference.language_model import LanguageModel
from foresight.runs import read_json, sha256_file, sha256_json, write_json

ANSWERED = Layout(
    instruction="ANSWER KEY\n\nHere are the answers for the problems in the exam.\n\n",
    question="Problem {number}. {question}\n{options}Explanation for Problem {number}:",
    option="[{letter}] {choice}\n",
    answer=" {solution}\n" + PHRASE + "{answer}]",
)
"""The report's answer key, for answers that are more or less than one letter."""
SEVERAL = ANSWERED.model_copy(
    update={"question": "Problem {number}. {question}\nChoose all that apply from the following "
            "options:\n{options}Explanation for Problem {number}:"}
)  # fmt: skip


@dataclass(frozen=True)
class Arm:
    """How an exam is taken: which half, with or without pictures, how choices are asked for, who
    grades free responses."""

    half: Half = "development"
    images: bool = True
    choices: Literal["generate", "logprob"] = "generate"
    grader: Grader = field(default_factory=People)

    @property
    def name(self) -> str:
        """Of its directory."""
        words = [self.half, "" if self.images else "no-images"]
        return "-".join(filter(None, [*words, "logprob" if self.choices == "logprob" else ""]))


def protocol(section: Section, arm: Arm) -> Protocol:
    """How a section's questions are put."""
    if section.protocol:
        return read_protocol(section.protocol, Path("exam.yaml"))
    drawn = section.temperature
    if section.format == "choice":
        if arm.choices == "logprob":
            return ChoiceLogprob()
        return ChoiceGenerate(
            temperature=0.3 if drawn is None else drawn,
            explanation_tokens=section.max_tokens or 512,
        )
    if section.format == "code":
        several = 0.6 if section.attempts > 1 else 0.0
        return Code(
            continues=False,
            temperature=several if drawn is None else drawn,
            max_tokens=section.max_tokens or 1024,
            stop=(),
        )
    if section.format == "free_response":
        return FreeResponse(
            layout=Layout(answer="\n{solution}"),
            temperature=0.6 if drawn is None else drawn,
            max_tokens=section.max_tokens or 1024,
            grader=arm.grader,
        )
    several_letters = section.format == "choices"
    return FreeResponse(
        layout=SEVERAL if several_letters else ANSWERED,
        temperature=(0.3 if several_letters else 0.6) if drawn is None else drawn,
        max_tokens=section.max_tokens or 512,
        # An answer key goes on with the next problem.
        stop=("\nProblem ",),
        grader=Bracketed(answers="letters" if several_letters else "text"),
    )


def tasks(exam: Exam, arm: Arm) -> dict[str, Task]:
    """A task for every section.

    Raises UserError if a section has no questions in this half, or if the exam cannot be taken
    without its pictures.
    """
    if not arm.images and exam.file.images == "required":
        raise UserError(
            f"{exam.folder / 'exam.yaml'}, field images: required; it cannot be taken without"
        )
    found = {}
    for section in exam.file.sections:
        asked, examples = exam.asked(arm.half, section), exam.examples(section)
        if not asked:
            raise UserError(
                f"{exam.folder / arm.half / section.name}.jsonl: no questions to put"
                + (" besides the examples" if examples and arm.half == "development" else "")
            )
        if not arm.images:
            asked = tuple(map(without_pictures, asked))
            examples = tuple(map(without_pictures, examples))
        few_shot = {"": examples} if examples else {}
        name = re.sub(r"[^\w.+-]+", "_", f"{exam.name}.{section.name}")
        found[section.name] = Task(name, asked, protocol(section, arm), few_shot)
    return found


def method(exam: Exam, asked: Mapping[str, Task], arm: Arm) -> str:
    """Hash of how an exam is taken: protocols, examples, attempts, pictures if it has any."""
    sections = [
        [
            section.name,
            asked[section.name].protocol.settings(),
            [[one.id, one.meta["solution"]] for one in exam.examples(section)],
            section.attempts,
        ]
        for section in exam.file.sections
    ]
    return sha256_json([sections, arm.images or not exam.has_pictures])


Watch = Callable[[str], AbstractContextManager[Callable[[Progress], None]]]
"""A progress bar for a section."""


@dataclass(frozen=True)
class Sat:
    """Records of an exam by section. `run`: of the holdout, if it is finished."""

    records: Mapping[str, tuple[Record, ...]]
    method: str
    run: HoldoutRun | None = None


def sit(
    exam: Exam, arm: Arm, model: LanguageModel, out_dir: Path, ledger: Path, watch: Watch
) -> Sat:
    """Put an exam to a model, or go on with it; a directory of records for each section.

    A holdout run that is finished is never asked again: its records are read, and refused if they
    are not those that were finished. Raises UserError.
    """
    asked = tasks(exam, arm)
    how = method(exam, asked, arm)
    twin = Arm(arm.half, not arm.images, arm.choices)
    _take_over(asked, model, out_dir.with_name(twin.name), out_dir)
    if arm.half == "development":
        return Sat(_ask(exam, asked, model, out_dir, watch), how)
    book = Ledger(ledger)
    name = _begun(book, Sitting(exam.hash, model.name, how), exam.name, out_dir)
    done = book.finished(name)
    if done is None:
        records = _ask(exam, asked, model, out_dir, watch)
        if any(one.reason is Reason.NO_RESPONSE for some in records.values() for one in some):
            return Sat(records, how)
        book.finish(name, _records_hash(exam, out_dir), now())
    elif done != _records_hash(exam, out_dir):
        raise UserError(f"{out_dir}: its records are not those that were finished (see {ledger})")
    else:
        records = {name: tuple(read_records(out_dir / name)) for name in asked}
    return Sat(records, how, book.run(name))


def _ask(
    exam: Exam, asked: Mapping[str, Task], model: LanguageModel, out_dir: Path, watch: Watch
) -> dict[str, tuple[Record, ...]]:
    records = {}
    for section in exam.file.sections:
        with watch(f"{exam.name}: {section.name}") as bar:
            records[section.name] = tuple(
                run(
                    asked[section.name],
                    model,
                    out_dir / section.name,
                    section.attempts,
                    on_progress=bar,
                )
            )
    return records


def _take_over(asked: Mapping[str, Task], model: LanguageModel, twin: Path, out_dir: Path) -> None:
    """A section without pictures is one task in the arm with them and in the arm without: what one
    has answered the other does not ask again."""
    for name, task in asked.items():
        path = twin / name / "task.json"
        if (out_dir / name).exists() or not path.exists():
            continue
        held = read_json(path)
        if (held["sha256"], held["model"]) == (task.hash, model.name):
            shutil.copytree(twin / name, out_dir / f".{name}", dirs_exist_ok=True)
            (out_dir / f".{name}").rename(out_dir / name)


def _begun(book: Ledger, sitting: Sitting, name: str, out_dir: Path) -> str:
    """The run that a directory holds, or a new one."""
    path = out_dir / "holdout.json"
    if path.exists():
        held = read_json(path)
        if not isinstance(held, dict) or held.get("sitting") != vars(sitting):
            raise UserError(
                f"{out_dir}: holds a run of another model, method or exam; give another --out"
            )
        return str(held["run"])
    run_name = book.begin(sitting, name, now())
    write_json(path, {"run": run_name, "sitting": vars(sitting)})
    return run_name


def _records_hash(exam: Exam, out_dir: Path) -> str:
    files = [out_dir / one.name / "records.jsonl" for one in exam.file.sections]
    return hashlib.sha256("".join(map(sha256_file, files)).encode()).hexdigest()
