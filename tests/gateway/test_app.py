"""The whole gateway as one process would run it: opened, served over real sockets, asked to end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

import msgspec
import pytest

from gateway.app import open_gateway
from gateway.settings import GatewaySettings
from shared.errors import AccessPolicyUnavailable
from shared.keys import PrivateKey
from shared.trust import TrustFormatError
from tests.gateway.bundles import bundle
from tests.gateway.people import Host
from tests.gateway.stub_compiler import StubCompiler

ROOT: Final = Path(__file__).parent.parent.parent
START_MAX_S: Final = 30


class Process:
    """`python -m gateway`, its two ports and what it wrote."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self.child = child
        self.port = self.internal_port = 0
        self.lines: list[str] = []

    async def serving(self) -> None:
        assert self.child.stderr is not None
        async with asyncio.timeout(START_MAX_S):
            while line := (await self.child.stderr.readline()).decode():
                self.lines.append(line)
                if '"event": "gateway_started"' in line:
                    said = msgspec.json.decode(line)
                    self.port, self.internal_port = said["port"], said["internal_port"]
                    return
        raise AssertionError("".join(self.lines))

    async def end(self) -> tuple[int, str]:
        assert self.child.stderr is not None
        async with asyncio.timeout(START_MAX_S):
            rest = (await self.child.stderr.read()).decode()
            return await self.child.wait(), "".join(self.lines) + rest


@contextlib.asynccontextmanager
async def started(environment: Mapping[str, str]) -> AsyncIterator[Process]:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway",
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "GATEWAY_BIND": "127.0.0.1:0",
            "GATEWAY_INTERNAL_BIND": "127.0.0.1:0",
            **environment,
        },
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Process(child)
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


