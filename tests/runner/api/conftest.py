"""The execute door for every test here, and the guest whose behaviour the url chooses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runner.sandbox.pool import PoolOptions
from tests.runner.api.door import Runner
from tests.runner.sandbox.driving import compiled, running_pool


@pytest.fixture(scope="module")
def native() -> bytes:
    """The test guest as native code."""
    return compiled(Path(__file__).parents[1] / "sandbox" / "behaviours.wat")


@pytest.fixture
async def runner(native: bytes) -> AsyncIterator[Runner]:
    """A door with a real pool behind it."""
    async with running_pool(PoolOptions(sandbox_max=8)) as pool:
        yield Runner(pool, native)
