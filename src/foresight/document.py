"""Documents: interleaved text and image parts, the currency between sources and shards."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foresight.errors import UserError

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
MOST_PIXELS = 50_000_000


@dataclass(frozen=True)
class Text:
    """A run of text; `weight` multiplies the loss of each of its tokens (0: context only)."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True, eq=False)
class Image:
    """An RGB picture, `pixels` of shape (height, width, 3), uint8. Never a training target."""

    pixels: NDArray[np.uint8]

    def __post_init__(self) -> None:
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 3 or self.pixels.shape[2] != 3:
            raise UserError(
                f"image pixels must be uint8 of shape (height, width, 3), "
                f"got {self.pixels.dtype} of shape {self.pixels.shape}"
            )

    @classmethod
    def from_bytes(cls, data: bytes, name: str) -> Image:
        """Decode a picture of one of `FORMATS`. Raises UserError naming `name` if it is none, or
        has more than `MOST_PIXELS`: a few kilobytes can unpack to gigabytes."""
        from PIL import Image as PillowImage
        from PIL import UnidentifiedImageError

        try:
            # Only the header is read here.
            with PillowImage.open(io.BytesIO(data), formats=FORMATS) as picture:
                width, height = picture.size
                if width * height > MOST_PIXELS:
                    raise PillowImage.DecompressionBombError(
                        f"{width} x {height} pixels; at most {MOST_PIXELS:,} are read"
                    )
                return cls(np.asarray(picture.convert("RGB")))
        except UnidentifiedImageError:
            raise UserError(
                f"{name}: not a readable image (none of {', '.join(FORMATS)})"
            ) from None
        except (OSError, ValueError, SyntaxError, PillowImage.DecompressionBombError) as error:
            raise UserError(f"{name}: not a readable image ({error})") from None

    @classmethod
    def from_file(cls, path: Path) -> Image:
        """Read a picture from disk. Raises UserError naming the file."""
        try:
            return cls.from_bytes(path.read_bytes(), str(path))
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from None


IM_START, IM_END = 6, 7
"""Where a turn of a chat begins and ends."""


@dataclass(frozen=True)
class Mark:
    """A special token by its id, as where a turn of a chat begins: no text becomes one."""

    token: int
    weight: float = 0.0


Part = Text | Image | Mark


@dataclass(frozen=True)
class Document:
    """One training or validation example.

    `source` names where it came from ("code", "programs", "pictures", ...): losses are
    reported per source. `group` is the unit that must not straddle the train/validation
    split (a top-level package, a composition, ...).
    """

    id: str
    parts: tuple[Part, ...]
    source: str
    group: str = field(default="")

    @property
    def text(self) -> str:
        """All text parts joined; images left out."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))
