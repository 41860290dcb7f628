"""Two tenants through one runner: what is one's is never the other's, whatever fails in between (threats T13, T25, T63).

The same search as the long soak's, shorter; and closer to the edge, in one process: a capability of ours that raises with
one tenant's data in its words, while the other's guest traps.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from deploy.local.record import Stack
from runner.capabilities.capability import Call, Capability
from runner.capabilities.table import with_services
from runner.sandbox.pool import PoolOptions
from tests.runner.api.door import Runner
from tests.runner.sandbox.driving import compiled, running_pool
from tests.soak import canaries
from tests.soak.executions import Bounds

pytestmark = pytest.mark.security
CALLS = 1_000
ITERATIONS = 300
GRANTED = ("cap:context.read", "cap:storage.kv")


@pytest.mark.timeout(400, func_only=True)
async def test_no_canary_of_one_tenant_is_ever_seen_by_the_other_or_in_its_sandboxes(stack: Stack) -> None:
    said: list[str] = []
    rows = await canaries.run(stack, Bounds(CALLS), said.append)
    assert [(row.name, row.value) for row in rows if row.met is False] == [], said


class Raising:
    """A capability that fails with its caller's data in its words."""

    def __init__(self, call: Call) -> None:
        self._canary = (call.request.http.body or b"").decode()

    async def get(self, namespace: str, key: str) -> Any:
        await asyncio.sleep(0)
        raise ValueError(f"could not read {self._canary}")


@pytest.fixture
async def runner() -> AsyncIterator[Runner]:
    native = compiled(Path(__file__).parents[1] / "runner" / "sandbox" / "behaviours.wat")
    table = with_services(Capability(name="cap:storage.kv", interface="storage", open=Raising))
    async with running_pool(PoolOptions(sandbox_max=8)) as pool:
        yield Runner(pool, native, table)


async def test_what_a_host_function_raises_for_one_tenant_never_reaches_another_that_traps(runner: Runner) -> None:
    canaries_of = {tenant: f"canary-of-{tenant}-5d2c" for tenant in ("acme", "globex")}

    async def calls(tenant: str, other: str, path: str, code: str) -> int:
        seen = 0
        for _ in range(ITERATIONS):
            body = canaries_of[tenant].encode()
            _, answer = await runner.call(path, body=body, tenant=tenant, providers=GRANTED)
            assert (answer.error.code if answer.error else "ok") == code
            text = repr(answer)
            assert canaries_of[other] not in text
            seen += canaries_of[tenant] in text
        return seen

    with structlog.testing.capture_logs() as lines:
        failed, trapped = await asyncio.gather(
            calls("acme", "globex", "/host", "ok"), calls("globex", "acme", "/trap", "guest_trapped")
        )
    assert (failed, trapped) == (ITERATIONS, 0)  # the guest echoes its own body; a trap says nothing of it
    assert sum(line["event"] == "host_call_failed" for line in lines) == ITERATIONS
    for event in runner.sink.events:
        other = "globex" if event.tenant_id == "acme" else "acme"
        assert canaries_of[other] not in repr(event)
    assert {event.tenant_id for event in runner.sink.events} == {"acme", "globex"}
