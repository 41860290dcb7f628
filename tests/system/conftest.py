"""The running platform for the system tests: both services, real PostgreSQL, Redis and S3, three guests, two tenants.

One stack serves all tests of a session, on random ports, in a directory of its own; built guests come from the
same place as `make run`'s. It ends with the session, also when that is killed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from deploy.local import background, commands
from deploy.local.progress import Progress
from deploy.local.record import Stack
from deploy.local.stack import Options
from tests.system.acting import Visitor, visiting

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is a system test; starting the stack is not part of the first one's time."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker("system")
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(120, func_only=True))


@pytest.fixture(scope="session")
def stack_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the session's stack keeps its data, keys and logs."""
    return tmp_path_factory.mktemp("stack")


@pytest.fixture(scope="session")
def stack(stack_directory: Path) -> Iterator[Stack]:
    """The running stack, as its `stack.json` describes it."""
    try:
        with background.attached(Options(directory=stack_directory, random_ports=True)) as running:
            yield running
    finally:
        commands.reset(stack_directory, Progress(), keep=frozenset({"logs"}))


@pytest.fixture
async def admin(stack: Stack) -> AsyncIterator[Visitor]:
    """The administrator of the tenant `acme`."""
    async with visiting(stack, stack.tenant("acme").admin_token) as visitor:
        yield visitor


@pytest.fixture
async def nobody(stack: Stack) -> AsyncIterator[Visitor]:
    """Somebody without a credential."""
    async with visiting(stack, None) as visitor:
        yield visitor
