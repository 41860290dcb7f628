"""The operator's proxy: a tunnel to an address that was checked, for http and https, with the proxy's own credential."""

from __future__ import annotations

import asyncio
from typing import Self

import pytest

from runner.egress.http1 import Answer
from runner.egress.policy import Proxy
from tests.runner.egress.certificates import Authority
from tests.runner.egress.names import Names
from tests.runner.egress.outside import outside, private
from tests.runner.egress.upstream import Upstream

API = "api.example.com"


class Tunnels:
    """A proxy that connects where it is asked to, or gives one answer to everybody."""

    def __init__(self, answer: bytes | None = None) -> None:
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.asked: list[str] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.asked.append(head)
        if self._answer is not None:
            writer.write(self._answer)
            writer.close()
            return
        host, _, port = head.split()[1].rpartition(":")
        there, back = await asyncio.open_connection(host.strip("[]"), int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._pass_on(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                sink.write(data)
        except OSError:
            return
        finally:
            sink.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_the_proxy_is_told_the_checked_address_and_the_upstream_the_name(authority: Authority, scheme) -> None:
    tls = authority.serving(API) if scheme == "https" else None
    async with (
        Names({API: "127.0.0.1"}) as names,
        Tunnels() as proxy,
        Upstream(tls=tls) as up,
        outside(
            private=private(f"{API}:{up.port}"),
            name_servers=(names.server,),
            ca=authority.pem,
            proxy=Proxy("127.0.0.1", proxy.port, "Basic dTpw"),
        ) as out,
    ):
        assert isinstance(await out.get(f"{scheme}://{API}:{up.port}/x"), Answer)
    (asked,) = proxy.asked
    assert asked == (
        f"CONNECT 127.0.0.1:{up.port} HTTP/1.1\r\nhost: 127.0.0.1:{up.port}\r\nproxy-authorization: Basic dTpw\r\n\r\n"
    )
    (request,) = up.requests
    assert (request.line, request.header("host")) == ("GET /x HTTP/1.1", f"{API}:{up.port}")
    assert request.header("proxy-authorization") is None


async def test_an_address_that_may_not_be_reached_may_not_be_reached_through_the_proxy() -> None:
    async with (
        Names({API: "10.0.0.5"}) as names,
        Tunnels() as proxy,
        outside(name_servers=(names.server,), proxy=Proxy("127.0.0.1", proxy.port, None)) as out,
    ):
        assert await out.get(f"http://{API}/") == "not-allowed"
    assert proxy.asked == []


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
        b"HTTP/1.1 403 Forbidden\r\ncontent-length: 4\r\n\r\nbody",
        b"HTTP/1.1 200 OK\r\n\r\nsomething nobody asked for",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 20_000,
        b"",
    ],
)
async def test_a_proxy_that_does_not_open_the_tunnel_is_transport(answer: bytes) -> None:
    async with (
        Names({API: "93.184.216.34 93.184.216.35"}) as names,
        Tunnels(answer) as proxy,
        outside(name_servers=(names.server,), proxy=Proxy("127.0.0.1", proxy.port, None)) as out,
    ):
        assert await out.get(f"http://{API}/") == "transport"
    assert len(proxy.asked) == 2  # each address of the name was tried
    assert out.metrics.seen["failed", "proxy"] == 1


async def test_a_proxy_that_is_away_is_transport() -> None:
    async with (
        Names({API: "93.184.216.34"}) as names,
        outside(name_servers=(names.server,), proxy=Proxy("127.0.0.1", 1, None)) as out,
    ):
        assert await out.get(f"http://{API}/") == "transport"
    assert "the operator's proxy" in out.told.messages[0]
