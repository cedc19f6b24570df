"""Byte-level BPE: trained and exported with `tokenizers`, corpora encoded with `tiktoken`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import tiktoken
from tokenizers import Regex, decoders, pre_tokenizers
from tokenizers import Tokenizer as FastTokenizer
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from foresight.errors import UserError
from foresight.runs import write_atomic

# The pre-tokenizer llama.cpp calls "qwen2": words with their leading space, single digits,
# runs of punctuation, line breaks, indentation.
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

BOS, EOS, PAD, IMG, IMG_BREAK, IMG_END = range(6)
_NAMED = [
    "<|bos|>",
    "<|eos|>",
    "<|pad|>",
    "[IMG]",
    "[IMG_BREAK]",
    "[IMG_END]",
    "<|im_start|>",
    "<|im_end|>",
]
SPECIAL_TOKENS = _NAMED + [f"<|reserved_{index}|>" for index in range(len(_NAMED), 64)]
SMALLEST_VOCAB = len(SPECIAL_TOKENS) + 256


def _byte_alphabet() -> dict[str, int]:
    """The printable character that byte-level BPE writes for each byte (GPT-2's table)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {chr(byte): byte for byte in printable}
    spare = (byte for byte in range(256) if byte not in set(printable))
    return table | {chr(256 + index): byte for index, byte in enumerate(spare)}


class Tokenizer:
    """A vocabulary of `size` ids: 64 special tokens, 256 bytes, then merges in rank order."""

    def __init__(self, fast: FastTokenizer) -> None:
        self.fast = fast
        self.size: int = fast.get_vocab_size()

    @classmethod
    def train(cls, texts: Iterable[str], size: int) -> Tokenizer:
        """Learn merges from `texts`. Raises UserError if `size` does not suit them."""
        if size % 64 or size < SMALLEST_VOCAB:
            raise UserError(
                f"vocab_size {size}: must be a multiple of 64 of at least {SMALLEST_VOCAB} "
                f"({len(SPECIAL_TOKENS)} special tokens and 256 bytes)"
            )
        fast = FastTokenizer(BPE())
        fast.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        fast.decoder = decoders.ByteLevel()
        trainer = BpeTrainer(
            vocab_size=size,
            special_tokens=SPECIAL_TOKENS,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        fast.train_from_iterator(texts, trainer)
        if fast.get_vocab_size() != size:
            raise UserError(
                f"vocab_size {size}: the corpus only yields {fast.get_vocab_size()} tokens; "
                f"use a smaller vocabulary or more text"
            )
        return cls(fast)

    @classmethod
    def load(cls, path: Path) -> Tokenizer:
        """Read `tokenizer.json`. Raises UserError naming the file."""
        try:
            return cls(FastTokenizer.from_file(str(path)))
        except Exception as error:  # the library raises bare Exception
            raise UserError(f"{path}: not a readable tokenizer ({error})") from None

    def save(self, path: Path) -> None:
        write_atomic(path, self.fast.to_str(pretty=True))

    @cached_property
    def token_bytes(self) -> list[bytes]:
        """The bytes each id stands for; empty for special tokens."""
        alphabet = _byte_alphabet()
        words = {index: word for word, index in self.fast.get_vocab().items()}
        return [
            b""
            if index < len(SPECIAL_TOKENS)
            else bytes(alphabet[character] for character in words[index])
            for index in range(self.size)
        ]

    @cached_property
    def _encoding(self) -> tiktoken.Encoding:
        pieces = self.token_bytes
        return tiktoken.Encoding(
            "foresight",
            pat_str=PATTERN,
            mergeable_ranks={
                pieces[index]: index for index in range(len(SPECIAL_TOKENS), self.size)
            },
            special_tokens={},
        )

    def encode(self, text: str) -> list[int]:
        """Ids of plain text; special tokens written in it are ordinary characters."""
        return self._encoding.encode_ordinary(text)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids, special tokens left out, broken UTF-8 replaced."""
        pieces = self.token_bytes
        return b"".join(pieces[index] for index in ids).decode(errors="replace")
