"""What the platform wrote down about a call: its row in the execution log, its last debug event, what the runner counted."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import psycopg
from redis.asyncio import Redis as Client

from deploy.local.record import Extension, Stack
from shared.debug_stream import PREFIX
from tests.system.acting import Answer, Visitor
from tests.system.runners import metric

CLOSED_WITHIN_S = 2.0  # closing is written behind the answer, at most a second late


async def row_of(stack: Stack, answer: Answer) -> dict[str, Any]:
    """The execution row of an answered call, once it is closed."""
    request_id = answer.headers["x-request-id"]
    query = "select to_jsonb(e) from extension_execution_log e where request_id = %s"
    async with asyncio.timeout(CLOSED_WITHIN_S), await psycopg.AsyncConnection.connect(stack.database_url) as database:
        while True:
            cursor = await database.execute(query, (request_id,))
            rows = [row[0] for row in await cursor.fetchall()]
            assert len(rows) <= 1
            if rows and rows[0]["state"] != "open":
                found: dict[str, Any] = rows[0]
                return found
            await database.rollback()
            await asyncio.sleep(0.02)


async def end_of(stack: Stack, extension: Extension, request_id: str, tenant: str | None = None) -> dict[str, str]:
    """What the last debug event of an execution says, once it is there."""
    key = f"{PREFIX}{tenant or extension.tenant_id}:{extension.id}"
    async with asyncio.timeout(CLOSED_WITHIN_S), Client.from_url(stack.redis_url, protocol=2) as client:
        while True:
            for _, fields in await client.xrevrange(key):
                event = msgspec.json.decode(fields.get(b"event", b"{}"))
                if event.get("request_id") == request_id and (event.get("data") or {}).get("kind") == "execution.end":
                    found: dict[str, str] = event["data"]
                    return found
            await asyncio.sleep(0.02)


METERED = {
    "cpu_ms": "ext_guest_cpu_seconds_total",
    "memory_peak_bytes": "ext_guest_memory_bytes_sum",
    "egress_bytes": "ext_egress_bytes_total",
    "host_calls": "ext_host_calls_total",
    "queue_ms": "ext_queue_seconds_sum",
}
"""What usage calls it, and under which name it is counted."""


async def counted(visitor: Visitor, base: str) -> dict[str, float]:
    """The runner's counters by the names of usage, milliseconds in place of seconds."""
    found: dict[str, float] = {}
    for name, counter in METERED.items():
        value = sum((await metric(visitor, base, counter)).values())
        found[name] = value * 1000 if name.endswith("_ms") else value
    return found
