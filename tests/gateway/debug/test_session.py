"""An answer of the debug stream ends for a reason, at once, and says which one to whoever still listens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from gateway.cli.sse import EventParser
from gateway.debug.session import FAREWELL_MAX_S, Lengths, Session
from shared.errors import AccessPolicyUnavailable, Forbidden, InvalidSession, PlatformError

WAIT_MAX_S = 10.0


class Connection:
    """One request's connection, without a server."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.left = asyncio.Event()
        self.taking = asyncio.Event()
        self.taking.set()

    async def receive(self) -> Any:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        await self.taking.wait()
        self.sent.append(message)

    @property
    def states(self) -> list[str]:
        body = b"".join(message.get("body", b"") for message in self.sent)
        return [msgspec.json.decode(event.data)["state"] for event in EventParser().feed(body)]

    @property
    def complete(self) -> bool:
        return self.sent[-1].get("more_body") is False


class Credential:
    """Answers re-checks in turn; the last answer holds."""

    def __init__(self, *answers: float | PlatformError | None) -> None:
        self.answers = list(answers or [None])
        self.asked = 0

    async def __call__(self) -> float | None:
        self.asked += 1
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(found, PlatformError):
            raise found
        return found


@pytest.fixture
def connection() -> Connection:
    return Connection()


@pytest.fixture
def drain() -> asyncio.Event:
    return asyncio.Event()


def session(
    connection: Connection, drain: asyncio.Event, credential: Credential | None = None, **changes: Any
) -> Session:
    expires_at_s = changes.pop("expires_at_s", None)
    return Session(
        connection.send,
        connection.receive,
        drain=drain,
        recheck=credential or Credential(),
        expires_at_s=expires_at_s,
        lengths=Lengths(**changes),
    )


async def quiet(_write: Callable[[bytes], Awaitable[None]]) -> None:
    await asyncio.Event().wait()


async def served(one: Session, show: Any = quiet) -> float:
    """Serve it to its end; how long that took."""
    began = time.monotonic()
    async with asyncio.timeout(WAIT_MAX_S):
        await one.serve(show)
    return time.monotonic() - began


async def test_the_answer_is_an_event_stream_that_nobody_keeps_or_delays(
    connection: Connection, drain: asyncio.Event
) -> None:
    drain.set()
    await served(session(connection, drain))
    start = connection.sent[0]
    assert start["status"] == 200
    headers = dict(start["headers"])
    assert headers[b"content-type"] == b"text/event-stream; charset=utf-8"
    assert headers[b"cache-control"] == b"no-store"
    assert headers[b"x-accel-buffering"] == b"no"
    assert headers[b"x-content-type-options"] == b"nosniff"


async def test_what_is_shown_is_sent(connection: Connection, drain: asyncio.Event) -> None:
    async def show(write: Callable[[bytes], Awaitable[None]]) -> None:
        await write(b":\n\n")
        drain.set()
        await asyncio.Event().wait()

    await served(session(connection, drain), show)
    assert connection.sent[1] == {"type": "http.response.body", "body": b":\n\n", "more_body": True}
    assert connection.states == ["restarting"]


async def test_a_gateway_that_stops_says_so_at_once(connection: Connection, drain: asyncio.Event) -> None:
    asyncio.get_running_loop().call_later(0.05, drain.set)
    assert await served(session(connection, drain)) < 1
    assert connection.states == ["restarting"]
    assert connection.complete


async def test_a_gateway_that_is_stopping_already_shows_nothing(connection: Connection, drain: asyncio.Event) -> None:
    drain.set()
    await served(session(connection, drain))
    assert connection.states == ["restarting"]
    assert connection.complete


async def test_a_session_has_an_end_and_asks_to_come_again(connection: Connection, drain: asyncio.Event) -> None:
    await served(session(connection, drain, session_s=0.05))
    assert connection.states == ["reconnect"]
    assert connection.complete


async def test_a_credential_that_ends_ends_the_answer(connection: Connection, drain: asyncio.Event) -> None:
    credential = Credential()
    took_s = await served(session(connection, drain, credential, expires_at_s=time.time() + 0.2))
    assert 0.15 < took_s < 1
    assert connection.states == ["expired"]
    assert credential.asked == 0


async def test_a_credential_is_looked_at_again_and_again(connection: Connection, drain: asyncio.Event) -> None:
    credential = Credential(None, None, InvalidSession())
    await served(session(connection, drain, credential, recheck_s=0.02))
    assert credential.asked == 3
    assert connection.states == ["closed"]


@pytest.mark.parametrize("refusal", [InvalidSession(), Forbidden("no longer")])
async def test_a_credential_that_was_withdrawn_ends_the_answer(
    connection: Connection, drain: asyncio.Event, refusal: PlatformError
) -> None:
    await served(session(connection, drain, Credential(refusal), recheck_s=0.02))
    assert connection.states == ["closed"]
    assert connection.complete


async def test_a_check_may_go_unanswered_once_and_not_twice(connection: Connection, drain: asyncio.Event) -> None:
    once = Credential(AccessPolicyUnavailable(), None, AccessPolicyUnavailable(), None, InvalidSession())
    await served(session(connection, drain, once, recheck_s=0.02))
    assert once.asked == 5
    other = Connection()
    twice = Credential(AccessPolicyUnavailable())
    await served(session(other, drain, twice, recheck_s=0.02))
    assert twice.asked == 2
    assert other.states == ["closed"]


async def test_a_renewed_credential_moves_the_end(connection: Connection, drain: asyncio.Event) -> None:
    now = time.time()
    credential = Credential(now + 0.3)
    took_s = await served(session(connection, drain, credential, expires_at_s=now + 9, recheck_s=0.05))
    assert 0.25 < took_s < 1
    assert connection.states == ["expired"]


async def test_a_viewer_that_left_is_told_nothing(connection: Connection, drain: asyncio.Event) -> None:
    asyncio.get_running_loop().call_later(0.05, connection.left.set)
    await served(session(connection, drain))
    assert connection.states == []
    assert len(connection.sent) == 1


async def test_a_viewer_that_takes_nothing_is_gone(connection: Connection, drain: asyncio.Event) -> None:
    async def show(write: Callable[[bytes], Awaitable[None]]) -> None:
        connection.taking.clear()
        while True:
            await write(b"x")

    assert await served(session(connection, drain, send_s=0.1), show) < 1
    assert connection.states == []


async def test_a_viewer_that_takes_nothing_does_not_hold_up_the_end(
    connection: Connection, drain: asyncio.Event
) -> None:
    async def show(write: Callable[[bytes], Awaitable[None]]) -> None:
        connection.taking.clear()
        drain.set()
        await write(b"x")

    assert await served(session(connection, drain), show) < FAREWELL_MAX_S + 0.5


async def test_a_fault_of_ours_is_not_hidden(connection: Connection, drain: asyncio.Event) -> None:
    async def show(_write: Callable[[bytes], Awaitable[None]]) -> None:
        raise RuntimeError("a fault")

    with pytest.raises(RuntimeError, match="a fault"):
        await served(session(connection, drain), show)


async def test_what_was_shown_has_ended_when_the_answer_has(connection: Connection, drain: asyncio.Event) -> None:
    ended: list[str] = []

    async def show(_write: Callable[[bytes], Awaitable[None]]) -> None:
        try:
            drain.set()
            await asyncio.Event().wait()
        finally:
            ended.append("shown")

    await served(session(connection, drain), show)
    assert ended == ["shown"]
