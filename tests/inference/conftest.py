"""A server of the OpenAI protocol, fresh for every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.inference.endpoint import Server


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.shutdown()
    running.server_close()