async def exchange(port: int, data: bytes, *, half_close: bool = False) -> bytes:
    """Send bytes to the server and read until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    await writer.drain()
    if half_close:
        writer.write_eof()
    async with asyncio.timeout(START_MAX_S):
        answer = await reader.read()
    writer.close()
    return answer


def get(path: str, *headers: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: gateway", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode()


@pytest.mark.slow
async def test_a_gateway_serves_two_listeners_and_ends_when_asked(environment: dict[str, str]) -> None:
    async with started(environment) as process:
        await process.serving()
        ready = await exchange(process.port, get("/readyz"))
        assert ready.startswith(b"HTTP/1.1 200")
        assert b'"ready":true' in ready
        assert b"x-request-id: " in ready
        assert b"server:" not in ready.lower()
        assert (await exchange(process.internal_port, get("/metrics"))).startswith(b"HTTP/1.1 200")
        assert (await exchange(process.port, get("/metrics"))).startswith(b"HTTP/1.1 404")
        assert (await exchange(process.internal_port, get("/api/installs"))).startswith(b"HTTP/1.1 404")
        process.child.send_signal(signal.SIGTERM)
        code, said = await process.end()
    assert code == 0, said
    events = [msgspec.json.decode(line)["event"] for line in said.splitlines()]
    assert events[-2:] == ["gateway_draining", "gateway_stopped"]


def post(path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    more = [f"{name}: {value}" for name, value in headers.items()]
    lines = [f"POST {path} HTTP/1.1", "Host: gateway", "Connection: close", f"Content-Length: {len(body)}", *more]
    return "\r\n".join([*lines, "", ""]).encode() + body


@pytest.mark.slow
async def test_what_is_under_way_when_asked_to_end_is_answered(
    environment: dict[str, str], compiler: StubCompiler, host: Host, publisher_key: PrivateKey
) -> None:
    one = bundle(salt="drained")
    compiler.bundles[one.digest] = one.found()
    compiler.gate.clear()
    async with started(environment) as process:
        await process.serving()
        staged = await exchange(process.port, post("/api/registry/bundles", host.headers(), one.data))
        upload_id = msgspec.json.decode(staged.partition(b"\r\n\r\n")[2])["upload_id"]
        wanted = msgspec.json.encode({"signature": one.signature(publisher_key)})
        headers = host.headers() | {"content-type": "application/json"}
        path = f"/api/registry/bundles/{upload_id}/finalize"
        under_way = asyncio.create_task(exchange(process.port, post(path, headers, wanted)))
        async with asyncio.timeout(START_MAX_S):
            await compiler.asked.wait()
        process.child.send_signal(signal.SIGTERM)
        async with asyncio.timeout(START_MAX_S):
            while await accepts(process.port):  # noqa: ASYNC110  # a foreign process sends no event
                await asyncio.sleep(0.02)
        assert not under_way.done()
        compiler.gate.set()
        answer = await under_way
        code, said = await process.end()
    assert answer.startswith(b"HTTP/1.1 200"), answer
    assert b'"state":"ready"' in answer
    assert code == 0, said


async def accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionError:
        return False
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return True


@pytest.mark.slow
@pytest.mark.security
async def test_what_is_no_request_is_closed(environment: dict[str, str]) -> None:
    async with started(environment) as process:
        await process.serving()
        upgrade = get("/healthz", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
        smuggled = (
            b"POST /readyz HTTP/1.1\r\nHost: g\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        )
        for data in (
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
            upgrade.replace(b"Connection: close", b"Connection: Upgrade, HTTP2-Settings"),
            b"GET / HTTP/1.1\r\nContent-Length: +5\r\nHost: g\r\n\r\n",
            b"nonsense\r\n\r\n",
        ):
            answer = await exchange(process.port, data)
            assert b" 200 " not in answer, data[:40]
            assert b"\x00\x00" not in answer, data[:40]  # no HTTP/2 frame came back
        assert b" 431 " in await exchange(process.port, get("/healthz", f"X-Long: {'x' * 33_000}"))
        assert (await exchange(process.port, smuggled, half_close=True)).count(b"HTTP/1.1") <= 1
        assert (await exchange(process.port, get("/healthz"))).startswith(b"HTTP/1.1 200")


@pytest.mark.slow
@pytest.mark.security
async def test_a_request_head_that_never_ends_is_closed(environment: dict[str, str]) -> None:
    async with started(environment) as process:
        await process.serving()
        began = asyncio.get_running_loop().time()
        assert await exchange(process.port, b"GET / HTTP/1.1\r\nHost: g\r\nX-A: ") == b""
        assert asyncio.get_running_loop().time() - began < 12


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"GATEWAY_JWT_AUDIENCE": ""}, "GATEWAY_JWT_AUDIENCE"),
        ({"EXT_GATEWAY_TIMEOUT_MS": "never"}, "EXT_GATEWAY_TIMEOUT_MS"),
        ({"SIGNING_TRUST_BUNDLE": "/nowhere/trust.json"}, "trust bundle"),
    ],
)
async def test_what_is_set_wrong_ends_the_start_with_a_reason(
    environment: dict[str, str], change: dict[str, str], says: str
) -> None:
    async with started(environment | change) as process:
        code, said = await process.end()
    assert code == 1
    assert says in said
    assert "Traceback" not in said


async def test_a_listener_that_is_taken_ends_the_start_with_a_reason(environment: dict[str, str]) -> None:
    async with started(environment) as first:
        await first.serving()
        async with started(environment | {"GATEWAY_BIND": f"127.0.0.1:{first.port}"}) as second:
            code, said = await second.end()
    assert code == 1
    assert f"cannot listen on 127.0.0.1:{first.port}" in said
    assert "Traceback" not in said


# ---- opening and closing ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("delay_s", [0, 0.001, 0.003, 0.006, 0.012, 0.025])
async def test_a_gateway_that_is_closed_at_once_ends(settings: GatewaySettings, delay_s: float) -> None:
    async with asyncio.timeout(10):
        for _ in range(3):
            async with open_gateway(settings):
                await asyncio.sleep(delay_s)


async def test_a_trust_bundle_that_is_missing_stops_the_start(settings: GatewaySettings) -> None:
    with pytest.raises(TrustFormatError):
        async with open_gateway(msgspec.structs.replace(settings, trust_bundle="/nowhere/trust.json")):
            raise AssertionError("not reached")


@pytest.mark.slow
async def test_a_database_that_is_away_stops_the_start(settings: GatewaySettings) -> None:
    away = "postgresql://gateway_app:x@127.0.0.1:9/none"
    with pytest.raises(AccessPolicyUnavailable):
        async with open_gateway(msgspec.structs.replace(settings, database_url=away)):
            raise AssertionError("not reached")
