"""Slots: taken by turns between tenants, bounded, lent while a guest waits."""

from __future__ import annotations

import asyncio

import pytest

from runner.sandbox.fair_queue import FairQueue
from shared.deadline import Deadline
from shared.errors import Overloaded, TenantOverConcurrency

SOON = 5_000


async def waiting(queue: FairQueue, tenant: str, order: list[str]) -> None:
    await queue.acquire(tenant, Deadline.after_ms(SOON))
    order.append(tenant)


async def queued(queue: FairQueue, tenants: str) -> tuple[list[str], list[asyncio.Task[None]]]:
    order: list[str] = []
    tasks = [asyncio.create_task(waiting(queue, tenant, order)) for tenant in tenants]
    await asyncio.sleep(0)
    return order, tasks


async def test_a_free_slot_is_taken_at_once() -> None:
    queue = FairQueue(2)
    await queue.acquire("a", Deadline.after_ms(SOON))
    await queue.acquire("a", Deadline.after_ms(SOON))
    assert (queue.running, queue.waiting) == (2, 0)


async def test_turns_go_round_the_tenants_however_many_calls_one_has() -> None:
    queue = FairQueue(1)
    await queue.acquire("z", Deadline.after_ms(SOON))
    order, tasks = await queued(queue, "aaaabc")
    for _ in range(6):
        queue.release()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert order == ["a", "b", "c", "a", "a", "a"]


async def test_a_tenant_may_wait_up_to_its_bound_and_not_once_more() -> None:
    queue = FairQueue(1, tenant_queue_max=2)
    await queue.acquire("a", Deadline.after_ms(SOON))
    _, tasks = await queued(queue, "aa")
    with pytest.raises(TenantOverConcurrency) as refused:
        await queue.acquire("a", Deadline.after_ms(SOON))
    assert refused.value.retry_after_s == 1
    _, others = await queued(queue, "b")
    for _ in range(4):
        queue.release()
    await asyncio.gather(*tasks, *others)


async def test_all_tenants_together_may_wait_up_to_the_bound_and_not_once_more() -> None:
    queue = FairQueue(1, queue_max=2)
    await queue.acquire("a", Deadline.after_ms(SOON))
    _, tasks = await queued(queue, "bc")
    with pytest.raises(Overloaded):
        await queue.acquire("d", Deadline.after_ms(SOON))
    for _ in range(3):
        queue.release()
    await asyncio.gather(*tasks)


async def test_a_turn_that_does_not_come_before_the_deadline_is_refused_and_forgotten() -> None:
    queue = FairQueue(1)
    await queue.acquire("a", Deadline.after_ms(SOON))
    with pytest.raises(Overloaded, match="deadline"):
        await queue.acquire("b", Deadline.after_ms(5))
    assert queue.waiting == 0
    queue.release()
    assert queue.running == 0


async def test_a_caller_that_leaves_gives_its_turn_to_the_next() -> None:
    queue = FairQueue(1)
    await queue.acquire("a", Deadline.after_ms(SOON))
    order, (leaving, staying) = await queued(queue, "bc")
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    queue.release()
    await staying
    assert (order, queue.running, queue.waiting) == (["c"], 1, 0)


async def test_a_turn_given_in_the_moment_the_caller_leaves_is_not_lost() -> None:
    queue = FairQueue(1)
    await queue.acquire("a", Deadline.after_ms(SOON))
    _, (leaving,) = await queued(queue, "b")
    queue.release()
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    await queue.acquire("c", Deadline.after_ms(5))
    assert queue.running == 1


async def test_a_lent_slot_lets_somebody_compute_and_is_taken_back() -> None:
    queue = FairQueue(1)
    await queue.acquire("a", Deadline.after_ms(SOON))
    order, (task,) = await queued(queue, "b")
    queue.lend()
    await task
    assert order == ["b"]
    queue.take_back()
    assert queue.running == 2
    queue.release()
    queue.release()
    assert queue.running == 0
