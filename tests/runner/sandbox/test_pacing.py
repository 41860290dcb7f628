"""A tenant that floods is held back while others are calm, and only then."""

from __future__ import annotations

import asyncio

import pytest

from runner.sandbox.fair_queue import SEEN_MAX, FairQueue
from runner.sandbox.pacing import CATCH_UP_S, CROWD, PACED_MAX, WORKER_US, Pacing
from runner.sandbox.shares import ACTIVE_S, Shares
from shared.deadline import Deadline
from tests.runner.sandbox.test_fair_queue import queued, settle, soon
from tests.runner.sandbox.test_shares import Clock
from tests.runner.waiting import until


def paced(share: float = 0.5) -> tuple[Pacing, Shares, Clock]:
    clock = Clock()
    shares = Shares(clock=clock)
    shares.charge("calm", 1)
    return Pacing(shares, share, clock), shares, clock


def test_a_crowd_of_waiting_calls_is_a_flood_and_one_fewer_is_none() -> None:
    pacing, _, _ = paced()
    assert pacing.yields("flood", CROWD)
    assert not pacing.yields("flood", CROWD - 1)


def test_nobody_yields_to_himself_or_to_others_that_flood_too() -> None:
    pacing, shares, clock = paced()
    assert not pacing.yields("calm", CROWD)
    clock.now += ACTIVE_S + 0.01
    shares.charge("another flood", 1, calm=False)
    assert shares.others_active("flood")
    assert not pacing.yields("flood", CROWD)


def test_starts_are_as_far_apart_as_the_share_of_the_cores_says() -> None:
    pacing, shares, clock = paced(share=0.5)
    cost_s = (1_000 + WORKER_US) / 1e6
    began_s = clock.now
    for _ in range(100):
        shares.charge("calm", 1)
        pacing.ended("flood", 1_000, CROWD)
        clock.now += pacing.soonest_s({"flood"}) or 0.0
        assert pacing.may_start("flood")
    assert clock.now - began_s == pytest.approx(100 * cost_s / 0.5 - CATCH_UP_S)


def test_a_late_start_is_made_up_for_and_a_long_pause_is_not() -> None:
    pacing, shares, clock = paced()
    pacing.ended("flood", 100_000, CROWD)
    clock.now += 60
    shares.charge("calm", 1)
    pacing.ended("flood", 10_000, CROWD)
    assert pacing.soonest_s({"flood"}) == pytest.approx((10_000 + WORKER_US) / 1e6 / 0.5 - CATCH_UP_S)


def test_who_floods_no_more_is_free_at_once() -> None:
    pacing, _, _ = paced()
    pacing.ended("flood", 100_000, CROWD)
    assert not pacing.may_start("flood")
    pacing.ended("flood", 1, CROWD - 1)
    assert pacing.may_start("flood")
    assert pacing.soonest_s(["flood"]) == 0


def test_what_is_remembered_is_bounded_once_its_time_has_come() -> None:
    pacing, shares, clock = paced()
    for number in range(PACED_MAX):
        pacing.ended(f"flood-{number}", 1_000, CROWD)
    clock.now += 1
    shares.charge("calm", 1)
    pacing.ended("the last", 1_000_000, CROWD)
    assert all(pacing.may_start(f"flood-{number}") for number in range(PACED_MAX))
    assert pacing.soonest_s(["the last"]) > 0


# ---- in the queue -------------------------------------------------------------------------------------------


async def ended(queue: FairQueue, tenant: str, cpu_us: int) -> None:
    queue.release(tenant, cpu_us)
    await settle()


async def test_a_flooding_tenant_waits_although_a_slot_is_free_and_goes_on_by_itself() -> None:
    shares = Shares()
    queue = FairQueue(2, shares, share=0.5)
    shares.charge("calm", 1)
    await queue.acquire("flood", soon())
    order, tasks = await queued(queue, ["flood"] * (CROWD + 1))
    assert queue.yields("flood")
    await ended(queue, "flood", 20_000)
    assert (queue.running, order) == (0, [])
    await queue.acquire("calm", soon())  # is not held back by it
    await until(lambda: order == ["flood"])
    for _ in range(CROWD):
        await ended(queue, "flood", 0)
    await asyncio.gather(*tasks)
    assert not queue.yields("flood")


async def test_a_crowd_of_floods_hides_nobody() -> None:
    shares = Shares()
    queue = FairQueue(1, shares, share=0.001)
    floods = [f"flood-{number}" for number in range(SEEN_MAX + 1)]
    tasks: list[asyncio.Task[None]] = []
    for flood in floods:
        shares.charge("calm", 1)
        await queue.acquire(flood, soon())
        tasks += (await queued(queue, [flood] * CROWD))[1]
        await ended(queue, flood, 20_000)
    assert queue.waiting == CROWD * len(floods)
    await queue.acquire("calm", Deadline.after_ms(1_000))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_who_waits_for_a_call_of_its_own_to_end_is_not_looked_at_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The worker once spun here, and the guest it waited for, in the kernel's idle class, got no processor."""
    shares, looks = Shares(), 0
    queue = FairQueue(3, shares, share=0.5)
    look_again = queue._look_again

    def counted() -> None:
        nonlocal looks
        looks += 1
        look_again()

    monkeypatch.setattr(queue, "_look_again", counted)
    shares.charge("calm", 1)
    await queue.acquire("flood", soon())
    await queue.acquire("flood", soon())
    order, tasks = await queued(queue, ["flood"] * (CROWD + 1))
    await ended(queue, "flood", 1_000)
    await until(lambda: order == ["flood"])  # its time has come; a further slot stays free for others
    looked = looks
    for _ in range(100):
        await asyncio.sleep(0)
    assert (queue.running, looks) == (2, looked)
    await ended(queue, "flood", 0)
    await until(lambda: len(order) == 2)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
