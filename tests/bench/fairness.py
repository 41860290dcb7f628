"""What one busy tenant costs the others, and what it costs to serve many tenants instead of one."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from deploy.local.record import Stack
from tests.bench.execute import CONCURRENT, SECONDS, load_for, samples
from tests.bench.measure import finish, measure, start
from tests.bench.rows import Row

GREEDY: Final = 64  # closed loops of the tenant that takes what it can get
CROWDS: Final = (2, 16, 256)
SHORT_S: Final = 1.0  # of the margin within which a p99 may rise by a millisecond whatever the ratio


def run(stack: Stack, directory: Path) -> list[Row]:
    """All rows of this bench, with the QuickJS guest: the shortest call suffers most from a neighbour."""
    extension, runner = samples(stack)["quickjs"], stack.pids["runner"]
    modest = load_for(stack, extension, "modest")
    measure(modest, runner, connections=2, seconds=1)
    alone = measure(modest, runner, connections=1, seconds=SECONDS)
    greedy = start(load_for(stack, extension, "greedy"), connections=GREEDY, seconds=SECONDS + 4)
    beside = measure(modest, runner, connections=1, seconds=SECONDS)
    flood = finish(greedy, runner, seconds=SECONDS)
    p99_bar = max(1.5, (alone.p99_ms + SHORT_S) / alone.p99_ms)
    rows = [
        Row(
            name=f"p50 beside a tenant with {GREEDY} loops",
            value=beside.p50_ms,
            unit="ms",
            peer="alone",
            peer_value=alone.p50_ms,
            bar=1.2,
        ),
        Row(
            name=f"p99 beside a tenant with {GREEDY} loops",
            value=beside.p99_ms,
            unit="ms",
            peer="alone",
            peer_value=alone.p99_ms,
            bar=round(p99_bar, 2),
        ),
        Row(name="the busy tenant's throughput meanwhile", value=flood.per_s, unit="/s"),
    ]
    one = measure(load_for(stack, extension, "only"), runner, connections=CONCURRENT, seconds=SECONDS)
    for crowd in CROWDS:
        tenants = [load_for(stack, extension, f"tenant-{number}") for number in range(crowd)]
        measure(tenants, runner, connections=CONCURRENT, seconds=3)
        many = measure(tenants, runner, connections=CONCURRENT, seconds=SECONDS)
        rows.append(
            Row(
                name=f"{crowd} tenants in turn, c={CONCURRENT}",
                value=many.per_s,
                unit="/s",
                peer="one",
                peer_value=one.per_s,
                bar=0.8,
                lower=False,
            )
        )
        rows.append(Row(name=f"{crowd} tenants: failures", value=many.failures, unit="", bar=0))
    return rows
