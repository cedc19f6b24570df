"""Drawing with Pillow: shapes, words, tables and bar charts on small canvases.

All sizes are in pixels and multiples of 8, the side of the model's patches.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from foresight.document import Image
from foresight.worlds.splits import pick

PATCH = 8
Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

COLOURS: dict[str, Colour] = {
    "red": (215, 30, 35),
    "green": (25, 150, 50),
    "blue": (35, 70, 220),
    "yellow": (245, 220, 25),
    "purple": (130, 40, 160),
    "orange": (250, 135, 20),
    "cyan": (40, 215, 225),
    "brown": (140, 80, 35),
}
SHAPES = ("circle", "square", "triangle", "cross", "ring", "bar", "diamond")
# Greys only, so that no background is one of the colours asked for.
BACKGROUNDS: tuple[Colour, ...] = ((255, 255, 255), (0, 0, 0), (205, 205, 205), (50, 50, 50))
JITTER = 12


@dataclass(frozen=True)
class Placed:
    """A shape at its centre (x, y), reaching `half` pixels to each side."""

    shape: str
    colour: str
    x: int
    y: int
    half: int


def scene(rng: np.random.Generator, shapes: Sequence[Placed], width: int, height: int) -> Image:
    """Draw shapes on a grey background; colours vary by at most `JITTER` per channel."""
    canvas = PillowImage.new("RGB", (width, height), pick(rng, BACKGROUNDS))
    draw = ImageDraw.Draw(canvas)
    for placed in shapes:
        _draw_shape(draw, placed, _jittered(rng, COLOURS[placed.colour]))
    return Image(np.asarray(canvas))


def stripes(rng: np.random.Generator, colours: Sequence[str]) -> Image:
    """Stripes from the top, each 8 high and 16 wide, of colours that vary as in `scene`."""
    rows = [np.full((PATCH, 2 * PATCH, 3), _jittered(rng, COLOURS[one])) for one in colours]
    return Image(np.concatenate(rows).astype(np.uint8))


def table(rng: np.random.Generator, rows: Sequence[Sequence[str]]) -> Image:
    """Cells of colours that vary as in `scene`, row by row; a cell is a patch."""
    cells = np.array([[_jittered(rng, COLOURS[name]) for name in row] for row in rows], np.uint8)
    return Image(cells.repeat(PATCH, axis=0).repeat(PATCH, axis=1))


def chart(rng: np.random.Generator, bars: Sequence[tuple[str, int]]) -> Image:
    """A bar chart, 32 high and 48 wide, of (colour, value) bars; values are 1 to 8.

    A unit is 3 pixels; a tick on the axis marks each second unit.
    """
    canvas = PillowImage.new("RGB", (48, 32), (255, 255, 255))
    draw = ImageDraw.Draw(canvas)
    floor, left = 28, 6
    draw.line((left, 2, left, floor), fill=(0, 0, 0))
    draw.line((left, floor, 47, floor), fill=(0, 0, 0))
    for value in range(2, 9, 2):
        draw.line((left - 3, floor - 3 * value, left, floor - 3 * value), fill=(0, 0, 0))
    pitch = (47 - left) // len(bars)
    for at, (colour, value) in enumerate(bars):
        x = left + 2 + at * pitch
        box = (x, floor - 3 * value, x + pitch - 4, floor - 1)
        draw.rectangle(box, fill=_jittered(rng, COLOURS[colour]))
    return Image(np.asarray(canvas))


def writing(rng: np.random.Generator, text: str, font: Font) -> Image:
    """Dark text on light or light on dark, 16 or 24 high and as wide as needed, at most 64."""
    left, top, right, bottom = (int(edge) for edge in font.getbbox(text))
    width = min(64, _whole_patches(right - left + 2))
    height = min(24, max(16, _whole_patches(bottom - top + 2)))
    shade = int(rng.integers(60))
    ink, paper = (shade,) * 3, (255 - shade // 2,) * 3
    if rng.random() < 0.25:
        ink, paper = paper, ink
    canvas = PillowImage.new("RGB", (width, height), paper)
    at = ((width - (right - left)) // 2 - left, (height - (bottom - top)) // 2 - top)
    ImageDraw.Draw(canvas).text(at, text, fill=ink, font=font)
    return Image(np.asarray(canvas))


@lru_cache(maxsize=1)
def fonts() -> dict[str, Font]:
    """Fonts by name: Pillow's own, and those that matplotlib carries where it is installed.

    matplotlib's data folder is looked up, not imported: its import takes a second.
    """
    found: dict[str, Font] = {"bitmap": ImageFont.load_default_imagefont()}
    for size in (9, 11, 13):
        found[f"default-{size}"] = ImageFont.load_default(size)
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        return found
    folder = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"
    for path in sorted(folder.glob("DejaVuSans*.ttf")) + sorted(folder.glob("DejaVuSerif*.ttf")):
        if "Display" not in path.stem:  # mathematical glyphs, no alphabet
            for size in (9, 11):
                found[f"{path.stem}-{size}"] = ImageFont.truetype(str(path), size)
    return found


@lru_cache(maxsize=2)
def font_names(held_out: bool) -> tuple[str, ...]:
    """Names of the fonts that only validation pictures use, or of all the others."""
    return tuple(
        name
        for name in fonts()
        if (name == "default-11" or name.startswith("DejaVuSerif-Bold")) == held_out
    )


def _whole_patches(pixels: float) -> int:
    return -(-int(pixels) // PATCH) * PATCH


def _jittered(rng: np.random.Generator, colour: Colour) -> Colour:
    shift = rng.integers(-JITTER, JITTER + 1, size=3).tolist()
    red, green, blue = (min(255, max(0, c + s)) for c, s in zip(colour, shift, strict=True))
    return red, green, blue


def _draw_shape(draw: ImageDraw.ImageDraw, placed: Placed, ink: Colour) -> None:
    x, y, half = placed.x, placed.y, placed.half
    box = (x - half, y - half, x + half, y + half)
    third = max(1, half // 3)
    match placed.shape:
        case "circle":
            draw.ellipse(box, fill=ink)
        case "square":
            draw.rectangle(box, fill=ink)
        case "triangle":
            draw.polygon([(x, y - half), (x - half, y + half), (x + half, y + half)], fill=ink)
        case "cross":
            draw.rectangle((x - half, y - third, x + half, y + third), fill=ink)
            draw.rectangle((x - third, y - half, x + third, y + half), fill=ink)
        case "ring":
            draw.ellipse(box, outline=ink, width=max(2, half // 3))
        case "bar":
            draw.rectangle((x - half, y - third, x + half, y + third), fill=ink)
        case "diamond":
            corners = [(x, y - half), (x + half, y), (x, y + half), (x - half, y)]
            draw.polygon(corners, fill=ink)
        case _:
            raise AssertionError(f"no such shape: {placed.shape}")
