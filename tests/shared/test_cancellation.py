"""A cancellation is heeded even where a library drops it."""

from __future__ import annotations

import asyncio

import pytest

from shared.cancellation import heeding


async def dropping(done: asyncio.Event) -> str:
    """Ends with a result although it was asked to end, as `asyncio.wait_for` could."""
    try:
        await done.wait()
    except asyncio.CancelledError:
        return "dropped"
    return "done"


async def ask(done: asyncio.Event) -> tuple[asyncio.Task[str], asyncio.Event]:
    begun = asyncio.Event()

    async def work() -> str:
        begun.set()
        return await heeding(dropping(done))

    task = asyncio.create_task(work())
    await begun.wait()
    return task, done


async def test_a_result_is_handed_on() -> None:
    task, done = await ask(asyncio.Event())
    done.set()
    assert await task == "done"


async def test_a_dropped_cancellation_is_raised_all_the_same() -> None:
    task, _ = await ask(asyncio.Event())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_timeout_around_it_is_a_timeout() -> None:
    async def work() -> str:
        async with asyncio.timeout(0.01):
            return await heeding(dropping(asyncio.Event()))

    with pytest.raises(TimeoutError):
        await work()


async def test_an_earlier_cancellation_that_was_answered_does_not_count() -> None:
    async def work() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return await heeding(dropping(done))
        return "never"

    done = asyncio.Event()
    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    done.set()
    assert await task == "done"
