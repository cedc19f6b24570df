"""Which rubric an answer is graded by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from foresight.errors import UserError
from foresight.evals.exams.reading import read_exam
from foresight.evals.files import read_yaml, validated
from foresight.evals.reading import read_items
from foresight.evals.rubric import Rubric


@dataclass(frozen=True)
class Rubrics:
    """The rubric of each item: its own, or the common one."""

    common: Rubric | None
    items: Mapping[str, Rubric] = field(default_factory=dict)

    def of(self, item: str) -> Rubric:
        """Raises UserError if there is none."""
        found = self.items.get(item, self.common)
        if found is None:
            raise UserError(f"item {item}: has no rubric; give one for all with --rubric FILE.yaml")
        return found


def read_rubrics(text: str) -> Rubrics:
    """A number N: a scale from 0 to N. A YAML file: {max, criteria: [{name, points, text}]}, or the
    list alone. A JSONL file of items (.jsonl, .jsonl.gz): each one's `meta.rubric`, of that form.
    The folder of an exam: its questions' rubrics.

    Raises UserError naming file, item and field of what is wrong.
    """
    try:
        points = float(text)
    except ValueError:
        return _rubrics_of(Path(text))
    return Rubrics(validated(Rubric, points, f"rubric {text}"))


def _rubrics_of(path: Path) -> Rubrics:
    if (path / "exam.yaml").exists():
        items = tuple(read_exam(path).questions.values())
    elif path.name.removesuffix(".gz").endswith(".jsonl"):
        items = read_items(path)
    else:
        return Rubrics(validated(Rubric, read_yaml(path), str(path)))
    own = ((item.id, item.meta["rubric"]) for item in items if "rubric" in item.meta)
    return Rubrics(
        None, {id: validated(Rubric, one, f"{path}, item {id}, meta.rubric") for id, one in own}
    )
