"""Answers that follow a JSON schema: which tokens may come next, by the `llguidance` library."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import llguidance
import numpy as np
import torch
from llguidance import numpy as masks
from torch import Tensor

from foresight.data.tokenizer import BOS, EOS, SPECIAL_TOKENS, Tokenizer
from foresight.document import IM_END
from foresight.errors import UserError


class Guide:
    """Of one answer. Raises UserError for a schema that is none, or has what is not offered."""

    def __init__(self, schema: str, tokenizer: Tokenizer) -> None:
        try:
            # A model that may write white space for ever sometimes does.
            grammar = llguidance.LLMatcher.grammar_from_json_schema(
                schema, defaults={"whitespace_flexible": False}
            )
        except ValueError as error:
            raise UserError(f"response_format: {error}") from None
        self._matcher = llguidance.LLMatcher(_prepared(tokenizer), grammar, log_level=0)
        if self._matcher.is_error():
            raise UserError(f"response_format: {self._matcher.get_error():.300}")
        self._mask = masks.allocate_token_bitmask(1, tokenizer.size)
        self._size = tokenizer.size

    def allowed(self) -> Tensor:
        """(V,) whether a token may come next."""
        if self._matcher.is_stopped():
            ends = torch.zeros(self._size, dtype=torch.bool)
            ends[[EOS, IM_END]] = True
            return ends
        masks.fill_next_token_bitmask(self._matcher, self._mask)
        bits = np.unpackbits(self._mask.view(np.uint8), bitorder="little")[: self._size]
        return torch.from_numpy(bits.astype(bool))

    def push(self, token: int) -> None:
        """What came."""
        self._matcher.consume_token(token)


class _Vocabulary:
    """What the library wants to know of a tokenizer."""

    eos_token_id, bos_token_id = EOS, BOS

    def __init__(self, tokenizer: Tokenizer) -> None:
        count = len(SPECIAL_TOKENS)
        self.special_token_ids = list(range(count))
        self.tokens = [
            SPECIAL_TOKENS[token].encode() if token < count else piece
            for token, piece in enumerate(tokenizer.token_bytes)
        ]
        self._tokenizer = tokenizer

    def __call__(self, text: bytes | str) -> list[int]:
        told = text.decode(errors="replace") if isinstance(text, bytes) else text
        return self._tokenizer.encode(told)


@lru_cache(maxsize=8)
def _prepared(tokenizer: Tokenizer) -> Any:
    """A second of work for a large vocabulary."""
    wrapped = llguidance.TokenizerWrapper(_Vocabulary(tokenizer))
    return llguidance.LLTokenizer(wrapped, n_vocab=tokenizer.size, eos_token=[EOS, IM_END])
