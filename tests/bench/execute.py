"""`POST /v1/execute` for the three guests, beside `wasmtime serve` and bare Hypercorn in the same run.

Requests use the static service token: an execute token is good once, so a generator would have to sign each request
and would be measured as well. Signature verification and the replay table are covered by the gateway's bench.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from deploy.local.record import Extension, Stack
from shared import wire
from shared.capabilities import DEFAULTS
from tests.bench import peers
from tests.bench.measure import Load, Measured, measure
from tests.bench.progress import say
from tests.bench.rows import Row

SECONDS: Final = 6.0
CONCURRENT: Final = 16
VERSION: Final = "00000000-0000-4000-8000-000000000000"  # not looked at with the service token

# name → p50 bar at c=1 in ms, throughput bar against the peer, CPU bar against the peer (peer's ÷ ours)
BARS: Final[dict[str, tuple[float, float | None, float | None]]] = {
    "quickjs": (1.6, 1.5, 1.3),
    "starling": (2.8, 0.9, 0.75),
    "python": (3.8, None, None),
}


def load_for(stack: Stack, extension: Extension, tenant: str | None = None) -> Load:
    """`GET /hello` of one sample, straight at the runner; `tenant` may be anybody, the service token is trusted."""
    tenant = tenant or extension.tenant_id
    request = wire.ExecuteRequest(
        context=wire.Context(
            request_id="bench",
            tenant_id=tenant,
            extension_id=extension.id,
            install_id=extension.install_id,
            version_id=VERSION,
            content_hash=extension.content_hash,
        ),
        http=wire.Http(method="GET", path="/hello", headers={"accept": "application/json"}),
        providers=DEFAULTS,
    )
    headers = {
        "content-type": wire.MSGPACK,
        "authorization": f"Bearer {stack.runner_service_token}",
        "x-alga-tenant": tenant,
        "x-alga-extension": extension.id,
    }
    return Load(f"{stack.runner_url}/v1/execute", "POST", headers, wire.encode_execute(request))


def samples(stack: Stack) -> dict[str, Extension]:
    """The first install of each sample, by the last word of its name."""
    found: dict[str, Extension] = {}
    for extension in stack.extensions:
        found.setdefault(extension.name.rpartition("-")[2], extension)
    return found


def run(stack: Stack, directory: Path) -> list[Row]:
    """All rows of this bench."""
    rows: list[Row] = []
    say("execute: wasmtime serve, bare Hypercorn")
    with peers.wasmtime_serve(directory) as (url, pid):
        serve = _both(Load(url), pid)
    with peers.bare_hypercorn(len(os.sched_getaffinity(0))) as (url, pid):
        bare = _both(Load(url), pid)
    for name, peer in (("wasmtime serve", serve), ("bare Hypercorn", bare)):
        rows += _informing(name, *peer)
    runner = stack.pids["runner"]
    for name, extension in samples(stack).items():
        say(f"execute: {name}")
        one, many = _both(load_for(stack, extension), runner)
        p50, throughput, cpu = BARS[name]
        rows += [
            Row(name=f"{name} c=1 p50", value=one.p50_ms, unit="ms", bar=p50),
            Row(name=f"{name} c=1 p99", value=one.p99_ms, unit="ms"),
            Row(name=f"{name} c=1 cpu per request", value=one.cpu_ms, unit="ms"),
            Row(
                name=f"{name} c={CONCURRENT} throughput",
                value=many.per_s,
                unit="/s",
                peer="serve",
                peer_value=serve[1].per_s,
                bar=throughput,
                lower=False,
            ),
            Row(name=f"{name} c={CONCURRENT} p50", value=many.p50_ms, unit="ms"),
            Row(name=f"{name} c={CONCURRENT} p99", value=many.p99_ms, unit="ms"),
            Row(
                name=f"{name} c={CONCURRENT} work per cpu second",
                value=1000 / many.cpu_ms,
                unit="/s",
                peer="serve",
                peer_value=1000 / serve[1].cpu_ms,
                bar=cpu,
                lower=False,
            ),
            Row(name=f"{name} failures", value=one.failures + many.failures, unit="", bar=0),
        ]
    return rows


def _both(load: Load, pid: int) -> tuple[Measured, Measured]:
    return (
        measure(load, pid, connections=1, seconds=SECONDS),
        measure(load, pid, connections=CONCURRENT, seconds=SECONDS),
    )


def _informing(name: str, one: Measured, many: Measured) -> list[Row]:
    return [
        Row(name=f"{name} c=1 p50", value=one.p50_ms, unit="ms"),
        Row(name=f"{name} c={CONCURRENT} throughput", value=many.per_s, unit="/s"),
        Row(name=f"{name} c={CONCURRENT} cpu per request", value=many.cpu_ms, unit="ms"),
    ]
