"""The queue on the loop that servers run: uvloop's timers of less than a millisecond are no timers."""

from __future__ import annotations

import asyncio

import uvloop

from runner.sandbox.fair_queue import FairQueue
from runner.sandbox.pacing import CROWD
from runner.sandbox.shares import Shares
from tests.runner.sandbox.test_fair_queue import queued, settle, soon


async def flooded(cpu_us: int) -> list[str]:
    """A tenant that floods beside a calm one: every call of its gets its turn."""
    shares = Shares()
    queue = FairQueue(2, shares, share=0.5)
    shares.charge("calm", 1)
    await queue.acquire("flood", soon())
    order, tasks = await queued(queue, ["flood"] * (CROWD * 4))
    queue.release("flood", cpu_us)
    ended = 0
    async with asyncio.timeout(20):
        while ended < len(tasks):
            shares.charge("calm", 1)
            if len(order) > ended:
                queue.release("flood", cpu_us)
                ended += 1
            await settle()
    await asyncio.gather(*tasks)
    return order


def test_a_tenant_that_is_held_back_for_less_than_a_millisecond_goes_on_by_itself() -> None:
    for cpu_us in (50, 200, 600):
        assert len(uvloop.run(flooded(cpu_us))) == CROWD * 4
