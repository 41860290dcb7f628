"""The whole way: gateway → runner → guest → back, warm; and what the first call of a runner or of a tenant costs.

The stack's own gateway debugs every call, as local mode does. The figure with the bars is of a second gateway beside
it, for which debugging is off unless an install asks for it.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

from deploy.local.record import Extension, Stack
from tests.bench import first
from tests.bench.execute import SECONDS, samples
from tests.bench.measure import Load, Measured, measure
from tests.bench.progress import say
from tests.bench.rows import Row
from tests.system.gateways import GatewayProcess, another_gateway

P50_BAR_MS: Final = 4.0
P99_BAR_MS: Final = 15.0
BARRED: Final = "quickjs"  # the guests' own times are in the bars of `execute`


def run(stack: Stack, directory: Path) -> list[Row]:
    """All rows of this bench."""
    return [*asyncio.run(warm(stack)), *first.of_a_runner(stack), *first.of_a_tenant(stack)]


def undebugged(stack: Stack) -> AbstractAsyncContextManager[GatewayProcess]:
    """A second gateway, which debugs only what an install asks it to."""
    return another_gateway(stack, EXT_DEBUG_ENABLED="0")


def through(base: str, stack: Stack, extension: Extension) -> Load:
    """`GET /hello` of one install through a gateway, with its tenant's API key."""
    key = stack.tenant(extension.tenant_id).api_key
    headers = {"authorization": f"Bearer {key}", "accept": "application/json"}
    return Load(f"{base}/api/ext/{extension.name}/hello", headers=headers)


async def warm(stack: Stack) -> list[Row]:
    """One client in a closed loop at a gateway."""
    rows: list[Row] = []
    failures = 0
    async with undebugged(stack) as gateway:
        for name, extension in samples(stack).items():
            say(f"path: {name} through the gateway")
            seen = measure(through(gateway.url, stack, extension), gateway.pid, connections=1, seconds=SECONDS)
            failures += seen.failures
            rows += _rows(f"gateway → {name} → back, c=1", seen, barred=name == BARRED)
    say("path: with debugging")
    extension = samples(stack)[BARRED]
    seen = measure(through(stack.gateway_url, stack, extension), stack.pids["gateway"], connections=1, seconds=SECONDS)
    rows += _rows(f"gateway → {BARRED} → back, c=1, debugged", seen, barred=False)
    return [*rows, Row(name="path: failures", value=failures + seen.failures, unit="", bar=0)]


def _rows(name: str, seen: Measured, *, barred: bool) -> list[Row]:
    return [
        Row(name=f"{name}, p50", value=seen.p50_ms, unit="ms", bar=P50_BAR_MS if barred else None),
        Row(name=f"{name}, p99", value=seen.p99_ms, unit="ms", bar=P99_BAR_MS if barred else None),
        Row(name=f"{name}, gateway's cpu", value=seen.cpu_ms, unit="ms"),
    ]
