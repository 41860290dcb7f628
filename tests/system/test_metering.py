"""What a call used is one set of numbers: in the runner's answer, its metrics, the debug stream and the record."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from deploy.local.record import Stack
from shared import wire
from tests.system.acting import Visitor
from tests.system.recorded import METERED, counted, end_of, row_of
from tests.system.runners import another_runner, execute

GUESTS = ("hello-python", "hello-quickjs", "hello-starling")
ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5000\r\nconnection: close\r\n\r\n" + b"x" * 5000
)


def added(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    return {name: after[name] - before[name] for name in METERED}


@pytest.mark.parametrize("name", GUESTS)
@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/hello", None),
        ("/context", None),
        ("/denied", None),
        ("/trap", "guest_trapped"),
        ("/bomb", "guest_memory_exceeded"),
        ("/loop", "guest_timeout"),
    ],
)
async def test_record_metrics_and_debug_stream_agree_on_what_a_call_used(
    admin: Visitor, stack: Stack, name: str, path: str, code: str | None
) -> None:
    extension = stack.extension(name, "acme")
    request_id = f"metering-{name}-{path.strip('/')}"
    before = await counted(admin, stack.runner_url)
    answer = await admin.get(f"/api/ext/{extension.install_id}{path}", headers={"x-request-id": request_id})
    row = await row_of(stack, answer)
    metrics = added(before, await counted(admin, stack.runner_url))
    told = await end_of(stack, extension, request_id)
    assert row["code"] == code
    assert row["cpu_ms"] > 0
    assert row["memory_peak_bytes"] > 0
    for used in METERED:
        assert metrics[used] == pytest.approx(row[used], abs=0.002), used
    for used in ("cpu_ms", "memory_peak_bytes", "egress_bytes", "host_calls"):
        assert float(told[used]) == pytest.approx(row[used], rel=1e-5), used
    if path == "/context":
        assert row["host_calls"] >= 5


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[tuple[int, list[int]]]:
    """A host outside that answers one request for each connection: its port, and the bytes that crossed."""
    crossed: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        body = await reader.readexactly(length)
        writer.write(ANSWER)
        await writer.drain()
        crossed.append(len(head) + len(body) + len(ANSWER))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], crossed


@pytest.mark.parametrize("name", GUESTS)
async def test_every_byte_to_and_from_a_granted_host_is_counted(
    admin: Visitor, stack: Stack, tmp_path: Path, name: str
) -> None:
    extension = stack.extension(name, "acme")
    async with listening() as (port, crossed):
        host = f"127.0.0.1:{port}"
        async with another_runner(stack, tmp_path, EXT_EGRESS_ALLOW_PRIVATE=host) as runner:
            before = await counted(admin, runner.url)
            answer = await execute(
                admin,
                runner.url,
                extension,
                "/fetch",
                method="POST",
                body=msgspec.json.encode({"url": f"http://{host}/", "method": "POST", "body": "y" * 777}),
                providers=("cap:http.fetch",),
                egress=(f"http://{host}",),
            )
            metrics = added(before, await counted(admin, runner.url))
    told = wire.decode_answer(answer.body, wire.JSON)
    assert told.error is None
    assert msgspec.json.decode(told.body or b"")["status"] == 200
    assert told.usage.egress_bytes == sum(crossed)
    assert metrics["egress_bytes"] == told.usage.egress_bytes
    assert metrics["host_calls"] == told.usage.host_calls == 1
    assert metrics["cpu_ms"] == pytest.approx(told.usage.cpu_ms, abs=0.002)


async def test_a_host_that_was_not_granted_costs_no_byte(admin: Visitor, stack: Stack, tmp_path: Path) -> None:
    extension = stack.extension("hello-quickjs", "acme")
    async with listening() as (port, crossed), another_runner(stack, tmp_path) as runner:
        body = msgspec.json.encode({"url": f"http://127.0.0.1:{port}/"})
        answer = await execute(
            admin, runner.url, extension, "/fetch", method="POST", body=body, providers=("cap:http.fetch",)
        )
    told = wire.decode_answer(answer.body, wire.JSON)
    assert msgspec.json.decode(told.body or b"") == {"error": "not-allowed"}
    assert (told.usage.egress_bytes, crossed) == (0, [])
