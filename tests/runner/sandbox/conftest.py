"""A real pool with real sandbox processes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runner.sandbox.pool import PoolOptions
from tests.runner.sandbox.driving import Driver, compiled, running_pool


@pytest.fixture(scope="session")
def behaviours() -> bytes:
    """The test guest as native code."""
    return compiled(Path(__file__).with_name("behaviours.wat"))


@pytest.fixture
async def driver(behaviours: bytes) -> AsyncIterator[Driver]:
    """A pool of a few sandboxes."""
    async with running_pool(PoolOptions(sandbox_max=12, idle_max=4)) as pool:
        yield Driver(pool, behaviours)
