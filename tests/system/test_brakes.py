"""A drill: an operator stops a version that two runners serve under load, with Redis up and with Redis hanging.

The last execution and the last asset answer come within five seconds of the brake, wherever they are asked for; what
runs is ended in its runner; the release brings calls and pages back. "Who ran it" names the tenant.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deploy.local.record import Stack
from shared.keys import PrivateKey
from tests.system.acting import Answer, Visitor, manifest, packed, signed
from tests.system.gateways import another_gateway
from tests.system.keepers import component
from tests.system.runners import another_runner

ACTS_WITHIN_S = 5.0
WATCHED_S = 8.0  # after the brake
BACK_WITHIN_S = 10.0


class Ways(msgspec.Struct, frozen=True):
    """One runner: the gateway that calls it, and where it serves pages."""

    gateway: str
    pages: str


class Load:
    """Calls and page requests without a pause, on every way at once; it remembers when each kind last succeeded."""

    def __init__(self, admin: Visitor, made: dict[str, Any], ways: list[Ways]) -> None:
        self._admin, self._ways = admin, ways
        self.call_path = f"/api/ext/{made['install_id']}"
        self.page_path = f"/ext-ui/{made['extension_id']}/{made['content_hash']}/index.html"
        self.last_s: dict[tuple[int, str], float] = {}
        self.codes: dict[tuple[int, str], set[str]] = {}

    @contextlib.asynccontextmanager
    async def going(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._repeat(index, kind)) for index in range(len(self._ways)) for kind in ("c", "p")
            ]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()

    async def ask(self, index: int, kind: str) -> Answer:
        way = self._ways[index]
        if kind == "c":
            return await self._admin.get(f"{self.call_path}/hello", base=way.gateway)
        return await self._admin.with_token(None).get(self.page_path, base=way.pages)

    async def looping(self, index: int) -> Answer:
        """A call that ends only when something ends it."""
        return await self._admin.get(f"{self.call_path}/loop", base=self._ways[index].gateway)

    async def until_all_succeed(self, since_s: float, within_s: float) -> None:
        async with asyncio.timeout(within_s):
            while len(self.last_s) < 2 * len(self._ways) or min(self.last_s.values()) < since_s:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def _repeat(self, index: int, kind: str) -> None:
        while True:
            answer = await self.ask(index, kind)
            at = (index, kind)
            if answer.status == 200:
                self.last_s[at] = time.monotonic()
            else:
                self.codes.setdefault(at, set()).add(answer.code)
            await asyncio.sleep(0.02)


@pytest.fixture
async def made(stack: Stack, admin: Visitor, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """A version of this test's own, with a page, installed for `acme`."""
    name = f"tests.drill-{request.node.callspec.id}"
    described = manifest(name, ui={"type": "iframe", "entry": "ui/index.html"}, limits={"timeoutMs": 25_000})
    data, digest = packed(tmp_path, described, await component("hello-quickjs"))
    key = PrivateKey.from_pem(Path(stack.signing_key).read_text())
    published = await admin.publish(data, signed(described, digest, key))
    assert (published.status, published.json()["state"]) == (200, "ready"), published.body
    installed = await admin.post("/api/installs", {"extension": published.json()["extension_id"]})
    assert installed.status == 201, installed.body
    yield installed.json()
    await admin.call("DELETE", f"/api/installs/{installed.json()['install_id']}")


@contextlib.contextmanager
def redis(stack: Stack, state: str) -> Iterator[None]:
    """Redis as the drill wants it; always running again afterwards."""
    if state == "stopped":
        os.kill(stack.pids["Redis"], signal.SIGSTOP)
    try:
        yield
    finally:
        if state == "stopped":
            os.kill(stack.pids["Redis"], signal.SIGCONT)


@contextlib.asynccontextmanager
async def braked(operator: Visitor, version_id: str) -> AsyncIterator[dict[str, Any]]:
    """A brake on a version, released at the end whatever happens."""
    made = await operator.post("/api/admin/brakes", {"scope": "version", "name": version_id, "reason": "drill"})
    assert made.status == 201, made.body
    try:
        yield made.json()
    finally:
        released = await operator.call("DELETE", f"/api/admin/brakes/{made.json()['id']}")
        assert released.status == 200, released.body


@pytest.mark.parametrize("state", ["running", "stopped"])
async def test_a_brake_on_a_version_ends_calls_and_pages_in_every_runner_within_five_seconds(
    stack: Stack, admin: Visitor, made: dict[str, Any], tmp_path: Path, state: str
) -> None:
    operator, began = admin.with_token(stack.operator_token), datetime.now(UTC)
    async with (
        another_runner(stack, tmp_path) as runner,
        another_gateway(stack, RUNNER_BASE_URL=runner.url) as gateway,
    ):
        ways = [Ways(stack.gateway_url, stack.runner_public_base), Ways(gateway.url, runner.public_url)]
        load = Load(admin, made, ways)
        with redis(stack, state):
            async with load.going():
                await load.until_all_succeed(0, 30)
                running = [asyncio.create_task(load.looping(index)) for index in range(len(ways))]
                await load.until_all_succeed(time.monotonic(), 30)
                async with braked(operator, made["version_id"]):
                    pulled_s = time.monotonic()
                    async with asyncio.timeout(ACTS_WITHIN_S):
                        ended = await asyncio.gather(*running)
                    await asyncio.sleep(pulled_s + WATCHED_S - time.monotonic())  # a success would come in this time
                assert [(answer.status, answer.code) for answer in ended] == [(403, "revoked")] * len(ways)
                late = {at: last_s - pulled_s for at, last_s in load.last_s.items() if last_s < pulled_s + WATCHED_S}
                assert len(late) == len(load.last_s), "something succeeded after the brake was watched"
                assert max(late.values()) < ACTS_WITHIN_S, late
                for index in range(len(ways)):
                    assert "revoked" in load.codes[index, "c"]
                    assert load.codes[index, "p"] == {"not_found"}
                await load.until_all_succeed(time.monotonic(), BACK_WITHIN_S)
    since = began.strftime("%Y-%m-%dT%H:%M:%SZ")
    told = await operator.get(f"/api/admin/executions?scope=version&name={made['version_id']}&since={since}")
    (ran,) = told.json()["items"]
    assert (ran["tenant_id"], ran["install_id"]) == ("acme", made["install_id"])
    assert ran["failed"] >= len(ways)
    assert ran["executions"] > ran["failed"]
