"""One service for the tests that only ask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from foresight.data.corpus import Corpus
from foresight.recipe import Recipe
from foresight.serve.settings import ServiceSettings
from tests.serve.service import Running, running, write_run


@pytest.fixture(scope="session")
def run(recipe: Recipe, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("served"), recipe, corpus, "tiny")


@pytest.fixture(scope="session")
def service(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    database = tmp_path_factory.mktemp("audit") / "audit.db"
    settings = ServiceSettings(models={"tiny": str(run)}, database=f"sqlite:///{database}")
    with running(settings) as found:
        yield found


@pytest.fixture(scope="session")
def client(service: Running) -> openai.OpenAI:
    return openai.OpenAI(api_key="none", base_url=f"{service.base}/v1", max_retries=0)
