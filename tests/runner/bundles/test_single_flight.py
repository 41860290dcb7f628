"""Single flight: one task for all who ask, and nobody's cancellation is anybody else's."""

from __future__ import annotations

import asyncio
import contextvars

import pytest

from runner.bundles.single_flight import SingleFlight
from shared.errors import BundleUnavailable, Overloaded


class Work:
    """Counts how often it ran; ends when told to."""

    def __init__(self) -> None:
        self.ran = 0
        self.cancelled = 0
        self.gate = asyncio.Event()

    async def __call__(self) -> int:
        self.ran += 1
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self.ran


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_thousand_callers_share_one_task():
    flights: SingleFlight[str, int] = SingleFlight("test")
    work = Work()
    callers = [asyncio.create_task(flights.run("a", work)) for _ in range(1000)]
    await settled()
    work.gate.set()
    assert await asyncio.gather(*callers) == [1] * 1000
    assert work.ran == 1
    assert len(flights) == 0


async def test_the_next_caller_after_the_end_begins_anew():
    flights: SingleFlight[str, int] = SingleFlight("test")
    work = Work()
    work.gate.set()
    assert await flights.run("a", work) == 1
    assert await flights.run("a", work) == 2


async def test_other_keys_do_not_wait():
    flights: SingleFlight[str, int] = SingleFlight("test")
    slow, quick = Work(), Work()
    quick.gate.set()
    waiting = asyncio.create_task(flights.run("slow", slow))
    await settled()
    assert await flights.run("quick", quick) == 1
    slow.gate.set()
    await waiting


async def test_cancelling_one_caller_leaves_the_others_and_the_work():
    flights: SingleFlight[str, int] = SingleFlight("test")
    work = Work()
    first, second = (asyncio.create_task(flights.run("a", work)) for _ in range(2))
    await settled()
    first.cancel()
    await settled()
    work.gate.set()
    assert await second == 1
    assert first.cancelled()
    assert work.cancelled == 0


async def test_work_goes_on_when_every_caller_has_left():
    flights: SingleFlight[str, int] = SingleFlight("test")
    work = Work()
    only = asyncio.create_task(flights.run("a", work))
    await settled()
    only.cancel()
    await settled()
    assert len(flights) == 1
    work.gate.set()
    await settled()
    assert len(flights) == 0


async def test_a_failure_reaches_every_caller_and_is_never_left_unseen():
    flights: SingleFlight[str, int] = SingleFlight("test")

    async def fails() -> int:
        await asyncio.sleep(0)
        raise BundleUnavailable("away")

    callers = [asyncio.create_task(flights.run("a", fails)) for _ in range(3)]
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(one) for one in results] == [BundleUnavailable] * 3


async def test_one_more_key_than_the_limit_is_refused():
    flights: SingleFlight[int, int] = SingleFlight("test", max_flights=2)
    work = Work()
    callers = [asyncio.create_task(flights.run(key, work)) for key in range(2)]
    await settled()
    with pytest.raises(Overloaded):
        await flights.run(2, work)
    assert len(flights) == 2
    work.gate.set()
    await asyncio.gather(*callers)


async def test_closing_cancels_what_is_under_way():
    flights: SingleFlight[str, int] = SingleFlight("test")
    work = Work()
    caller = asyncio.create_task(flights.run("a", work))
    await settled()
    await flights.aclose()
    assert work.cancelled == 1
    assert (await asyncio.gather(caller, return_exceptions=True))[0].__class__ is asyncio.CancelledError


async def test_work_does_not_see_the_first_callers_context():
    whose: contextvars.ContextVar[str] = contextvars.ContextVar("whose", default="nobody")
    whose.set("the first caller")
    flights: SingleFlight[str, str] = SingleFlight("test")

    async def looks() -> str:
        return whose.get()

    assert await flights.run("a", looks) == "nobody"
