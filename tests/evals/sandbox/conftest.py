"""One sandbox for all tests of this room; where it cannot be had, they fail and say why."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from foresight.evals.sandbox import Sandbox


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=1) as opened:
        yield opened
