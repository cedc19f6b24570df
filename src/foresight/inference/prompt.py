"""Prompts as token ids, and what makes two of them begin alike."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foresight.data.shards import encode_parts
from foresight.data.tokenizer import BOS, IMG, SPECIAL_TOKENS, Tokenizer
from foresight.document import Part, Text
from foresight.errors import UserError


@dataclass(frozen=True, eq=False)
class Prompt:
    """ids (n,) int64; keys (n,) int64: equal keys are equal tokens, patches with equal pixels
    included; patches (m, 3 p^2) uint8, which stand at the patch marks in order."""

    ids: NDArray[np.int64]
    keys: NDArray[np.int64]
    patches: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.ids)

    def end(self, length: int) -> Prompt:
        """The last `length` positions. Raises UserError where pictures would be cut."""
        if length >= len(self):
            return self
        if len(self.patches):
            raise UserError(
                f"prompt: {len(self)} positions do not fit, and one with pictures is not cut"
            )
        return Prompt(self.ids[-length:], self.keys[-length:], self.patches)


def encode_prompt(
    parts: Sequence[Part] | Sequence[int], tokenizer: Tokenizer, patch: int
) -> Prompt:
    """Begin mark and parts; token ids are taken as they are. Raises UserError for unknown ids."""
    if parts and not isinstance(parts[0], Part):
        return _from_ids([int(token) for token in parts], tokenizer, patch)  # type: ignore[arg-type]
    body = encode_parts(parts, tokenizer, patch)  # type: ignore[arg-type]
    ids = np.concatenate([[BOS], body.tokens]).astype(np.int64)
    keys = ids.copy()
    keys[ids == IMG] = [_picture_key(row.tobytes()) for row in body.patches]
    return Prompt(ids, keys, body.patches)


def _from_ids(tokens: Sequence[int], tokenizer: Tokenizer, patch: int) -> Prompt:
    wrong = [token for token in tokens if not 0 <= token < tokenizer.size or token == IMG]
    if wrong:
        raise UserError(
            f"prompt: token {wrong[0]} is a picture's or none of the {tokenizer.size} in the "
            f"vocabulary"
        )
    ids = np.array(tokens, np.int64)
    return Prompt(ids, ids, np.zeros((0, 3 * patch * patch), np.uint8))


def _picture_key(pixels: bytes) -> int:
    """A negative number that stands for a patch's pixels."""
    return -1 - (int.from_bytes(hashlib.sha256(pixels).digest()[:8], "big") >> 1)


def encode_continuations(
    parts: Sequence[Part] | Sequence[int],
    continuations: Sequence[str | Sequence[int]],
    tokenizer: Tokenizer,
    patch: int,
) -> tuple[Prompt, list[list[int]]]:
    """A prompt and the ids of its continuations.

    As lm-evaluation-harness splits a text: spaces that end the prompt belong to the continuation,
    whose ids are what the joined text has beyond as many ids as the prompt has alone. Where all
    continuations are ids, nothing of the prompt is theirs.
    Raises UserError for an empty continuation.
    """
    before, spaces = "", ""
    as_ids = all(not isinstance(text, str) for text in continuations)
    if parts and isinstance(last := parts[-1], Text) and not as_ids:
        before = last.text.rstrip()
        spaces = last.text[len(before) :]
        parts = [*parts[:-1], Text(before)]
    prompt = encode_prompt(parts, tokenizer, patch)
    known = len(tokenizer.encode(before))
    tails = []
    for text in continuations:
        if isinstance(text, str):
            # A continuation that merges into the prompt's last token is encoded alone.
            joined = tokenizer.encode(before + spaces + text)
            ids = joined[known:] or tokenizer.encode(spaces + text)
        else:
            ids = list(_from_ids(list(text), tokenizer, patch).ids)
        if not ids:
            raise UserError("score: a continuation is empty, there is nothing to score")
        tails.append([int(token) for token in ids])
    return prompt, tails


def printable(token: int, tokenizer: Tokenizer) -> str:
    """A token's own text; special tokens by name."""
    if token < len(SPECIAL_TOKENS):
        return SPECIAL_TOKENS[token]
    return tokenizer.token_bytes[token].decode(errors="replace")
