"""The live debug stream of a running platform: at once, whole or with a gap that says so, and only to its own tenant."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis as Client

from deploy.local.ports import random_free
from deploy.local.record import Extension, Stack
from shared.limits import DEBUG_STREAM_MAX_COUNT
from tests.system.acting import Visitor
from tests.system.gateways import another_gateway
from tests.system.runners import another_runner, execute, metric, processes_below
from tests.system.watching import Stream, executions, is_whole, watching

NAME = "hello-quickjs"
CANARY = "canary-5e1f0b77c9"


@pytest.fixture
def extension(stack: Stack) -> Extension:
    return stack.extension(NAME, "acme")


@pytest.fixture
def token(stack: Stack) -> str:
    return stack.tenant("acme").admin_token


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[Client]:
    """Redis, as somebody who may do everything."""
    async with Client.from_url(stack.redis_url, protocol=2) as found:
        yield found


def key(extension: Extension) -> str:
    return f"ext-debug:{extension.tenant_id}:{extension.id}"


def call(extension: Extension, path: str = "/log") -> str:
    return f"/api/ext/{extension.install_id}{path}"


def of(stream: Stream, request_id: str) -> list[str]:
    return [data["message"] for data in stream.logs if data["requestId"] == request_id]


def workers_of(pid: int) -> list[int]:
    """The worker processes of a runner."""
    return [one for one, command in processes_below(pid).items() if "runner.worker" in command]


# ---- what a viewer sees -------------------------------------------------------------------------------------------------


async def test_a_guests_line_arrives_within_a_second(
    stack: Stack, admin: Visitor, extension: Extension, token: str
) -> None:
    await admin.get(call(extension))
    async with watching(stack, extension, token) as stream:
        began = time.monotonic()
        answer = await admin.get(call(extension), headers={"x-request-id": "req-second"})
        assert answer.status == 200
        await stream.until(lambda stream: "a warning line" in of(stream, "req-second"))
        assert time.monotonic() - began < 1
        await stream.until(lambda stream: is_whole([one for one in stream.logs if one["requestId"] == "req-second"]))
    events = [data for data in stream.logs if data["requestId"] == "req-second"]
    assert events[0]["message"] == "GET /log"
    assert {"an info line", "a warning line", "an error line"} <= {data["message"] for data in events}
    assert events[-1]["data"]["code"] == "ok"
    assert is_whole(events)
    assert {(data["tenantId"], data["installId"]) for data in events} == {("acme", extension.install_id)}


async def test_host_calls_and_failures_are_told(stack: Stack, admin: Visitor, extension: Extension, token: str) -> None:
    async with watching(stack, extension, token) as stream:
        await admin.get(call(extension, "/trap"), headers={"x-request-id": "req-trap"})
        await stream.until(lambda stream: any("guest_trapped" in text for text in of(stream, "req-trap")))
        await stream.until(lambda stream: is_whole([one for one in stream.logs if one["requestId"] == "req-trap"]))
    end = next(data for data in reversed(stream.logs) if data["requestId"] == "req-trap")
    assert (end["level"], end["data"]["code"], end["data"]["status"]) == ("error", "guest_trapped", "502")


async def test_query_headers_and_body_of_a_call_are_nowhere_in_the_stream(
    stack: Stack, admin: Visitor, extension: Extension, token: str, client: Client
) -> None:
    async with watching(stack, extension, token) as stream:
        answer = await admin.call(
            "POST",
            call(extension, f"/echo?key={CANARY}"),
            data=CANARY.encode(),
            headers={"x-request-id": "req-canary", "accept-language": CANARY},
        )
        assert answer.body == CANARY.encode()
        await stream.until(lambda stream: is_whole([o for o in stream.logs if o["requestId"] == "req-canary"]))
    kept = await client.xrange(key(extension))
    assert b"req-canary" in repr(kept).encode()
    assert CANARY not in repr(kept)
    assert token not in repr(kept)


# ---- only to its own tenant ---------------------------------------------------------------------------------------------


async def test_a_tenant_sees_its_own_calls_of_an_extension_that_another_one_uses_too(
    stack: Stack, admin: Visitor, extension: Extension, token: str
) -> None:
    theirs = stack.extension(NAME, "globex")
    assert theirs.id == extension.id
    other = admin.with_token(stack.tenant("globex").admin_token)
    async with (
        watching(stack, extension, token) as ours,
        watching(stack, theirs, stack.tenant("globex").admin_token) as foreign,
    ):
        await admin.get(call(extension), headers={"x-request-id": "req-ours"})
        await other.get(call(theirs), headers={"x-request-id": "req-theirs"})
        await ours.until(lambda stream: of(stream, "req-ours")[-1:] and is_whole_request(stream, "req-ours"))
        await foreign.until(lambda stream: is_whole_request(stream, "req-theirs"))
    assert {data["tenantId"] for data in ours.logs} == {"acme"}
    assert {data["tenantId"] for data in foreign.logs} == {"globex"}


def is_whole_request(stream: Stream, request_id: str) -> bool:
    events = [data for data in stream.logs if data["requestId"] == request_id]
    return bool(events) and is_whole(events)


async def test_another_tenants_install_cannot_be_watched(stack: Stack, admin: Visitor, extension: Extension) -> None:
    other = admin.with_token(stack.tenant("globex").admin_token)
    answer = await other.get(f"/api/ext-debug/stream?installId={extension.install_id}")
    assert (answer.status, answer.code) == (404, "not_installed")
    absent = await other.get("/api/ext-debug/stream?installId=00000000-0000-4000-8000-000000000000")
    assert absent.status == 404
    assert absent.json()["detail"] == answer.json()["detail"]


async def test_a_user_without_the_permission_cannot_watch(stack: Stack, admin: Visitor, extension: Extension) -> None:
    for token in (stack.tenant("acme").user_token, stack.tenant("acme").client_token):
        answer = await admin.with_token(token).get(f"/api/ext-debug/stream?extensionId={extension.id}")
        assert (answer.status, answer.code) == (403, "forbidden")


@pytest.mark.parametrize("value", ["0-0 XADD", "$", "0-0\tXADD", "1-0-0"])
async def test_an_id_that_is_none_is_refused(admin: Visitor, extension: Extension, value: str) -> None:
    answer = await admin.get(f"/api/ext-debug/stream?extensionId={extension.id}", headers={"last-event-id": value})
    assert (answer.status, answer.code) == (400, "invalid_request")


# ---- restarts -----------------------------------------------------------------------------------------------------------


async def test_a_client_that_comes_and_goes_loses_nothing(
    stack: Stack, admin: Visitor, extension: Extension, token: str, client: Client
) -> None:
    await admin.get(call(extension))
    async with watching(stack, extension, token) as stream:
        await stream.until(lambda stream: stream.ids)
    ((first, _),) = await client.xrevrange(key(extension), count=1)
    last_id, seen, ended = first.decode(), [], 0
    calling = asyncio.create_task(_call_many(admin, extension, 60))
    while ended < 60:
        async with watching(stack, extension, token, last_id=last_id) as stream:
            await stream.until(lambda stream, ended=ended: len(stream.ids) > 20 or ended + ends(stream) >= 60)
            seen += stream.ids
            ended += ends(stream)
            last_id = seen[-1]
            assert stream.of("gap") == []
    assert await calling == {200}
    kept = [entry for entry, fields in await client.xrange(key(extension), f"({first.decode()}") if b"event" in fields]
    assert seen == [entry.decode() for entry in kept]


def ends(stream: Stream) -> int:
    """How many of the calls that this test makes have ended."""
    named = [data for data in stream.logs if data["requestId"].startswith("req-come")]
    return sum((data.get("data") or {}).get("kind") == "execution.end" for data in named)


async def _call_many(admin: Visitor, extension: Extension, count: int) -> set[int]:
    names = [{"x-request-id": f"req-come-{number}"} for number in range(count)]
    return {(await admin.get(call(extension), headers=headers)).status for headers in names}


async def test_a_gateway_that_restarts_ends_its_streams_at_once_and_the_next_one_goes_on(
    stack: Stack, admin: Visitor, extension: Extension, token: str
) -> None:
    port = random_free()
    async with another_gateway(stack, port) as first:
        async with watching(stack, extension, token, base=first.url) as stream:
            await admin.get(call(extension), headers={"x-request-id": "req-before"})
            await stream.until(lambda stream: is_whole_request(stream, "req-before"))
            took_s = await first.stop()
            await stream.ended.wait()
        assert stream.of("status")[-1] == {"state": "restarting"}
        assert took_s < 5
    await admin.get(call(extension), headers={"x-request-id": "req-between"})
    async with (
        another_gateway(stack, port) as second,
        watching(stack, extension, token, base=second.url, last_id=stream.last_id) as again,
    ):
        await again.until(lambda stream: is_whole_request(stream, "req-between"))
        await admin.get(call(extension), headers={"x-request-id": "req-after"})
        await again.until(lambda stream: is_whole_request(stream, "req-after"))
    assert of(again, "req-before") == []
    assert again.of("gap") == []
    assert set(stream.ids).isdisjoint(again.ids)


async def test_a_gateway_that_is_killed_loses_nothing_either(
    stack: Stack, admin: Visitor, extension: Extension, token: str
) -> None:
    async with another_gateway(stack) as first, watching(stack, extension, token, base=first.url) as stream:
        await admin.get(call(extension), headers={"x-request-id": "req-first"})
        await stream.until(lambda stream: is_whole_request(stream, "req-first"))
        await first.kill()
        await stream.ended.wait()
    await admin.get(call(extension), headers={"x-request-id": "req-meanwhile"})
    async with watching(stack, extension, token, last_id=stream.last_id) as again:
        await again.until(lambda stream: is_whole_request(stream, "req-meanwhile"))
        assert of(again, "req-first") == []
        assert again.of("gap") == []


async def test_a_runner_that_is_asked_to_end_loses_no_event(
    stack: Stack, nobody: Visitor, extension: Extension, token: str, tmp_path: Path, client: Client
) -> None:
    own = msgspec.structs.replace(extension, tenant_id="sigterm-test")
    answered = 0

    async def work(base: str) -> None:
        nonlocal answered
        while True:
            answer = await execute(nobody, base, own, "/log", debug=True, tenant="sigterm-test")
            assert answer.status == 200
            answered += 1

    async with another_runner(stack, tmp_path) as runner:
        await execute(nobody, runner.url, own, "/log", debug=True, tenant="sigterm-test")
        answered += 1
        tasks = [asyncio.create_task(work(runner.url)) for _ in range(4)]
        async with asyncio.timeout(30):
            while answered < 60:  # noqa: ASYNC110 - the calls go on beside
                await asyncio.sleep(0.01)
        os.kill(runner.pid, signal.SIGTERM)
        await asyncio.wait(tasks)  # each ends with a connection that is refused or closed between two calls
    entries = [fields for _, fields in await client.xrange(key(own))]
    assert len(entries) < DEBUG_STREAM_MAX_COUNT
    assert not any(b"gap" in fields for fields in entries)
    events = [msgspec.json.decode(fields[b"event"]) for fields in entries if b"event" in fields]
    found = executions([{**data, "executionId": data["execution_id"]} for data in events])
    assert all(is_whole(one) for one in found.values())
    assert len(found) >= answered
    writers = {fields[b"writer"] for fields in entries}
    assert {fields[b"writer"] for fields in entries if b"end" in fields} == writers


async def test_a_runner_that_is_killed_in_a_call_leaves_a_gap(
    stack: Stack, nobody: Visitor, extension: Extension, token: str, tmp_path: Path
) -> None:
    async with another_runner(stack, tmp_path) as runner:
        await execute(nobody, runner.url, extension, debug=True)
        async with watching(stack, extension, token) as stream:
            doomed = asyncio.create_task(execute(nobody, runner.url, extension, "/loop", debug=True))
            await stream.until(lambda stream: "GET /loop" in stream.messages)
            for pid in [runner.pid, *workers_of(runner.pid)]:
                os.kill(pid, signal.SIGKILL)
            await asyncio.gather(doomed, return_exceptions=True)
            await stream.until(lambda stream: stream.gaps)
        (gap,) = stream.gaps
        started = next(data for data in stream.logs if data["message"] == "GET /loop")
        assert gap["reason"] == "unfinished"
        assert gap["executionId"] == started["executionId"]
        assert gap["requestId"] == "test"


async def test_a_worker_that_is_killed_between_calls_leaves_a_gap_when_it_is_back(
    stack: Stack, nobody: Visitor, extension: Extension, token: str, tmp_path: Path
) -> None:
    async with another_runner(stack, tmp_path, RUNNER_WORKERS="1") as runner:
        async with watching(stack, extension, token) as stream:
            await execute(nobody, runner.url, extension, debug=True)
            await stream.until(lambda stream: stream.logs and is_whole(list(executions(stream.logs).values())[-1]))
            seen = len(stream.logs)
            (worker,) = workers_of(runner.pid)
            os.kill(worker, signal.SIGKILL)
            async with asyncio.timeout(30):
                while worker in (found := workers_of(runner.pid)) or not found:  # noqa: ASYNC110 - /proc sends no event
                    await asyncio.sleep(0.05)
                while (answer := await _try(nobody, runner.url, extension)) != 200:
                    assert answer in (0, 503)
                    await asyncio.sleep(0.05)
            await stream.until(lambda stream: len(stream.logs) > seen)
        assert stream.gaps == [{"reason": "runner_restarted"}]


async def _try(nobody: Visitor, base: str, extension: Extension) -> int:
    try:
        return (await execute(nobody, base, extension, debug=True)).status
    except OSError:
        return 0


# ---- Redis away ---------------------------------------------------------------------------------------------------------


async def test_a_hanging_redis_costs_no_call_anything_and_its_viewers_are_told(
    stack: Stack, admin: Visitor, extension: Extension, token: str
) -> None:
    await admin.get(call(extension))
    async with watching(stack, extension, token) as stream:
        os.kill(stack.pids["Redis"], signal.SIGSTOP)
        try:
            began = time.monotonic()
            statuses = {
                (await admin.get(call(extension), headers={"x-request-id": f"req-hang-{n}"})).status for n in range(20)
            }
            took_s = time.monotonic() - began
            assert statuses == {200}
            assert took_s < 10
            await stream.until(lambda stream: {"state": "degraded"} in stream.of("status"))
        finally:
            os.kill(stack.pids["Redis"], signal.SIGCONT)
        await stream.until(lambda stream: is_whole_request(stream, "req-hang-19"))
        assert all(is_whole_request(stream, f"req-hang-{number}") for number in range(20))
        await stream.until(lambda stream: stream.of("status")[-1] == {"state": "live"})  # said after what was missed
        assert stream.gaps == []
    dropped = await metric(admin, stack.runner_url, "ext_debug_events_dropped_total")
    assert sum(dropped.values()) == 0
