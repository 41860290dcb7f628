"""The compiler's queue: so many at once, so many waiting, and whoever finds it full is told when to come back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from runner.aot.jobs import USUAL_S, CompileLimits, Jobs, usual_limits
from shared.errors import Overloaded
from shared.limits import COMPILE_RETRY_MAX_S, COMPILES_WAITING_MAX, PREPARE_MAX_S
from tests.runner.waiting import until


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Work:
    """Turns that last until they are told to end."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs
        self.order: list[int] = []
        self.end = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    def start(self, number: int) -> asyncio.Task[None]:
        task = asyncio.create_task(self._one(number))
        self.tasks.append(task)
        return task

    async def _one(self, number: int) -> None:
        async with self.jobs.turn():
            self.order.append(number)
            await self.end.wait()


@contextlib.asynccontextmanager
async def working(jobs: Jobs) -> AsyncIterator[Work]:
    work = Work(jobs)
    yield work
    work.end.set()
    await asyncio.gather(*work.tasks, return_exceptions=True)
    assert (jobs.running, jobs.waiting) == (0, 0)


async def filled(work: Work, number: int) -> None:
    """`number` turns asked for, none over."""
    for one in range(number):
        work.start(one)
        await until(lambda one=one: work.jobs.running + work.jobs.waiting == one + 1)


@pytest.mark.parametrize(("under_way", "accepted"), [(0, True), (3, True), (4, True), (5, False), (6, False)])
async def test_two_run_three_wait_and_the_next_is_refused(under_way: int, accepted: bool):
    async with working(Jobs(at_once=2, waiting_max=3)) as work:
        await filled(work, min(under_way, 5))
        task = work.start(99)
        if accepted:
            await until(lambda: work.jobs.running + work.jobs.waiting == under_way + 1)
            assert work.jobs.running <= 2
        else:
            with pytest.raises(Overloaded) as raised:
                await task
            assert raised.value.retry_after_s
            assert (work.jobs.running, work.jobs.waiting) == (2, 3)


async def test_a_queue_of_none_still_runs_what_finds_a_free_slot():
    async with working(Jobs(at_once=1, waiting_max=0)) as work:
        await filled(work, 1)
        with pytest.raises(Overloaded):
            await work.start(2)


async def test_turns_come_in_the_order_they_were_asked_for():
    async with working(Jobs(at_once=1, waiting_max=9)) as work:
        await filled(work, 6)
        work.end.set()
        await asyncio.gather(*work.tasks)
        assert work.order == [0, 1, 2, 3, 4, 5]


async def test_who_gives_up_waiting_leaves_its_place_to_the_next():
    async with working(Jobs(at_once=1, waiting_max=1)) as work:
        await filled(work, 2)
        work.tasks[1].cancel()
        await asyncio.gather(work.tasks[1], return_exceptions=True)
        assert work.jobs.waiting == 0
        work.start(3)
        await until(lambda: work.jobs.waiting == 1)


async def test_a_turn_that_failed_is_over():
    jobs = Jobs(at_once=1, waiting_max=0)
    for _ in range(3):
        with pytest.raises(ValueError, match="broken"):
            async with jobs.turn():
                raise ValueError("broken")
    assert (jobs.running, jobs.waiting) == (0, 0)


async def test_the_time_to_come_back_follows_the_queue_and_what_turns_have_been_taking():
    clock = Clock()
    jobs = Jobs(at_once=2, waiting_max=9, clock=clock)
    assert jobs.retry_after_s() == USUAL_S / 2
    jobs.waiting = 3
    assert jobs.retry_after_s() == USUAL_S * 4 / 2
    jobs.waiting = 9
    assert jobs.retry_after_s() == min(COMPILE_RETRY_MAX_S, USUAL_S * 10 / 2)
    jobs.waiting = 0
    for _ in range(60):
        async with jobs.turn():
            clock.now_s += 0.1
    assert jobs.retry_after_s() == 1
    for _ in range(60):
        async with jobs.turn():
            clock.now_s += 1_000
    assert jobs.retry_after_s() == COMPILE_RETRY_MAX_S


def test_the_platforms_limits_fit_each_other():
    limits = CompileLimits()
    assert limits.cpu_s < limits.wall_s == PREPARE_MAX_S == 120
    assert limits.waiting_max == COMPILES_WAITING_MAX
    assert usual_limits().at_once >= 1
