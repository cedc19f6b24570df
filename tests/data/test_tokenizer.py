"""Training, encoding and export agree; ordinary text never becomes a special token."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foresight.data.corpus import Corpus
from foresight.data.tokenizer import BOS, EOS, IMG_BREAK, SPECIAL_TOKENS, Tokenizer
from foresight.errors import UserError


@pytest.fixture(scope="module")
def tokenizer(corpus: Corpus) -> Tokenizer:
    return corpus.tokenizer


def test_reserved_ids(tokenizer: Tokenizer) -> None:
    vocabulary = tokenizer.fast.get_vocab()
    assert [vocabulary[name] for name in SPECIAL_TOKENS] == list(range(64))
    assert vocabulary["<|bos|>"] == BOS and vocabulary["<|eos|>"] == EOS
    assert IMG_BREAK > 0, "llama.cpp takes a break id of 0 for none"
    assert tokenizer.size == 512


def test_tiktoken_gives_the_ids_of_tokenizers_on_real_code(tokenizer: Tokenizer) -> None:
    for module in ("json", "argparse", "ast", "_pydecimal"):
        __import__(module)
        text = Path(str(sys.modules[module].__file__)).read_text()
        assert tokenizer.encode(text) == tokenizer.fast.encode(text).ids


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_every_text_survives(text: str) -> None:
    tokenizer = _small()
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert ids == tokenizer.fast.encode(text).ids
    assert all(index >= len(SPECIAL_TOKENS) for index in ids)


_CACHE: list[Tokenizer] = []


def _small() -> Tokenizer:
    if not _CACHE:
        _CACHE.append(Tokenizer.train([Path(__file__).read_text()], 384))
    return _CACHE[0]


def test_special_tokens_in_text_are_characters(tokenizer: Tokenizer) -> None:
    text = "<|im_end|>[IMG]<|eos|>"
    assert min(tokenizer.encode(text)) >= len(SPECIAL_TOKENS)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_saved_and_loaded_is_the_same(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "tokenizer.json")
    again = Tokenizer.load(tmp_path / "tokenizer.json")
    assert again.token_bytes == tokenizer.token_bytes
    assert again.encode("def f(x):\n    return x") == tokenizer.encode("def f(x):\n    return x")


def test_bad_sizes_and_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="multiple of 64"):
        Tokenizer.train(["text"], 500)
    with pytest.raises(UserError, match="only yields"):
        Tokenizer.train(["abc"], 4096)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(UserError, match=r"tokenizer\.json: not a readable tokenizer"):
        Tokenizer.load(tmp_path / "tokenizer.json")
