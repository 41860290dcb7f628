"""Turns at the database: some of a tenant's questions at once, a bounded number waiting, others unaffected."""

from __future__ import annotations

import asyncio

import pytest

from gateway.storage import slots as module
from gateway.storage.slots import Slots
from shared.errors import StorageRateLimited
from shared.limits import STORAGE_TENANT_CALLS_MAX
from tests.runner.waiting import until


class Crowd:
    """Questions that stay at the database until they are let go."""

    def __init__(self) -> None:
        self.slots, self.gate = Slots(), asyncio.Event()
        self.inside: dict[str, int] = {}
        self.order: list[int] = []

    async def ask(self, tenant: str, number: int = 0) -> None:
        async with self.slots.turn(tenant):
            self.order.append(number)
            self.inside[tenant] = self.inside.get(tenant, 0) + 1
            try:
                await self.gate.wait()
            finally:
                self.inside[tenant] -= 1


async def test_so_many_of_a_tenant_are_inside_and_other_tenants_do_not_wait_for_them() -> None:
    crowd = Crowd()
    asking = [asyncio.create_task(crowd.ask("acme", number)) for number in range(STORAGE_TENANT_CALLS_MAX + 3)]
    asking.append(asyncio.create_task(crowd.ask("globex")))
    await until(lambda: crowd.inside == {"acme": STORAGE_TENANT_CALLS_MAX, "globex": 1})
    crowd.gate.set()
    await asyncio.gather(*asking)
    assert [number for number in crowd.order if number] == list(range(1, STORAGE_TENANT_CALLS_MAX + 3))
    assert crowd.slots._tenants == {}


async def test_beyond_a_number_of_waiting_ones_a_question_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STORAGE_TENANT_WAITING_MAX", 2)
    crowd = Crowd()
    asking = [asyncio.create_task(crowd.ask("acme")) for _ in range(STORAGE_TENANT_CALLS_MAX + 2)]
    await until(lambda: crowd.inside.get("acme") == STORAGE_TENANT_CALLS_MAX)
    with pytest.raises(StorageRateLimited) as refused:
        await crowd.ask("acme")
    assert refused.value.retry_after_s == 1
    asking[-1].cancel()
    await asyncio.gather(asking[-1], return_exceptions=True)
    asking[-1] = asyncio.create_task(crowd.ask("acme"))
    await asyncio.sleep(0)
    crowd.gate.set()
    await asyncio.gather(*asking)
    assert crowd.slots._tenants == {}


async def test_a_question_that_is_given_up_leaves_its_turn_to_the_next() -> None:
    crowd = Crowd()
    asking = [asyncio.create_task(crowd.ask("acme", number)) for number in range(STORAGE_TENANT_CALLS_MAX * 2)]
    await until(lambda: crowd.inside.get("acme") == STORAGE_TENANT_CALLS_MAX)
    for task in asking[: STORAGE_TENANT_CALLS_MAX + 1]:
        task.cancel()
    await until(lambda: crowd.inside["acme"] == STORAGE_TENANT_CALLS_MAX - 1)
    assert crowd.order == [*range(STORAGE_TENANT_CALLS_MAX), *range(STORAGE_TENANT_CALLS_MAX + 1, len(asking))]
    crowd.gate.set()
    await asyncio.gather(*asking, return_exceptions=True)
    assert crowd.slots._tenants == {}
