"""A caller that leaves takes its guest along; one that stays gets its answer, and nobody else's cancellation is taken."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from runner.api.presence import CallerGoneError, while_present
from shared import wire
from tests.runner.api.door import EXTENSION, Runner, minted, request
from tests.runner.sandbox.driving import until


class Connection:
    """Says that it closed when the test says so."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()
        self.messages: list[dict[str, Any]] = [{"type": "http.request", "body": b"late"}]

    async def receive(self) -> dict[str, Any]:
        if self.messages:
            return self.messages.pop()
        await self.closed.wait()
        return {"type": "http.disconnect"}


async def test_a_block_whose_caller_leaves_is_cancelled_and_the_task_goes_on() -> None:
    connection = Connection()

    async def work() -> str:
        try:
            with while_present(connection.receive):
                await asyncio.Event().wait()
        except CallerGoneError:
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
            await asyncio.sleep(0)
            return "went on"
        return "never"

    task = asyncio.create_task(work())
    await until(lambda: not connection.messages)
    connection.closed.set()
    assert await task == "went on"


async def test_a_block_whose_caller_stays_ends_by_itself_and_nothing_is_left_behind() -> None:
    connection = Connection()
    with while_present(connection.receive):
        await until(lambda: not connection.messages)
    await until(lambda: len(asyncio.all_tasks()) == 1)


async def test_a_cancellation_from_elsewhere_stays_one() -> None:
    connection = Connection()

    async def work() -> None:
        with while_present(connection.receive):
            await asyncio.Event().wait()

    for both in (False, True):
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        if both:
            connection.closed.set()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_an_error_of_the_block_is_its_own() -> None:
    with pytest.raises(ValueError, match="its own"), while_present(Connection().receive):
        raise ValueError("its own")


async def test_a_guest_whose_caller_left_ends_at_once_and_nothing_is_answered(runner: Runner) -> None:
    await runner.call()
    body = wire.encode_execute(request("/loop"))
    headers = {
        "content-type": wire.MSGPACK,
        "authorization": f"Bearer {minted(body)}",
        "x-alga-tenant": "acme",
        "x-alga-extension": EXTENSION,
    }
    running = asyncio.create_task(runner.post(body, headers))
    await until(lambda: any(sandbox._result is not None for sandbox in runner.pool._all))
    (busy,) = [sandbox for sandbox in runner.pool._all if sandbox._result is not None]
    runner.caller_left.set()
    with pytest.raises(IndexError):  # nothing was sent
        await running
    await busy.wait_closed()
    assert runner.queue.running == 0
    assert runner.sink.events[-1].data is not None
    assert runner.sink.events[-1].data["code"] == "cancelled"
    runner.caller_left.clear()
    assert (await runner.call())[0] == 200
