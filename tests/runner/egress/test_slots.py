"""Places for a tenant's fetches: counted over all processes of a runner, and given back however a process ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from runner.egress.slots import BusyError, Slots, create_page
from tests.runner.waiting import until

HOLDER = """
import asyncio, sys
from runner.egress.slots import Slots

async def main():
    slots = Slots(int(sys.argv[1]), 2)
    async with slots.one("acme"), slots.one("acme"):
        print("held", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def page() -> Iterator[int]:
    descriptor = create_page()
    yield descriptor
    os.close(descriptor)


async def taken(slots: Slots, tenant: str = "acme") -> bool:
    """Whether no place is left, without waiting for one."""
    try:
        async with asyncio.timeout(0.05), slots.one(tenant):
            return False
    except (BusyError, TimeoutError):
        return True


@pytest.mark.parametrize("held", [0, 1, 2])
async def test_below_at_and_above_the_number_of_places(page: int, held: int) -> None:
    slots = Slots(page, 2)
    blocks = [slots.one("acme") for _ in range(held)]
    for block in blocks:
        await block.__aenter__()
    assert await taken(slots) is (held >= 2)
    assert not await taken(slots, "globex")  # another tenant has places of its own
    for block in blocks:
        await block.__aexit__(None, None, None)
    assert not await taken(slots)


async def test_who_waits_gets_the_next_place_at_once(page: int) -> None:
    slots = Slots(page, 1)
    async with slots.one("acme"):
        waiting = asyncio.create_task(taken(slots))
        await until(lambda: bool(slots._waiting))
    assert not await waiting
    assert not slots._waiting


async def test_who_waits_for_too_long_is_told(page: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.egress.slots.EGRESS_BUSY_MAX_MS", 50)
    slots = Slots(page, 1)
    async with slots.one("acme"):
        with pytest.raises(BusyError):
            async with slots.one("acme"):
                pass
    assert not slots._waiting


async def test_who_is_cancelled_while_waiting_leaves_nothing_behind(page: int) -> None:
    slots = Slots(page, 1)
    async with slots.one("acme"):
        waiting = asyncio.create_task(taken(slots))
        await until(lambda: bool(slots._waiting))
        waiting.cancel()
        await asyncio.wait({waiting})
        assert not slots._waiting
    assert not await taken(slots)


async def test_places_are_counted_over_processes_and_a_killed_one_gives_them_back(page: int) -> None:
    slots = Slots(page, 2)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(page)], pass_fds=(page,), stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert await asyncio.to_thread(other.stdout.readline) == "held\n"
        assert await taken(slots)
        assert not await taken(slots, "globex")
        waiting = asyncio.create_task(_wait(slots))
        other.send_signal(signal.SIGKILL)
        assert await waiting
        await asyncio.to_thread(other.wait)
    assert not await taken(slots)


async def _wait(slots: Slots) -> bool:
    async with slots.one("acme"):
        return True
