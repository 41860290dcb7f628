"""One tenant sends a hundred times its share: it is told to come back later, and its neighbour notices little. Row T59.

What is asserted are counts and order, since times on a shared machine prove nothing; the bench measures those.
"""

from __future__ import annotations

import asyncio

from runner.sandbox.pool import SandboxPool
from shared import wire
from shared.errors import TenantOverConcurrency
from shared.limits import TENANT_QUEUE_MAX
from tests.runner.api.door import EXTENSION, SERVICE_TOKEN, Runner, request
from tests.runner.sandbox.driving import until
from tests.security.guests import guest, native

SHARE = 2  # slots of this worker
FLOOD = 100 * SHARE
NEIGHBOURS_CALLS = 10
BUSY = guest(  # computes for some milliseconds
    """(loop $more
         (local.set $n (i32.add (local.get $n) (i32.const 1)))
         (br_if $more (i32.lt_u (local.get $n) (i32.const 10000000))))
       (call $answer (i32.const 256) (i32.const 4))"""
)


class Tenants:
    """Calls of two tenants at one door; `ended` has their names in the order in which they were answered."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.ended: list[str] = []

    async def call(self, tenant: str) -> tuple[int, bytes | None, wire.ExecuteResponse]:
        """Status, `Retry-After` and answer."""
        body = wire.encode_execute(request(tenant=tenant, limits=wire.Limits(timeout_ms=4000)))
        headers = {
            "content-type": wire.MSGPACK,
            "authorization": f"Bearer {SERVICE_TOKEN}",
            "x-alga-tenant": tenant,
            "x-alga-extension": EXTENSION,
        }
        status, answered, data = await self._runner.post(body, headers)
        self.ended.append(tenant)
        return status, answered.get(b"retry-after"), wire.decode_answer(data, wire.MSGPACK)


async def test_t59_who_floods_gets_429_with_a_time_to_come_back_and_the_neighbour_is_served(pool: SandboxPool) -> None:
    runner = Runner(pool, native(BUSY))
    tenants = Tenants(runner)
    assert (await tenants.call("neighbour"))[0] == 200
    tenants.ended.clear()

    flood = [asyncio.create_task(tenants.call("flooder")) for _ in range(FLOOD)]
    await until(lambda: len(tenants.ended) >= FLOOD - TENANT_QUEUE_MAX - SHARE - 1)
    ahead: list[int] = []
    for _ in range(NEIGHBOURS_CALLS):
        before = len(tenants.ended)
        status, retry_after, _ = await tenants.call("neighbour")
        assert (status, retry_after) == (200, None)
        ahead.append(tenants.ended[before:].count("flooder"))
        assert runner.queue.waiting > 0  # the flooder's, all the while
    assert max(ahead) <= 2 * SHARE  # never behind the queue, only behind what was running
    answers = await asyncio.gather(*flood)

    refused = [answer for answer in answers if answer[0] == 429]
    assert FLOOD - TENANT_QUEUE_MAX - SHARE - 1 <= len(refused) <= FLOOD - TENANT_QUEUE_MAX
    for _, retry_after, answer in refused:
        assert answer.error is not None
        assert (answer.error.code, answer.error.started) == (TenantOverConcurrency.code, False)
        assert retry_after is not None
        assert int(retry_after) >= 1
    # What was let in is either served or told that its time was over while it waited; nothing is lost.
    assert {answer[0] for answer in answers if answer not in refused} <= {200, 503}
    assert (await tenants.call("flooder"))[0] == 200
