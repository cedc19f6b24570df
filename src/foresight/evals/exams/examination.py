"""Put an exam to a model: sections become tasks, answers become records (GPT-4 report, app. A)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from foresight.document import Image, Text
from foresight.evals.exams.exam import Exam, Half, Section
from foresight.evals.graders import ExactMatch, Grader
from foresight.evals.item import Item
from foresight.evals.layout import image_sha256
from foresight.evals.protocols import (
    ChoiceGenerate,
    ChoiceLogprob,
    Code,
    FreeResponse,
    Protocol,
)
from foresight.evals.reading import read_protocol
from foresight.evals.record import Record
from foresight.evals.runner import Progress, run
from foresight.evals.task import Task
from foresight.inference.language_model import LanguageModel
from foresight.runs import sha256_json


@dataclass(frozen=True)
class Arm:
    """How an exam is put. `images`: with pictures, or a placeholder for each. `choices`: the
    report's way, or by log-probability, which models without a chat manner can do. `rubric`: reads
    free responses that have a rubric (None: accepted answers only)."""

    half: Half = "development"
    images: bool = True
    choices: Literal["generate", "logprob"] = "generate"
    rubric: Grader | None = None


@dataclass(frozen=True, eq=False)
class Paper:
    """An exam as one arm puts it: a task for each section. `method`: hash of all of them."""

    exam: Exam
    arm: Arm
    tasks: tuple[Task, ...]

    @property
    def method(self) -> str:
        return sha256_json([task.hash for task in self.tasks])

    @property
    def name(self) -> str:
        return self.arm.half + ("" if self.arm.images else "-no-images")


def paper(exam: Exam, arm: Arm) -> Paper:
    """The tasks of a half. Raises UserError for a question that cannot be put in its section's
    way."""
    return Paper(exam, arm, tuple(_task(exam, section, arm) for section in exam.sections))


def sit(
    sheet: Paper,
    model: LanguageModel,
    out_dir: Path,
    on_progress: Callable[[Progress], None] | None = None,
) -> dict[str, list[Record]]:
    """Records by section, under `out_dir`; called again, an interrupted exam goes on."""
    return {
        section.name: run(task, model, out_dir / section.name, on_progress=on_progress)
        for section, task in zip(sheet.exam.sections, sheet.tasks, strict=True)
    }


def _task(exam: Exam, section: Section, arm: Arm) -> Task:
    items = section.asked(arm.half)
    examples = section.examples()
    if not arm.images:
        items, examples = _without_images(items), _without_images(examples)
    name = f"{exam.name}-{section.name}-{arm.half}{'' if arm.images else '-no-images'}"
    shots = {"": examples} if examples else {}
    return Task(name, items, _protocol(exam, section, arm), shots)


def _protocol(exam: Exam, section: Section, arm: Arm) -> Protocol:
    if section.file.protocol:
        return read_protocol(section.file.protocol, exam.folder / "exam.yaml")
    match section.file.format:
        case "choice":
            return ChoiceGenerate() if arm.choices == "generate" else ChoiceLogprob()
        case "code":
            return Code()
        case "free_response":
            ruled = any(item.meta.get("rubric") for item in section.asked(arm.half))
            return FreeResponse(grader=arm.rubric if ruled and arm.rubric else ExactMatch())


def _without_images(items: Sequence[Item]) -> tuple[Item, ...]:
    """Every picture is a meaningless file name, as in the report's text-only arm."""
    return tuple(
        replace(
            item,
            parts=tuple(
                Text(f"IMAGE: {image_sha256(part)[:12]}.png\n") if isinstance(part, Image) else part
                for part in item.parts
            ),
        )
        for item in items
    )
