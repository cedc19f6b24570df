"""Encoded documents on disk: memory-mapped arrays per source and split."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foresight.data.tokenizer import BOS, EOS, IMG, IMG_BREAK, IMG_END, Tokenizer
from foresight.document import Document, Image, Mark, Part, Text
from foresight.errors import UserError
from foresight.runs import write_atomic

_ARRAYS = ("tokens", "weights", "patches", "offsets", "patch_offsets")


def image_patches(image: Image, patch: int) -> NDArray[np.uint8]:
    """Cut a picture into rows of patches: (rows, cols, 3 * patch**2), channels first in a patch.

    A side that is no multiple of `patch` is padded with its edge pixels.
    """
    height, width, _ = image.pixels.shape
    pad = ((0, -height % patch), (0, -width % patch), (0, 0))
    pixels = np.pad(image.pixels, pad, mode="edge") if pad[0][1] or pad[1][1] else image.pixels
    rows, cols = pixels.shape[0] // patch, pixels.shape[1] // patch
    cut = pixels.reshape(rows, patch, cols, patch, 3).transpose(0, 2, 4, 1, 3)
    return np.ascontiguousarray(cut).reshape(rows, cols, 3 * patch * patch)


@dataclass
class Encoded:
    """One document as parallel arrays: ids and loss weights (n,), patches (m, 3 * patch**2)."""

    tokens: NDArray[np.uint16]
    weights: NDArray[np.float16]
    patches: NDArray[np.uint8]


def encode_parts(parts: Iterable[Part], tokenizer: Tokenizer, patch: int) -> Encoded:
    """Ids of parts: an image is a mark per patch, a break after each row but the last, an end."""
    tokens: list[int] = []
    weights: list[float] = []
    patches: list[NDArray[np.uint8]] = []
    for part in parts:
        if isinstance(part, Text):
            ids = tokenizer.encode(part.text)
            tokens += ids
            weights += [part.weight] * len(ids)
            continue
        if isinstance(part, Mark):
            tokens.append(part.token)
            weights.append(part.weight)
            continue
        cut = image_patches(part, patch)
        rows, cols, size = cut.shape
        marks = ([IMG] * cols + [IMG_BREAK]) * rows
        marks[-1] = IMG_END
        tokens += marks
        weights += [0.0] * len(marks)
        patches.append(cut.reshape(rows * cols, size))
    empty = np.zeros((0, 3 * patch * patch), np.uint8)
    return Encoded(
        np.array(tokens, np.uint16),
        np.array(weights, np.float16),
        np.concatenate(patches) if patches else empty,
    )


def encode_document(document: Document, tokenizer: Tokenizer, patch: int) -> Encoded:
    """A document between its begin mark (never a target) and its end mark (a target)."""
    body = encode_parts(document.parts, tokenizer, patch)
    return Encoded(
        np.concatenate([[BOS], body.tokens, [EOS]]).astype(np.uint16),
        np.concatenate([[0.0], body.weights, [1.0]]).astype(np.float16),
        body.patches,
    )


@dataclass(frozen=True)
class Shard:
    """The documents of one source and split.

    tokens (n,) uint16; weights (n,) float16, the loss weight of each token as a target;
    patches (m, 3 * patch**2) uint8, in the order of the patch marks; offsets and
    patch_offsets (documents + 1,) int64.
    """

    tokens: NDArray[np.uint16]
    weights: NDArray[np.float16]
    patches: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    patch_offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def write(
        cls, directory: Path, name: str, encoded: Iterable[Encoded], patch: int
    ) -> dict[str, int]:
        """Write `name.*.npy` atomically; returns counts of documents, tokens and patches."""
        documents = list(encoded)
        if not documents:
            raise UserError(f"source '{name}': no documents to write")
        arrays = {
            "tokens": np.concatenate([one.tokens for one in documents]),
            "weights": np.concatenate([one.weights for one in documents]),
            "patches": np.concatenate([one.patches for one in documents]),
            "offsets": np.cumsum([0, *(len(one.tokens) for one in documents)], dtype=np.int64),
            "patch_offsets": np.cumsum(
                [0, *(len(one.patches) for one in documents)], dtype=np.int64
            ),
        }
        for key in _ARRAYS:
            write_atomic(directory / f"{name}.{key}.npy", _npy_bytes(arrays[key]))
        return {
            "documents": len(documents),
            "tokens": int(arrays["offsets"][-1]),
            "patches": int(arrays["patch_offsets"][-1]),
        }

    @classmethod
    def open(cls, directory: Path, name: str) -> Shard:
        """Memory-map a shard. Raises UserError naming a file that is missing or torn."""
        loaded = {}
        for key in _ARRAYS:
            path = directory / f"{name}.{key}.npy"
            try:
                loaded[key] = _open_array(path)
            except (OSError, ValueError, EOFError) as error:
                raise UserError(
                    f"{path}: truncated or unreadable ({error}); rebuild it with `foresight corpus`"
                ) from None
        shard = cls(**loaded)
        if len(shard.tokens) != shard.offsets[-1] or len(shard.patches) != shard.patch_offsets[-1]:
            raise UserError(
                f"{directory / name}: offsets promise {shard.offsets[-1]} tokens and "
                f"{shard.patch_offsets[-1]} patches, files hold {len(shard.tokens)} and "
                f"{len(shard.patches)}; rebuild with `foresight corpus`"
            )
        return shard

    @staticmethod
    def file_names(name: str) -> list[str]:
        return [f"{name}.{key}.npy" for key in _ARRAYS]


def _open_array(path: Path) -> Any:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError:
        # An empty array cannot be mapped; a torn file fails here too.
        return np.load(path, allow_pickle=False)


def _npy_bytes(array: NDArray[np.generic]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()
