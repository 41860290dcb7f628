"""Fixtures for the tests of the local stack: whether a process is really gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import pytest

Gone = Callable[[int], Awaitable[None]]

GONE_MAX_S: Final = 15.0


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"  # a zombie only waits for a container's init to count it


@pytest.fixture
def lives() -> Callable[[int], bool]:
    """Whether a process with this pid runs."""
    return _lives


@pytest.fixture
def gone() -> Gone:
    """Returns when the process has ended; fails after 15 s."""

    async def wait(pid: int) -> None:
        async with asyncio.timeout(GONE_MAX_S):
            while _lives(pid):  # noqa: ASYNC110 - a foreign process sends no event
                await asyncio.sleep(0.02)

    return wait
