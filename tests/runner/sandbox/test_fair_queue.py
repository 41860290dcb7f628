"""Slots: given to whoever has used the least, bounded, lent while a guest waits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from runner.sandbox.fair_queue import FairQueue
from runner.sandbox.shares import Shares
from shared.deadline import Deadline
from shared.errors import Overloaded, TenantOverConcurrency


def soon() -> Deadline:
    return Deadline.after_ms(5_000)


def made(slots: int, **bounds: int) -> FairQueue:
    return FairQueue(slots, Shares(), **bounds)


async def waiting(queue: FairQueue, tenant: str, order: list[str]) -> None:
    await queue.acquire(tenant, soon())
    order.append(tenant)


async def settle() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


async def queued(queue: FairQueue, tenants: Iterable[str]) -> tuple[list[str], list[asyncio.Task[None]]]:
    order: list[str] = []
    tasks = [asyncio.create_task(waiting(queue, tenant, order)) for tenant in tenants]
    await settle()
    return order, tasks


async def drain(queue: FairQueue, order: list[str], cost_us: int) -> None:
    """End running calls one after the other until nobody waits."""
    ended = 0
    while queue.waiting or ended < len(order):
        queue.release(order[ended], cost_us)
        ended += 1
        await settle()


async def test_a_free_slot_is_taken_at_once() -> None:
    queue = made(2)
    await queue.acquire("a", soon())
    await queue.acquire("a", soon())
    assert (queue.running, queue.waiting) == (2, 0)


async def test_turns_go_round_the_tenants_however_many_calls_one_has() -> None:
    queue = made(1)
    await queue.acquire("z", soon())
    order, tasks = await queued(queue, "aaaabc")
    queue.release("z", 0)
    await settle()
    await drain(queue, order, 0)
    await asyncio.gather(*tasks)
    assert order == ["a", "b", "c", "a", "a", "a"]


async def test_who_used_less_processor_time_comes_first_even_when_it_asked_later() -> None:
    shares = Shares()
    shares.charge("heavy", 500_000)
    shares.charge("light", 1_000)
    queue = FairQueue(1, shares)
    await queue.acquire("z", soon())
    order: list[str] = []
    tasks = [asyncio.create_task(waiting(queue, tenant, order)) for tenant in ("heavy", "light", "new")]
    await settle()
    queue.release("z", 0)
    await settle()
    await drain(queue, order, 0)
    await asyncio.gather(*tasks)
    assert order == ["new", "light", "heavy"]


async def test_what_a_tenant_uses_at_another_worker_counts_here() -> None:
    shares = Shares()
    here, elsewhere = FairQueue(1, shares), FairQueue(1, shares)
    await elsewhere.acquire("a", soon())
    elsewhere.release("a", 100_000)
    await here.acquire("z", soon())
    order, tasks = await queued(here, "ab")
    here.release("z", 0)
    await settle()
    await drain(here, order, 0)
    await asyncio.gather(*tasks)
    assert order == ["b", "a"]


async def test_a_tenant_alone_may_take_every_slot() -> None:
    queue = made(3)
    for _ in range(3):
        await queue.acquire("a", soon())
    assert queue.running == 3


async def test_a_tenant_leaves_one_slot_free_while_others_are_active() -> None:
    shares = Shares()
    shares.charge("b", 1)
    queue = FairQueue(3, shares)
    await queue.acquire("a", soon())
    await queue.acquire("a", soon())
    _, (third,) = await queued(queue, "a")
    assert (queue.running, queue.waiting) == (2, 1)
    await queue.acquire("b", soon())
    queue.release("a", 1)
    queue.release("b", 1)
    await third


async def test_a_tenant_may_wait_up_to_its_bound_and_not_once_more() -> None:
    queue = made(1, tenant_queue_max=2)
    await queue.acquire("a", soon())
    order, tasks = await queued(queue, "aa")
    with pytest.raises(TenantOverConcurrency) as refused:
        await queue.acquire("a", soon())
    assert refused.value.retry_after_s == 1
    _, others = await queued(queue, "b")
    assert queue.waiting == 3
    for task in (*tasks, *others):
        task.cancel()
    await asyncio.gather(*tasks, *others, return_exceptions=True)
    assert (order, queue.waiting) == ([], 0)


async def test_all_tenants_together_may_wait_up_to_the_bound_and_not_once_more() -> None:
    queue = made(1, queue_max=2)
    await queue.acquire("a", soon())
    _, tasks = await queued(queue, "bc")
    with pytest.raises(Overloaded):
        await queue.acquire("d", soon())
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_turn_that_does_not_come_before_the_deadline_is_refused_and_forgotten() -> None:
    queue = made(1)
    await queue.acquire("a", soon())
    with pytest.raises(Overloaded, match="deadline"):
        await queue.acquire("b", Deadline.after_ms(5))
    assert queue.waiting == 0
    queue.release("a", 0)
    assert queue.running == 0


async def test_a_caller_that_leaves_gives_its_turn_to_the_next() -> None:
    queue = made(1)
    await queue.acquire("a", soon())
    order, (leaving, staying) = await queued(queue, "bc")
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    queue.release("a", 0)
    await staying
    assert (order, queue.running, queue.waiting) == (["c"], 1, 0)


async def test_a_turn_given_in_the_moment_the_caller_leaves_is_not_lost() -> None:
    queue = made(1)
    await queue.acquire("a", soon())
    _, (leaving,) = await queued(queue, "b")
    queue.release("a", 0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    await queue.acquire("c", Deadline.after_ms(5))
    assert queue.running == 1


async def test_a_lent_slot_lets_somebody_compute_and_is_taken_back() -> None:
    queue = made(1)
    await queue.acquire("a", soon())
    order, (task,) = await queued(queue, "b")
    queue.lend("a")
    await task
    assert order == ["b"]
    queue.take_back("a")
    assert queue.running == 2
    queue.release("a", 0)
    queue.release("b", 0)
    assert queue.running == 0
