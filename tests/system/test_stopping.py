"""Calls that are ended from outside: by an operator within five seconds, by a caller that leaves, by the breaker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
import psycopg
import pytest
from wasmtime import wat2wasm

from deploy.local.record import Extension, Stack
from runner.sandbox.cpu_time import process_cpu_us
from shared.keys import PrivateKey
from shared.limits import SANDBOX_DEATH_REFILL_S, SANDBOX_DEATHS_BURST_MAX_COUNT
from tests.soak.asking import Ask, Caller, Told, calling
from tests.system.acting import Visitor, manifest, packed, signed
from tests.system.recorded import row_of
from tests.system.runners import RunnerProcess, another_runner, metric, sandboxes_of

ACTS_WITHIN_S = 5.0
LONG_MS = 25_000
BEHAVIOURS = Path(__file__).parents[1] / "runner" / "sandbox" / "behaviours.wat"


@pytest.fixture
async def runner(stack: Stack, tmp_path: Path) -> AsyncIterator[RunnerProcess]:
    """A runner of its own: what is stopped there stops nobody else."""
    async with another_runner(stack, tmp_path) as found:
        yield found


@pytest.fixture
async def caller(stack: Stack, runner: RunnerProcess) -> AsyncIterator[Caller]:
    async with calling(runner.url, stack.runner_service_token) as found:
        yield found


@pytest.fixture
def extension(stack: Stack) -> Extension:
    return stack.extension("hello-quickjs", "acme")


def ask(extension: Extension, path: str = "/hello", tenant: str = "stopped", **more: object) -> Ask:
    return Ask(extension=extension, tenant=tenant, path=path, timeout_ms=LONG_MS, **more)  # type: ignore[arg-type]


async def say(stack: Stack, kind: str, subject: str) -> None:
    """Write an entry of the state feed, as the gateway does."""
    async with await psycopg.AsyncConnection.connect(stack.database_url) as database:
        await database.execute("insert into state_feed (kind, subject) values (%s, %s)", (kind, subject))


async def until(happened: Callable[[], Awaitable[bool]], limit_s: float = 20) -> None:
    """Return when it is so; a process that is not ours and a service elsewhere send no event."""
    async with asyncio.timeout(limit_s):
        while not await happened():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


class Busy:
    """Whether some sandbox of a runner has computed for a while since this was made."""

    def __init__(self, runner: int) -> None:
        self._runner = runner
        self._before = self._used()

    def _used(self) -> dict[int, int]:
        return {pid: process_cpu_us(pid) or 0 for pid in sandboxes_of(self._runner)}

    async def __call__(self) -> bool:
        return any(used_us > self._before.get(pid, 0) + 150_000 for pid, used_us in self._used().items())


async def looping(caller: Caller, runner: RunnerProcess, one: Ask) -> asyncio.Task[Told]:
    """A call that runs and will for long."""
    busy = Busy(runner.pid)
    task = asyncio.create_task(caller.execute(one))
    await until(busy)
    return task


async def ended(task: asyncio.Task[Told]) -> tuple[Told, float]:
    """The answer, and how long it took from now."""
    began = time.monotonic()
    return await task, time.monotonic() - began


# ---- operators ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["revoked_version", "disabled_install", "brake on a tenant", "brake on a capability"])
async def test_what_an_operator_stops_ends_running_calls_and_lets_no_new_one_in(
    stack: Stack, runner: RunnerProcess, caller: Caller, extension: Extension, kind: str
) -> None:
    tenant = "stopped-" + kind.replace(" ", "-").replace("_", "-")
    one = ask(extension, "/loop", tenant)
    beside = ask(extension, "/hello", "beside")
    subject = {"revoked_version": one.version_id, "disabled_install": one.install_id}.get(kind, f"tenant:{tenant}")
    if kind == "brake on a capability":
        subject = "capability:cap:service.read"  # nobody else in this suite is granted it
        one = msgspec.structs.replace(one, providers=(*one.providers, "cap:service.read"))
    await caller.execute(beside)
    running = await looping(caller, runner, one)
    await say(stack, kind.partition(" ")[0], subject)
    try:
        told, took_s = await ended(running)
        assert took_s < ACTS_WITHIN_S
        assert told.answer.error is not None
        assert (told.http_status, told.code, told.answer.error.blame, told.answer.error.started) == (
            *(403, "revoked", "host"),
            True,
        )
        assert told.answer.usage.cpu_ms > 100
        again = await caller.execute(msgspec.structs.replace(one, path="/hello"))
        assert again.answer.error is not None
        assert (again.code, again.answer.error.started) == ("revoked", False)
        assert (await caller.execute(beside)).code == "ok"
    finally:
        if kind.startswith("brake"):
            await say(stack, "brake_released", subject)
    if kind.startswith("brake"):

        async def released() -> bool:
            return (await caller.execute(msgspec.structs.replace(one, path="/hello"))).code == "ok"

        await until(released, ACTS_WITHIN_S)


async def test_a_revoked_key_ends_what_it_signed_and_nothing_else(
    stack: Stack, runner: RunnerProcess, caller: Caller, extension: Extension, admin: Visitor, tmp_path: Path
) -> None:
    key = PrivateKey.generate()
    trust = Path(stack.trust_bundle)
    bundle = msgspec.json.decode(trust.read_bytes())
    bundle["keys"].append({"key_id": key.key_id, "public_key": key.public.pem(), "publishers": ["local"]})
    trust.write_bytes(msgspec.json.encode(bundle))
    described = manifest("tests.revoked-key")
    data, digest = packed(tmp_path, described, bytes(wat2wasm(BEHAVIOURS.read_text())))

    async def published() -> bool:  # not before the gateway has read the trust bundle
        answer = await admin.publish(data, signed(described, digest, key))
        return answer.status == 200 and answer.json()["state"] == "ready"

    await until(published)
    theirs = msgspec.structs.replace(extension, content_hash=digest.content_hash)

    async def trusted() -> bool:  # nor before the runner has, which reads it by its own clock
        return (await caller.execute(ask(theirs, "/echo", "revoked-key"))).code == "ok"

    await until(trusted)
    running, others = (
        await looping(caller, runner, ask(theirs, "/loop", "revoked-key")),
        asyncio.create_task(caller.execute(msgspec.structs.replace(ask(extension, "/loop"), timeout_ms=8_000))),
    )
    await say(stack, "revoked_key", key.key_id)
    told, took_s = await ended(running)
    assert took_s < ACTS_WITHIN_S
    assert (told.http_status, told.code) == (403, "revoked")
    assert not others.done()
    assert (await caller.execute(ask(theirs, "/echo", "revoked-key"))).code == "revoked"
    assert (await others).code == "guest_timeout"


async def test_an_administrator_who_disables_an_install_ends_its_running_calls(admin: Visitor, stack: Stack) -> None:
    extension = stack.extension("hello-python", "acme")
    loop = f"/api/ext/{extension.install_id}/loop"
    busy = Busy(stack.pids["runner"])
    running = asyncio.create_task(admin.get(loop))
    await until(busy, 4)
    try:
        assert (await admin.post(f"/api/installs/{extension.install_id}/disable", {})).status == 200
        answer = await running
        assert (answer.status, answer.code) == (403, "revoked")
        row = await row_of(stack, answer)
        assert (row["state"], row["code"]) == ("denied", "revoked")
        assert row["cpu_ms"] > 50
    finally:
        assert (await admin.post(f"/api/installs/{extension.install_id}/enable", {})).status == 200

    async def enabled() -> bool:
        return (await admin.get(f"/api/ext/{extension.install_id}/hello")).status == 200

    await until(enabled, ACTS_WITHIN_S)


# ---- callers ------------------------------------------------------------------------------------------------------


async def test_a_caller_that_leaves_takes_its_guest_along(
    runner: RunnerProcess, caller: Caller, extension: Extension
) -> None:
    await caller.execute(ask(extension, "/hello", "leaving"))
    running = await looping(caller, runner, ask(extension, "/loop", "leaving"))
    busiest = max(sandboxes_of(runner.pid), key=lambda pid: process_cpu_us(pid) or 0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    async def gone() -> bool:
        return busiest not in sandboxes_of(runner.pid)

    await until(gone, 2)
    assert (await caller.execute(ask(extension, "/hello", "leaving"))).code == "ok"


# ---- the breaker --------------------------------------------------------------------------------------------------


async def test_an_install_that_keeps_costing_sandboxes_rests_for_all_workers_and_nobody_else_does(
    runner: RunnerProcess, caller: Caller, extension: Extension, admin: Visitor, stack: Stack
) -> None:
    failing, other = ask(extension, "/stack"), stack.extension("hello-python", "acme")
    codes: list[str] = []
    while "extension_suspended" not in codes and len(codes) < 3 * SANDBOX_DEATHS_BURST_MAX_COUNT:
        codes += [told.code for told in await asyncio.gather(*(caller.execute(failing) for _ in range(2)))]
    assert set(codes) == {"guest_trapped", "extension_suspended"}
    deaths = await metric(admin, runner.url, "ext_sandbox_deaths_total")
    assert deaths == {'{cause="fault"}': float(codes.count("guest_trapped"))}
    assert SANDBOX_DEATHS_BURST_MAX_COUNT <= codes.count("guest_trapped") <= SANDBOX_DEATHS_BURST_MAX_COUNT + 8
    told = await caller.execute(ask(extension))
    assert told.answer.error is not None
    assert (told.http_status, told.code, told.answer.error.blame) == (503, "extension_suspended", "guest")
    assert b"retry-after" in told.raw.lower()
    assert (await caller.execute(ask(other))).code == "ok"  # another install of the same tenant
    assert (await caller.execute(ask(extension, tenant="somebody-else"))).code == "ok"

    async def recovered() -> bool:
        return (await caller.execute(ask(extension))).code == "ok"

    await until(recovered, SANDBOX_DEATH_REFILL_S * 12)
