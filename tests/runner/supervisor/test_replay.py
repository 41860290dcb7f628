"""Used tokens: good once for the whole runner, remembered exactly as long as they could be replayed."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from runner.supervisor.replay import ReplayClient, ReplayServer, ReplayTable
from shared.errors import Overloaded
from shared.limits import CLOCK_SKEW_S


class Clock:
    """Time that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_key_is_new_once() -> None:
    table = ReplayTable(Clock())
    assert table.first_use(b"a", 1030)
    assert not table.first_use(b"a", 1030)
    assert table.first_use(b"b", 1030)


def test_a_key_is_remembered_while_its_token_could_still_be_accepted() -> None:
    clock = Clock()
    table = ReplayTable(clock)
    table.first_use(b"a", 1030)
    clock.now = 1030 + CLOCK_SKEW_S
    assert not table.first_use(b"a", 1030)
    clock.now += 2
    assert table.first_use(b"b", 1200)
    assert len(table) == 1


@pytest.fixture
async def clients() -> AsyncIterator[list[ReplayClient]]:
    """Two workers of one supervisor."""
    table = ReplayTable()
    loop = asyncio.get_running_loop()
    made, servers = [], []
    for _ in range(2):
        ours, theirs = socket.socketpair()
        transport, _ = await loop.create_unix_connection(lambda: ReplayServer(table), sock=ours)
        servers.append(transport)
        made.append(await ReplayClient.connect(theirs))
    yield made
    for client in made:
        client.close()
    for transport in servers:
        transport.close()
    await asyncio.sleep(0)


async def test_a_token_used_at_one_worker_is_used_at_all(clients: list[ReplayClient]) -> None:
    first, second = clients
    assert await first.first_use("jti", 2_000_000_000)
    assert not await second.first_use("jti", 2_000_000_000)


async def test_many_questions_at_once_each_get_their_own_answer(clients: list[ReplayClient]) -> None:
    first, second = clients
    asked = [client.first_use(f"jti-{number}", 2_000_000_000) for number in range(200) for client in (first, second)]
    answers = await asyncio.gather(*asked)
    assert sum(answers) == 200
    assert all(answers[at] != answers[at + 1] for at in range(0, 400, 2))


async def test_without_a_supervisor_nothing_is_let_through(clients: list[ReplayClient]) -> None:
    clients[0].close()
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await clients[0].first_use("jti", 2_000_000_000)
