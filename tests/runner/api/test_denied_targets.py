"""Where a guest wanted to go and could not stands in the runner's answer, whatever became of the call."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest

from runner.capabilities.capability import Call, Capability
from runner.capabilities.table import with_services
from runner.sandbox.pool import PoolOptions
from shared import wire
from tests.runner.api.door import Runner
from tests.runner.sandbox.driving import running_pool, until

GRANTED = ("cap:context.read", "cap:log.emit", "cap:storage.kv")
HANGING = "it will not answer"
TARGET = "https://api.example.com"


class Refusing:
    """A capability that refuses two hosts, one of them twice, and perhaps never ends."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def get(self, namespace: str, key: str) -> Any:
        recorder = self._call.recorder
        recorder.denied_target(TARGET, "not-granted", grantable=True)
        recorder.denied_target(TARGET, "not-granted", grantable=True)
        recorder.denied_target("http://10.0.0.1", "ip-denied", grantable=False)
        recorder.incident("egress_denied", "http.fetch: not-allowed")
        if self._call.request.http.body == b"hang":
            recorder.record("info", "system", HANGING)
            await asyncio.Event().wait()
        return (False, "missing")


EXPECTED = (
    wire.DeniedTarget(target=TARGET, reason="not-granted", times=2, grantable=True),
    wire.DeniedTarget(target="http://10.0.0.1", reason="ip-denied"),
)


@pytest.fixture
async def runner(native: bytes) -> AsyncIterator[Runner]:
    table = with_services(Capability(name="cap:storage.kv", interface="storage", open=Refusing))
    async with running_pool(PoolOptions(sandbox_max=4)) as pool:
        yield Runner(pool, native, table)


@pytest.mark.parametrize("kind", [wire.MSGPACK, wire.JSON])
async def test_a_guests_answer_has_them_beside_the_incident(runner: Runner, kind: str) -> None:
    _, answer = await runner.call("/host", providers=GRANTED, debug=False, kind=kind)
    assert (answer.error, answer.incidents, answer.denied_targets) == (None, ("egress_denied",), EXPECTED)


async def test_a_refusal_has_them_as_well(runner: Runner) -> None:
    calling = asyncio.create_task(runner.call("/host", body=b"hang", providers=GRANTED))
    await until(lambda: any(event.message == HANGING for event in runner.sink.events))
    (busy,) = [sandbox for sandbox in runner.pool._all if sandbox._result is not None]
    os.kill(busy.pid, signal.SIGKILL)
    _, answer = await calling
    assert answer.error is not None
    assert (answer.error.code, answer.denied_targets) == ("guest_aborted", EXPECTED)


async def test_each_call_has_its_own(runner: Runner) -> None:
    for _ in range(2):
        _, answer = await runner.call("/host", providers=GRANTED)
        assert answer.denied_targets == EXPECTED
    _, answer = await runner.call("/echo", providers=GRANTED)
    assert answer.denied_targets == ()
