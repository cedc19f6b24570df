"""BIG-Bench Hard: 27 tasks, a file each."""

from __future__ import annotations

import json
import re
from pathlib import Path

from foresight.document import Text
from foresight.errors import UserError
from foresight.evals.files import read_files
from foresight.evals.graders import RegexMatch
from foresight.evals.item import Item
from foresight.evals.layout import Layout
from foresight.evals.protocols import FreeResponse
from foresight.evals.suites.suite import Suite

STEPS = "Let's think step by step."


def big_bench_hard(path: Path, subset: str) -> Suite:
    """Suzgun et al. 2022: `TASK.json` with {examples: [{input, target}]}. `subset`: a task.

    With the prompts `TASK.txt` (folder cot-prompts of the authors): chain of thought after their
    three worked examples, and what stands behind "the answer is" must be the target. Without them:
    the answer itself, after three questions of the same file, which are not asked.
    """
    files = read_files(path, f"{subset or '*'}.json", f"{subset or '*'}.txt")
    # Beside the tasks the authors hand out what models wrote.
    tasks = [name.removesuffix(".json") for name in files
             if name.endswith(".json") and "_few_shot_template_" not in name]  # fmt: skip
    items: list[Item] = []
    for task in tasks:
        items += _items(f"{path}, {task}.json", task, files[f"{task}.json"])
    prompts = {task: files[f"{task}.txt"] for task in tasks if f"{task}.txt" in files}
    if not prompts:
        return Suite(tuple(items), _protocol(""), shots=3, own_by_category=True)
    examples = {}
    for task in tasks:
        if task not in prompts:
            raise UserError(f"{path}: {task}.json has no prompt {task}.txt, as other tasks do")
        examples[task] = _worked(f"{path}, {task}.txt", task, prompts[task])
    return Suite(tuple(items), _protocol(f" {STEPS}"), examples, shots=3)


def _protocol(steps: str) -> FreeResponse:
    begins = ".*the answer is" if steps else r"\A"
    return FreeResponse(
        layout=Layout(
            question=f"{{question}}\nA:{steps}", answer="\n{solution}" if steps else " {answer}"
        ),
        temperature=0.0,
        max_tokens=512 if steps else 64,
        stop=("\n\n",) if steps else ("\n",),
        grader=RegexMatch(pattern=rf"{begins}\s*(.*?)\.?\s*$", normalise="space"),
    )


def _items(where: str, task: str, text: str) -> list[Item]:
    try:
        rows = [(str(row["input"]), str(row["target"])) for row in json.loads(text)["examples"]]
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise UserError(f"{where}: expected examples of input and target ({error!r})") from None
    meta = {"category": task}
    return [
        Item(f"{task}/{at}", (Text(f"Q: {asked}"),), target=(target.strip(),), meta=meta)
        for at, (asked, target) in enumerate(rows)
    ]


def _worked(where: str, task: str, text: str) -> tuple[Item, ...]:
    """The examples of a prompt file; the task's description stands before the first."""
    # A warning to crawlers comes first, above a line of dashes.
    told = re.split(r"^-{3,}\s*$", text, maxsplit=1, flags=re.MULTILINE)[-1].strip()
    head, *blocks = re.split(r"\n\n(?=Q: )", told)
    examples = []
    for at, block in enumerate(blocks):
        question, found, solution = block.partition(f"\nA: {STEPS}")
        if not found or not solution.strip():
            raise UserError(f"{where}, example {at + 1}: expected Q: ... A: {STEPS} ...")
        parts = (Text(question if at else f"{head}\n\n{question}"),)
        meta = {"category": task, "solution": solution.strip()}
        examples.append(Item(f"{task}/example/{at}", parts, meta=meta))
    return tuple(examples)
