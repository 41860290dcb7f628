"""First calls: of a runner that has nothing but the store, and of a tenant whose component everybody has already.

A runner of this bench has one worker, so that it is ready when it says so; with more, the others would still be starting
beside the call that is measured.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Final

import msgspec

from deploy.local.record import Extension, Stack
from shared import wire
from tests.bench.execute import load_for, samples
from tests.bench.figures import median
from tests.bench.measure import Load
from tests.bench.progress import say
from tests.bench.rows import Row
from tests.bench.workers import Line, Reply
from tests.system.runners import another_runner

FRESH_RUNNERS: Final = 5
COLD_BARS_MS: Final = {"quickjs": 150.0, "starling": 500.0, "python": 500.0}
NEWCOMERS: Final = 60
NEWCOMER_BAR_MS: Final = 3.0
WARM_UP: Final = 50


class NotFirstError(RuntimeError):
    """A call was warm that should have been cold, or the other way round."""


def of_a_runner(stack: Stack) -> list[Row]:
    """The first request a fresh runner with an empty cache is asked, its connection included."""
    rows: list[Row] = []
    for name, extension in samples(stack).items():
        say(f"path: {FRESH_RUNNERS} fresh runners for {name}")
        took = [asyncio.run(_first_ms(stack, extension)) for _ in range(FRESH_RUNNERS)]
        rows.append(
            Row(
                name=f"cold: first request of a fresh runner, {name}, median of {FRESH_RUNNERS}",
                value=median(took),
                unit="ms",
                bar=COLD_BARS_MS[name],
            )
        )
    return rows


async def _first_ms(stack: Stack, extension: Extension) -> float:
    with tempfile.TemporaryDirectory(prefix="bench-runner-") as directory:
        async with another_runner(stack, Path(directory), RUNNER_WORKERS="1") as runner:
            load = msgspec.structs.replace(load_for(stack, extension), url=f"{runner.url}/v1/execute")
            began = time.perf_counter()
            with Line(runner.url) as line:
                _check(line.ask(load), cold=True)
            return (time.perf_counter() - began) * 1000


def of_a_tenant(stack: Stack) -> list[Row]:
    """Calls of tenants nobody has seen, and between them of one that is served already.

    Each begins when a spare sandbox is ready, so that what is compared differs in nothing but the tenant.
    """
    say(f"path: {NEWCOMERS} new tenants")
    extension = samples(stack)["quickjs"]
    settled = load_for(stack, extension, "settled")
    new: list[float] = []
    known: list[float] = []
    with Line(stack.runner_url) as line:
        for _ in range(WARM_UP):
            line.ask(settled)
        for number in range(NEWCOMERS):
            new.append(_after_a_spare(line, load_for(stack, extension, f"newcomer-{number}")))
            known.append(_after_a_spare(line, settled))
    return [
        Row(
            name="new tenant, warm component: median beyond a known tenant's",
            value=median(new) - median(known),
            unit="ms",
            bar=NEWCOMER_BAR_MS,
        ),
        Row(name="new tenant's first call, median", value=median(new), unit="ms"),
        Row(name="known tenant's call between them, median", value=median(known), unit="ms"),
    ]


def _after_a_spare(line: Line, load: Load) -> float:
    line.await_spare()
    reply = line.ask(load)
    _check(reply, cold=False)
    return reply.took_ms


def _check(reply: Reply, *, cold: bool) -> None:
    answer = wire.decode_answer(reply.body, dict(reply.headers)[b"content-type"].decode())
    if answer.status != 200 or answer.usage.cold != cold:
        raise NotFirstError(f"expected a {'cold' if cold else 'warm'} answer: {answer}")
