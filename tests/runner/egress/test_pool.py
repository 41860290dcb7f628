"""Kept connections: used again by the same install for the same origin, and by nobody else."""

from __future__ import annotations

import asyncio

import pytest

from runner.egress.http1 import Answer
from runner.egress.report import Caller
from shared.limits import EGRESS_KEPT_MAX_COUNT
from tests.runner.egress.certificates import Authority
from tests.runner.egress.names import Names
from tests.runner.egress.outside import CALLER, Outside, outside, private
from tests.runner.egress.upstream import Received, Upstream, always, answer
from tests.runner.waiting import until

ANOTHER_INSTALL = Caller("acme", "extension", "another", "r-2")
ANOTHER_TENANT = Caller("globex", "extension", "install", "r-3")


def at(upstream: Upstream, name: str = "up.localhost") -> str:
    return f"http://{name}:{upstream.port}"


def kept(out: Outside) -> int:
    return len(out.egress._pool)


async def test_the_next_fetch_of_an_install_uses_its_connection_also_in_another_execution() -> None:
    async with Upstream() as up, outside(private=private(f"up.localhost:{up.port}")) as out:
        for _ in range(5):
            assert isinstance(await out.get(at(up)), Answer)
    assert [request.connection for request in up.requests] == [1] * 5


async def test_a_kept_connection_needs_neither_dns_nor_a_handshake(authority: Authority) -> None:
    async with (
        Names({"api.example.com": "127.0.0.1"}) as names,
        Upstream(tls=authority.serving("api.example.com")) as up,
        outside(private=private(f"api.example.com:{up.port}"), name_servers=(names.server,), ca=authority.pem) as out,
    ):
        for _ in range(3):
            assert isinstance(await out.get(f"https://api.example.com:{up.port}/"), Answer)
    assert (up.connections, names.asked["api.example.com"]) == (1, {"A": 1, "AAAA": 1})


@pytest.mark.parametrize("other", [ANOTHER_INSTALL, ANOTHER_TENANT])
async def test_a_connection_never_passes_to_another_install_or_tenant(other: Caller) -> None:
    async with Upstream() as up, outside(private=private(f"up.localhost:{up.port}")) as out:
        for caller in (CALLER, other, CALLER, other):
            assert isinstance(await out.get(at(up), caller=caller), Answer)
    assert [request.connection for request in up.requests] == [1, 2, 1, 2]


async def test_a_connection_never_serves_another_host_of_the_same_address() -> None:
    async with Upstream() as up:
        names = ("a.localhost", "b.localhost")
        async with outside(private=private(*(f"{name}:{up.port}" for name in names))) as out:
            for name in (*names, *names):
                assert isinstance(await out.get(at(up, name)), Answer)
    assert [request.connection for request in up.requests] == [1, 2, 1, 2]


@pytest.mark.parametrize(
    "reply",
    [
        answer(b"x", 200, (("connection", "close"),)),
        b"HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nx",
        answer(b"x") + answer(b"what nobody asked for"),
    ],
)
async def test_a_connection_that_did_not_end_in_order_is_not_kept(reply: bytes) -> None:
    async with Upstream(always(reply)) as up, outside(private=private(f"up.localhost:{up.port}")) as out:
        for _ in range(2):
            got = await out.get(at(up))
            assert isinstance(got, Answer)
            assert got.body == b"x"
    assert up.connections == 2


async def test_what_arrives_while_nobody_asks_is_never_taken_for_an_answer() -> None:
    later: list[asyncio.StreamWriter] = []

    async def send(_received: Received, writer: asyncio.StreamWriter) -> bool:
        later.append(writer)
        writer.write(answer(b"asked for"))
        return True

    async with Upstream(send) as up, outside(private=private(f"up.localhost:{up.port}")) as out:
        assert isinstance(await out.get(at(up)), Answer)
        (held,) = out.egress._pool._idle.values()
        later[0].write(answer(b"not asked for"))
        await until(lambda: not held[0].connection.reusable)
        got = await out.get(at(up))
    assert isinstance(got, Answer)
    assert got.body == b"asked for"
    assert up.connections == 2


