"""Pictures: interleaved image-text documents, and questions about held-out pictures.

Every picture has a combination key (colour, shape and cell; the word; ...). A key belongs
to training or to validation whatever the seed, so that a validation question is about a
picture whose like was never trained on. Answers are drawn before anything else, so that
without the picture no question can be answered better than by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from foresight.document import Document, Image, Text
from foresight.errors import UserError
from foresight.worlds.drawing import (
    COLOURS,
    SHAPES,
    Placed,
    chart,
    font_names,
    fonts,
    scene,
    writing,
)
from foresight.worlds.splits import Split, generator, hash64, held_out, pick

HELD_OUT_SHARE = 0.1
CAPTION_SHARE = 0.4
ORDINALS = ("first", "second", "third")
RELATIONS = ("left of", "right of", "above", "below")
# Three to five letters: enough words of each length for choices of equal length.
_WORD_LIST = (
    "air arm art ball bed bee bell bird boat bone book bowl box boy bread brick brush bus "
    "bush cake camp car cat cave chair city clock cloud coal coat cook corn cow crow cup day "
    "desk dish dog door dream duck dust ear earth egg eye face fan farm fence field fire fish "
    "flag floor foot fork fox frog game gate girl glass goat gold grass green hand hat hill "
    "home honey hook horn horse house ice jar jeans juice key king kite knife lake lamp leaf "
    "leg lemon lion lock map meat milk moon mouse music nail nest night nose nut ocean olive "
    "onion oven page paint paper park pen piano pig pin pipe plane plant plate pool pot queen "
    "rain rice ring river road robot rock roof room rope rose rug salt sand sea seed sheep "
    "ship shirt shoe shop sky snow soap sock sofa song soup spoon spot star stick stone stove "
    "sugar sun sword table tail tent tiger time toe tooth torch tower town toy train tree "
    "truck vase voice wall watch water wave week wheel wind wing wolf wood wool word yard "
    "year zebra zoo"
)
WORDS = tuple(_WORD_LIST.split())


@dataclass(frozen=True)
class Question:
    """A question with its choices; `answer` is the index of the right one."""

    family: str
    text: str
    choices: tuple[str, ...]
    answer: int

    @property
    def solved(self) -> str:
        return f"Q: {self.text}\nA: {self.choices[self.answer]}\n"


@dataclass(frozen=True)
class Shown:
    """Pictures that belong together, and what can be said and asked about them."""

    key: str
    images: tuple[Image, ...]
    captions: tuple[str, ...]
    questions: tuple[Question, ...]


@dataclass(frozen=True)
class PictureQuestion:
    """A multiple-choice question about held-out pictures, scored by log-probability.

    `parts` are the pictures and a text that ends in "A:"; each choice starts with a space;
    chance is `1 / len(choices)`.
    """

    id: str
    parts: tuple[Image | Text, ...]
    choices: tuple[str, ...]
    answer: int
    family: str


def documents(seed: int, count: int, split: Split) -> Iterator[Document]:
    """`count` documents of 1 to 4 pictures, each followed by a caption or by questions.

    Text comes after its picture, so that it can be predicted from it. Document i depends
    on (seed, split, i) alone.
    """
    for index in range(count):
        rng = generator(seed, f"pictures/{split}", index)
        parts: list[Text | Image] = []
        keys: list[str] = []
        if rng.random() < 0.25:
            _tell(rng, _several(rng, split), parts, keys)
        else:
            for _ in range(1 + int(rng.integers(4))):
                _tell(rng, pick(rng, _SINGLE)(rng, split), parts, keys)
        yield Document(
            id=f"pictures-{split}-{seed}-{index}",
            parts=tuple(parts),
            source="pictures",
            group=" + ".join(keys),
        )


def questions(
    seed: int,
    count: int,
    split: Split = "validation",
    families: Sequence[str] | None = None,
) -> Iterator[PictureQuestion]:
    """`count` questions, the families in turn. Raises UserError for an unknown family."""
    chosen = tuple(families) if families is not None else FAMILIES
    unknown = [family for family in chosen if family not in FAMILIES]
    if unknown or not chosen:
        raise UserError(f"picture families must be among {', '.join(FAMILIES)}, got {chosen}")
    for index in range(count):
        family = chosen[index % len(chosen)]
        rng = generator(seed, f"questions/{split}/{family}", index)
        shown = _MAKERS[family](rng, split)
        question = pick(rng, [q for q in shown.questions if q.family == family])
        yield PictureQuestion(
            id=f"{family}-{split}-{seed}-{index}",
            parts=(*shown.images, Text(f"Q: {question.text}\nA:")),
            choices=tuple(f" {choice}" for choice in question.choices),
            answer=question.answer,
            family=family,
        )


def _tell(
    rng: np.random.Generator, shown: Shown, parts: list[Text | Image], keys: list[str]
) -> None:
    """Append pictures, then captions or else questions: after both, one could be copied."""
    keys.append(shown.key)
    captioned = rng.random() < CAPTION_SHARE
    for image, caption in zip(shown.images, shown.captions, strict=True):
        parts.append(image)
        if captioned:
            parts.append(Text(f"{caption}\n"))
    if not captioned or len(shown.images) > 1:
        order = rng.permutation(len(shown.questions)).tolist()
        parts.append(Text("".join(shown.questions[at].solved for at in order)))


def _ask(
    rng: np.random.Generator, family: str, text: str, answer: str, others: Sequence[str]
) -> Question:
    """Four choices at most: the answer and others drawn uniformly, in random order."""
    wrong = [others[at] for at in rng.permutation(len(others))[:3].tolist()]
    at = int(rng.integers(len(wrong) + 1))
    return Question(family, text, (*wrong[:at], answer, *wrong[at:]), at)


def _but(options: Sequence[str], answer: str) -> list[str]:
    return [option for option in options if option != answer]


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _held_out_cell(colour: str, shape: str) -> int:
    """The one cell of nine in which a coloured shape is never trained on.

    One cell for each pair, rather than a share of all triples, keeps colour and shape
    independent of each other within both splits.
    """
    return hash64(f"{colour} {shape}") % 9


def _place(rng: np.random.Generator, colour: str, shape: str, split: Split) -> Placed:
    out = _held_out_cell(colour, shape)
    cell = out if split == "validation" else pick(rng, [at for at in range(9) if at != out])
    half = 5 + int(rng.integers(3))
    shift_x, shift_y = rng.integers(-1, 2, size=2).tolist()
    return Placed(shape, colour, 8 + 8 * (cell % 3) + shift_x, 8 + 8 * (cell // 3) + shift_y, half)


def _single(rng: np.random.Generator, split: Split) -> Shown:
    """One shape: its colour and its form."""
    colour, shape = pick(rng, tuple(COLOURS)), pick(rng, SHAPES)
    placed = _place(rng, colour, shape, split)
    return Shown(
        key=f"{colour} {shape} {(placed.x + 4) // 8},{(placed.y + 4) // 8}",
        images=(scene(rng, [placed], 32, 32),),
        captions=(f"{_article(colour).capitalize()} {shape}.",),
        questions=(
            _ask(
                rng, "colour", f"What colour is the {shape}?", colour, _but(tuple(COLOURS), colour)
            ),
            _ask(rng, "shape", f"Which shape is {colour}?", shape, _but(SHAPES, shape)),
        ),
    )


def _relation(rng: np.random.Generator, split: Split) -> Shown:
    """Two shapes of different colours, one of them beside or above the other.

    Held out are pairs, in all four relations at once: were it single relations, the names
    in a question would tell which of its answers are held out.
    """
    relation = pick(rng, RELATIONS)
    while True:
        colours = [tuple(COLOURS)[at] for at in rng.permutation(len(COLOURS))[:2].tolist()]
        names = [f"{colour} {pick(rng, SHAPES)}" for colour in colours]
        key = " and ".join(sorted(names))
        if held_out(key, HELD_OUT_SHARE) == (split == "validation"):
            break
    first, second = names if relation in ("left of", "above") else names[::-1]
    upright = relation in ("above", "below")
    near, far = 8 + int(rng.integers(-1, 2)), 24 + int(rng.integers(-1, 2))
    placed = []
    for name, along in ((first, near), (second, far)):
        colour, shape = name.split()
        across = 16 + int(rng.integers(-3, 4))
        x, y = (across, along) if upright else (along, across)
        placed.append(Placed(shape, colour, x, y, 4 + int(rng.integers(3))))
    text = f"Is the {names[0]} left of, right of, above or below the {names[1]}?"
    return Shown(
        key=key,
        images=(scene(rng, placed, 32, 32),),
        captions=(f"The {names[0]} is {relation} the {names[1]}.",),
        questions=(_ask(rng, "relation", text, relation, _but(RELATIONS, relation)),),
    )


def _count(rng: np.random.Generator, split: Split) -> Shown:
    """One to four equal shapes in the cells of a 3x3 grid.

    A ninth of the arrangements is held out for each number, colour and shape.
    """
    number = 1 + int(rng.integers(4))
    colour, shape = pick(rng, tuple(COLOURS)), pick(rng, SHAPES)
    while True:
        cells = sorted(rng.permutation(9)[:number].tolist())
        out = sum(cells) % 9 == _held_out_cell(colour, shape)
        if out == (split == "validation"):
            break
    placed = [Placed(shape, colour, 5 + 11 * (at % 3), 5 + 11 * (at // 3), 4) for at in cells]
    plural = "crosses" if shape == "cross" else f"{shape}s"
    answers = ("1", "2", "3", "4")
    caption = (
        f"There is 1 {colour} {shape}." if number == 1 else f"There are {number} {colour} {plural}."
    )
    asked = f"How many {plural} are there?"
    return Shown(
        key=f"{number} {colour} {shape} {cells}",
        images=(scene(rng, placed, 32, 32),),
        captions=(caption,),
        questions=(_ask(rng, "count", asked, str(number), _but(answers, str(number))),),
    )


@lru_cache(maxsize=6)
def _readable(split: Split, kind: str) -> tuple[str, ...]:
    """Texts that may be shown. Digits are too few to hold any out: their fonts are."""
    out = split == "validation"
    match kind:
        case "digit":
            return tuple(str(n) for n in range(10))
        case "number":
            numbers = (str(n) for n in range(10, 1000))
            return tuple(n for n in numbers if held_out(n, HELD_OUT_SHARE) == out)
        case _:
            return tuple(word for word in WORDS if held_out(word, 2 * HELD_OUT_SHARE) == out)


@lru_cache(maxsize=16)
def _of_length(split: Split, kind: str, length: int) -> tuple[str, ...]:
    return tuple(text for text in _readable(split, kind) if len(text) == length)


def _read(rng: np.random.Generator, split: Split) -> Shown:
    """A rendered word or number; validation has its own words and, for half of them, fonts."""
    kind = pick(rng, ("digit", "number", "word"))
    text = pick(rng, _readable(split, kind))
    strange = split == "validation" and (kind == "digit" or rng.random() < 0.5)
    name = pick(rng, font_names(strange))
    asked = "Which word is this?" if kind == "word" else "Which number is this?"
    # Choices of equal length: otherwise the picture's width would do for the answer.
    others = _but(_of_length(split, kind, len(text)), text)
    return Shown(
        key=f"{name} {text}" if kind == "digit" else text,
        images=(writing(rng, text, fonts()[name]),),
        captions=(f'It says "{text}".',),
        questions=(_ask(rng, "read", asked, text, others),),
    )


def _chart(rng: np.random.Generator, split: Split) -> Shown:
    """Two to four bars of different heights, 1 to 8.

    A seventh of the profiles is held out: differences of heights modulo 8, whatever the
    colours. Raising all bars of a profile by one (8 becomes 1) leaves it in its split, so
    that every height is equally frequent in both.
    """
    number = 2 + int(rng.integers(3))
    colours = [tuple(COLOURS)[at] for at in rng.permutation(len(COLOURS))[:number].tolist()]
    while True:
        values = [1 + at for at in rng.permutation(8)[:number].tolist()]
        profile = [(value - values[0]) % 8 for value in values]
        out = sum(at * step for at, step in enumerate(profile)) % 7 == 3
        if out == (split == "validation"):
            break
    described = ", ".join(f"{c} {v}" for c, v in zip(colours, values, strict=True))
    tallest = colours[int(np.argmax(values))]
    one = int(rng.integers(number))
    heights = [str(value) for value in range(1, 9)]
    value = str(values[one])
    return Shown(
        key=f"bars {profile}",
        images=(chart(rng, list(zip(colours, values, strict=True))),),
        captions=(f"A bar chart: {described}.",),
        questions=(
            _ask(rng, "chart", "Which bar is tallest?", tallest, _but(colours, tallest)),
            _ask(rng, "chart", f"How tall is the {colours[one]} bar?", value, _but(heights, value)),
        ),
    )


def _several(rng: np.random.Generator, split: Split) -> Shown:
    """Two or three pictures of one shape each, told apart by their colours."""
    number = 2 + int(rng.integers(2))
    colours = [tuple(COLOURS)[at] for at in rng.permutation(len(COLOURS))[:number].tolist()]
    shapes = [pick(rng, SHAPES) for _ in colours]
    placed = [_place(rng, c, s, split) for c, s in zip(colours, shapes, strict=True)]
    which = int(rng.integers(number))
    about = int(rng.integers(number))
    where = f"Which picture shows {_article(colours[which])} {shapes[which]}?"
    what = f"What colour is the {ORDINALS[about]} picture's {shapes[about]}?"
    captions = [
        f"The {ORDINALS[at]} picture shows {_article(colours[at])} {shapes[at]}."
        for at in range(number)
    ]
    return Shown(
        key=" & ".join(f"{c} {s}" for c, s in zip(colours, shapes, strict=True)),
        images=tuple(scene(rng, [one], 32, 32) for one in placed),
        captions=tuple(captions),
        questions=(
            _ask(rng, "several", where, ORDINALS[which], _but(ORDINALS[:number], ORDINALS[which])),
            _ask(rng, "several", what, colours[about], _but(tuple(COLOURS), colours[about])),
        ),
    )


_SINGLE: tuple[Callable[[np.random.Generator, Split], Shown], ...] = (
    _single,
    _single,
    _relation,
    _count,
    _read,
    _chart,
)
_MAKERS: dict[str, Callable[[np.random.Generator, Split], Shown]] = {
    "colour": _single,
    "shape": _single,
    "relation": _relation,
    "count": _count,
    "read": _read,
    "chart": _chart,
    "several": _several,
}
FAMILIES = tuple(_MAKERS)
