"""What one busy tenant costs the others, and what it costs to serve many tenants instead of one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from deploy.local.record import Extension, Stack
from tests.bench.execute import CONCURRENT, SECONDS, load_for, samples
from tests.bench.measure import Load, Measured, finish, measure, start
from tests.bench.progress import say
from tests.bench.rows import Row
from tests.bench.workers import one_to_each_worker

GREEDY: Final = 64  # closed loops of the tenant that takes what it can get
CROWDS: Final = (2, 16, 256)
CROWD_BAR: Final = 0.8  # of the largest; smaller ones only inform
P50_BAR: Final = 1.2
P99_BAR: Final = 1.5
SHORT_MS: Final = 1.0  # the margin by which a p99 may rise whatever the ratio
SETTLE_S: Final = 1.0


def run(stack: Stack, directory: Path) -> list[Row]:
    """All rows of this bench, with the QuickJS guest: the shortest call suffers most from a neighbour."""
    extension, runner = samples(stack)["quickjs"], stack.pids["runner"]
    say(f"fairness: beside a tenant with {GREEDY} loops")
    rows, failures = _neighbour(stack, extension, runner)
    only = load_for(stack, extension, "only")
    for crowd in CROWDS:
        say(f"fairness: {crowd} tenants")
        tenants = [load_for(stack, extension, f"tenant-{number}") for number in range(crowd)]
        fits = warm(stack.runner_url, runner, tenants)
        many = measure(tenants, runner, connections=CONCURRENT, seconds=SECONDS)
        one = measure(only, runner, connections=CONCURRENT, seconds=SECONDS)
        failures += many.failures + one.failures
        row = Row(
            name=f"{crowd} tenants in turn, c={CONCURRENT}, throughput"
            + ("" if fits else "; their sandboxes do not fit"),
            value=many.per_s,
            unit="/s",
            peer="one",
            peer_value=one.per_s,
            bar=CROWD_BAR if crowd == max(CROWDS) and fits else None,
            lower=False,
        )
        rows.append(row)
    return [*rows, Row(name="fairness: failures", value=failures, unit="", bar=0)]


def warm(url: str, runner: int, tenants: Sequence[Load]) -> bool:
    """Have every worker call for every tenant once; whether it still has a sandbox for each of them."""
    with one_to_each_worker(url, runner) as lines:
        for tenant in tenants:
            for line in lines:
                line.ask(tenant)
        return all(line.sandboxes().idle >= len(tenants) for line in lines)


def _neighbour(stack: Stack, extension: Extension, runner: int) -> tuple[list[Row], int]:
    modest = load_for(stack, extension, "modest")
    measure(modest, runner, connections=2, seconds=SETTLE_S)
    alone = measure(modest, runner, connections=1, seconds=SECONDS)
    greedy = start(load_for(stack, extension, "greedy"), connections=GREEDY, seconds=SECONDS + 4)
    try:
        beside = measure(modest, runner, connections=1, seconds=SECONDS)
    except BaseException:
        greedy.kill()
        raise
    flood = finish(greedy, runner, seconds=SECONDS)
    rows = [
        Row(
            name=f"p50 beside a tenant with {GREEDY} loops",
            value=beside.p50_ms,
            unit="ms",
            peer="alone",
            peer_value=alone.p50_ms,
            bar=P50_BAR,
        ),
        Row(
            name=f"p99 beside a tenant with {GREEDY} loops",
            value=beside.p99_ms,
            unit="ms",
            peer="alone",
            peer_value=alone.p99_ms,
            bar=round(p99_bar(alone), 2),
        ),
        Row(name="the busy tenant's throughput meanwhile", value=flood.per_s, unit="/s"),
    ]
    return rows, alone.failures + beside.failures


def p99_bar(alone: Measured) -> float:
    """How many times the p99 of a tenant alone may rise: half as much again, or by a millisecond."""
    return max(P99_BAR, (alone.p99_ms + SHORT_MS) / alone.p99_ms)
