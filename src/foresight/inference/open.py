"""Open a language model by what a user calls it."""

from __future__ import annotations

import importlib
from pathlib import Path

from foresight.errors import UserError
from foresight.inference.language_model import LanguageModel


def open_model(text: str, keep_end: bool = False) -> LanguageModel:
    """`api:NAME@URL`: a model behind an OpenAI-compatible endpoint; else a run directory or a
    checkpoint of ours. Raises UserError if there is no such thing.

    `keep_end`: see `Engine`; an endpoint sees to its own context.

    Imports are deferred: an endpoint needs no torch, a checkpoint no HTTP client.
    """
    model: LanguageModel
    if text.startswith("api:"):
        model = importlib.import_module("foresight.inference.api_model").APIModel.from_text(text)
        return model
    path = Path(text)
    if not path.exists():
        raise UserError(
            f"{text}: no such run directory or checkpoint; a model behind an endpoint is written "
            f"api:NAME@URL"
        )
    model = importlib.import_module("foresight.inference.engine").Engine.load(
        path, keep_end=keep_end
    )
    return model
