"""Who acts in the system tests. The running platform itself is the fixture `stack`, which other suites share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.local.record import Stack
from tests.system.acting import Visitor, visiting
from tests.system.secret_keepers import keeper, other, secret_component, version

HERE = Path(__file__).parent

__all__ = ["keeper", "other", "secret_component", "version"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is a system test; starting the stack is not part of the first one's time."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker("system")
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(120, func_only=True))


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
