"""How an item is written as a prompt: instruction, solved examples, the question."""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, field_validator

from foresight.data.tokenizer import SPECIAL_TOKENS
from foresight.document import Image, Mark, Part, Text
from foresight.errors import UserError
from foresight.evals.item import Item
from foresight.inference.language_model import Parts

LETTERS = string.ascii_uppercase
PICTURE = re.compile(r"\[image ([0-9a-f]{64}) \d+x\d+\]")
"""A picture in a prompt's text: SHA-256, height and width."""
_FIELD = re.compile(r"\{(question|options|category|number|letter|choice|answer|solution)\}")


class Layout(BaseModel):
    """A prompt is `instruction`, then each solved example as `question` + `answer` + `between`,
    then the `question` to be answered, whose answer the model writes or scores.

    Fields in braces are filled in once; braces in an item's own text stay as they are. `{category}`
    is the item's `meta["category"]`; `{number}` counts the questions of a prompt from 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    instruction: str = ""
    """Written once, before everything; may contain `{category}`."""
    question: str = "{question}"
    """Must contain `{question}`; `{options}` lists the choices."""
    option: str = "{letter}. {choice}\n"
    """One choice of the list."""
    answer: str = " {answer}"
    """What follows the question in a solved example, and is scored by log-probability. In examples
    `{solution}` is the worked `meta["solution"]`; without one it and the space before it go."""
    answers: Literal["letter", "choice"] = "letter"
    """Whether a multiple-choice answer is a letter or the text of the choice."""
    between: str = "\n\n"
    """Between one question and the next."""

    @field_validator("question")
    @classmethod
    def _asks(cls, value: str) -> str:
        if value.count("{question}") != 1:
            raise ValueError("must contain {question} exactly once")
        return value

    def prefix(self, shots: Sequence[Item], category: str = "") -> Parts:
        """Instruction and solved examples: the part of a prompt that many items share."""
        parts: list[Text | Image] = [Text(_fill(self.instruction, category=category))]
        for number, shot in enumerate(shots, start=1):
            parts += self.asked(shot, number)
            parts.append(Text(self.answered(shot) + self.between))
        return joined(parts)

    def asked(
        self, item: Item, number: int = 1, order: Sequence[int] | None = None
    ) -> list[Text | Image]:
        """The question; `order` shows its choices in another order."""
        shown = [item.choices[at] for at in (order or range(len(item.choices)))]
        options = "".join(
            _fill(self.option, letter=letter, choice=choice)
            for letter, choice in zip(letters(item), shown, strict=True)
        )
        category = str(item.meta.get("category", ""))
        before, after = (
            _fill(side, options=options, category=category, number=str(number))
            for side in self.question.split("{question}")
        )
        return [Text(before), *item.parts, Text(after)]

    def answered(self, item: Item) -> str:
        """The gold answer as a solved example shows it. Raises UserError if the item has none."""
        solution = str(item.meta.get("solution", ""))
        if isinstance(item.target, int):
            return self.continuation(item, item.target, solution)
        if not item.target and not solution:
            raise UserError(f"item {item.id}: a solved example needs `target` or `meta.solution`")
        gold = item.target[0] if item.target else ""
        return self._answered(gold, solution)

    def continuation(self, item: Item, choice: int, solution: str = "") -> str:
        """A choice as it stands behind the question."""
        value = letters(item)[choice] if self.answers == "letter" else item.choices[choice]
        return self._answered(value, solution)

    def _answered(self, value: str, solution: str) -> str:
        template = self.answer if solution else self.answer.replace(" {solution}", "")
        return _fill(template, answer=value, solution=solution)


def letters(item: Item) -> str:
    """A, B, ... for the item's choices. Raises UserError for more than 26."""
    if len(item.choices) > len(LETTERS):
        raise UserError(f"item {item.id}: {len(item.choices)} choices, but 26 letters")
    return LETTERS[: len(item.choices)]


def joined(parts: Sequence[Part]) -> Parts:
    """The same parts with neighbouring texts as one, empty texts left out."""
    whole: list[Part] = []
    texts: list[str] = []
    for part in [*parts, None]:
        if isinstance(part, Text):
            texts.append(part.text)
            continue
        if any(texts):
            whole.append(Text("".join(texts)))
        texts = []
        if part is not None:
            whole.append(part)
    return tuple(whole)


def image_sha256(image: Image) -> str:
    """Of the pixels; the shape is written beside it."""
    return hashlib.sha256(image.pixels.tobytes()).hexdigest()


def prompt_text(parts: Parts) -> str:
    """A prompt as records show it: a picture as `[image SHA-256 HxW]`."""
    shown = []
    for part in parts:
        if isinstance(part, Text):
            shown.append(part.text)
        elif isinstance(part, Mark):
            shown.append(SPECIAL_TOKENS[part.token])
        else:
            height, width, _ = part.pixels.shape
            shown.append(f"[image {image_sha256(part)} {height}x{width}]")
    return "".join(shown)


def parts_of(prompt: str, folder: Path) -> Parts:
    """A prompt from its text, pictures from the files `SHA-256.png` of a folder. Raises UserError
    if one is missing."""
    parts: list[Text | Image] = []
    end = 0
    for found in PICTURE.finditer(prompt):
        parts += [Text(prompt[end : found.start()]), Image.from_file(folder / f"{found[1]}.png")]
        end = found.end()
    return joined([*parts, Text(prompt[end:])])


def _fill(template: str, **values: str) -> str:
    return _FIELD.sub(lambda found: values.get(found[1], found[0]), template)
