"""Every attack here is a security test. Most share one pool of real sandboxes, each as a tenant of its own."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from runner.sandbox.pool import PoolOptions, SandboxPool
from tests.runner.sandbox.driving import compiled, running_pool
from tests.security.processes import Guest

HERE = Path(__file__).parent
ON_THE_SESSIONS_LOOP = {"pool", "node", "taken"}
_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them; whoever shares the pool shares the event loop it lives on."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker("security")
            if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.function) and shares_a_loop(item):
                item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


def shares_a_loop(item: pytest.Function) -> bool:
    """Whether one of its fixtures lives on the session's loop."""
    return not ON_THE_SESSIONS_LOOP.isdisjoint(item.fixturenames)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def pool() -> AsyncIterator[SandboxPool]:
    """A pool of a few sandboxes."""
    async with running_pool(PoolOptions(sandbox_max=8, idle_max=4)) as running:
        yield running


@pytest.fixture
def tenant() -> str:
    """A tenant that no other test is."""
    return f"tenant-{next(_numbers)}"


@pytest.fixture
def guest_of(pool: SandboxPool, tenant: str) -> Callable[[bytes], Guest]:
    """Native code → that guest, run for this test's tenant."""
    return lambda code: Guest(pool, tenant, code)


@pytest.fixture(scope="session")
def behaviours() -> bytes:
    """The guest whose behaviour the url chooses, as native code."""
    return compiled(HERE.parent / "runner" / "sandbox" / "behaviours.wat")