async def test_an_answer_that_was_cut_short_leaves_no_connection() -> None:
    async with (
        Upstream(always(b"HTTP/1.1 200 X\r\ncontent-length: 99999999\r\n\r\n")) as up,
        outside(private=private(f"up.localhost:{up.port}")) as out,
    ):
        assert await out.get(at(up)) == "transport"
        assert kept(out) == 0
        await until(lambda: up.open == 0)


@pytest.mark.parametrize(("method", "word"), [("GET", 200), ("PUT", 200), ("DELETE", 200), ("POST", "transport")])
async def test_a_kept_connection_that_just_ended_is_replaced_when_asking_twice_does_no_harm(method: str, word) -> None:
    async def once(received: Received, writer: asyncio.StreamWriter) -> bool:
        if len(up.requests) == 2:
            return False  # the second request is read and never answered
        writer.write(answer())
        return True

    async with Upstream(once) as up, outside(private=private(f"up.localhost:{up.port}")) as out:
        assert isinstance(await out.get(at(up)), Answer)
        got = await out.fetches(at(up)).fetch(method, at(up), [], b"")
    assert (got.status if isinstance(got, Answer) else got) == word
    assert up.connections == (2 if word == 200 else 1)


async def test_an_idle_connection_is_closed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.egress.pool.EGRESS_KEEPALIVE_S", 0.05)
    async with Upstream() as up, outside(private=private(f"up.localhost:{up.port}")) as out:
        assert isinstance(await out.get(at(up)), Answer)
        assert kept(out) == 1
        await until(lambda: up.open == 0)
        assert kept(out) == 0


async def test_an_old_connection_is_not_kept_so_that_its_name_is_looked_up_again(monkeypatch) -> None:
    monkeypatch.setattr("runner.egress.pool.EGRESS_CONNECTION_MAX_S", 0)
    async with Upstream() as up, outside(private=private(f"up.localhost:{up.port}")) as out:
        assert isinstance(await out.get(at(up)), Answer)
        assert kept(out) == 0


@pytest.mark.parametrize("extra", [-1, 0, 1])
async def test_idle_connections_are_few(extra: int, monkeypatch: pytest.MonkeyPatch) -> None:
    most = 5
    assert most < EGRESS_KEPT_MAX_COUNT
    monkeypatch.setattr("runner.egress.pool.EGRESS_KEPT_MAX_COUNT", most)
    async with Upstream() as up, outside(private=private(f"up.localhost:{up.port}")) as out:
        for number in range(most + extra):
            caller = Caller("acme", "extension", f"install-{number}", "r")
            assert isinstance(await out.get(at(up), caller=caller), Answer)
        assert kept(out) == min(most, most + extra)
        await out.get(at(up), caller=Caller("acme", "extension", "install-0", "r"))
    assert up.connections == most + extra + (extra > 0)  # the one that was idle for longest had to go


async def test_the_end_of_the_worker_closes_them_all() -> None:
    async with Upstream() as up:
        async with outside(private=private(f"up.localhost:{up.port}")) as out:
            assert isinstance(await out.get(at(up)), Answer)
        await until(lambda: up.open == 0)


async def test_a_cancelled_fetch_closes_its_connection_and_gives_its_place_back() -> None:
    async def never(_received: Received, _writer: asyncio.StreamWriter) -> bool:
        await asyncio.Event().wait()
        return False

    async with Upstream(never) as up, outside(private=private(f"up.localhost:{up.port}")) as out:
        for number in range(1, 10):  # more than there are places
            fetching = asyncio.create_task(out.get(at(up)))
            await until(lambda number=number: len(up.requests) == number)
            fetching.cancel()
            await asyncio.wait({fetching})
            assert fetching.cancelled()
        assert kept(out) == 0
