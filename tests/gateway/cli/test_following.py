"""The debug stream is followed across whatever breaks it, exactly from where it broke off; tried with a real server."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json

import pytest
from aiohttp import web

from gateway.cli.access import Target
from gateway.cli.failures import CliError, Exit
from gateway.cli.following import PATH, Follower, Interrupted, Wanted
from gateway.cli.rest import RefusedError, connected
from gateway.cli.sse import ServerEvent
from shared.limits import CLI_RECONNECT_MAX_S
from tests.gateway.cli.small_gateway import refusal, refusing

EVERYTHING = Wanted()


class Stream:
    """A debug stream: each connection gets the next script of pieces; a script that ends in `...` stays open."""

    def __init__(self, gateway, *scripts):
        self.scripts = list(scripts)
        self.last_ids = []
        self.queries = []
        gateway.stream(PATH, self.serve)

    async def serve(self, request):
        self.last_ids.append(request.headers.get("last-event-id"))
        self.queries.append(dict(request.query))
        script = self.scripts.pop(0)
        if isinstance(script, web.Response):
            return script
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for piece in script:
            if piece is ...:
                await asyncio.sleep(30)
            if piece == "cut":
                request.transport.abort()
                return response
            await response.write(piece.encode())
        return response


def event(number, **data):
    return f"id: {number}-0\nevent: log\ndata: {json.dumps({'ts': number, 'message': f'line {number}', **data})}\n\n"


@pytest.fixture
def pauses():
    return []


@pytest.fixture
async def follower(small_gateway, pauses):
    async def pause(seconds):
        pauses.append(seconds)

    async with connected(Target(small_gateway.url, "t")) as gateway:
        yield lambda wanted=EVERYTHING, silent_s=5.0: Follower(gateway, wanted, silent_max_s=silent_s, pause=pause)


async def taken(events, count):
    """The first `count` of them; the rest is not waited for."""
    found = []
    async with contextlib.aclosing(events), asyncio.timeout(10):
        async for one in events:
            found.append(one)
            if len(found) == count:
                break
    return found


def ids(events):
    return [one.id for one in events if isinstance(one, ServerEvent)]


async def test_one_connection_gives_its_events_in_order(small_gateway, follower):
    Stream(small_gateway, ["retry: 2000\n\n", event(1), ": heartbeat\n\n", event(2)])
    assert ids([one async for one in follower().once()]) == ["1-0", "2-0"]


async def test_the_credential_travels_as_a_header_and_the_wishes_as_a_query(small_gateway, follower):
    stream = Stream(small_gateway, [event(1)])
    await taken(follower(Wanted(extension_id="e", install_id="i", request_id="r/1", level="warn")).once(), 1)
    assert stream.queries == [{"extensionId": "e", "installId": "i", "requestId": "r/1", "level": "warn"}]
    asked = small_gateway.calls("GET", PATH)[0]
    assert asked.headers["authorization"] == "Bearer t"
    assert "Bearer" not in asked.path


async def test_a_stream_that_ends_is_asked_for_again_from_the_last_event(small_gateway, follower, pauses):
    stream = Stream(small_gateway, ["retry: 300\n\n", event(1), event(2)], [event(3), ...])
    found = await taken(follower().for_ever(), 4)
    assert ids(found) == ["1-0", "2-0", "3-0"]
    assert isinstance(found[2], Interrupted)
    assert stream.last_ids == [None, "2-0"]
    assert 0.2 < pauses[0] < 0.4


async def test_a_connection_that_is_cut_within_an_event_repeats_that_event_only(small_gateway, follower):
    half = event(2)[:20]
    stream = Stream(small_gateway, [event(1), half, "cut"], [event(2), ...])
    found = await taken(follower().for_ever(), 3)
    assert ids(found) == ["1-0", "2-0"]
    assert stream.last_ids == [None, "1-0"]


async def test_a_position_without_an_event_is_kept(small_gateway, follower):
    stream = Stream(small_gateway, [event(1), ":\nid: 9-0\n\n"], [event(10), ...])
    assert ids(await taken(follower().for_ever(), 3)) == ["1-0", "10-0"]
    assert stream.last_ids == [None, "9-0"]


async def test_silence_without_a_heartbeat_is_a_lost_connection(small_gateway, follower):
    stream = Stream(small_gateway, [event(1), ...], [event(2), ...])
    found = await taken(follower(silent_s=0.2).for_ever(), 3)
    assert ids(found) == ["1-0", "2-0"]
    assert "no answer in time" in found[1].reason
    assert stream.last_ids == [None, "1-0"]


async def test_pauses_double_up_to_the_limit_and_start_over_with_an_event(small_gateway, follower, pauses):
    down = [refusal(503, "access_policy_unavailable", "away") for _ in range(7)]
    Stream(small_gateway, [event(1)], *down, [event(2)], [event(3), ...])
    found = await taken(follower().for_ever(), 12)
    assert ids(found) == ["1-0", "2-0", "3-0"]
    assert all(later > earlier * 1.2 for earlier, later in itertools.pairwise(pauses[:4]))
    assert max(pauses) <= CLI_RECONNECT_MAX_S
    assert pauses[-1] < 3


async def test_a_wish_to_come_back_later_is_respected(small_gateway, follower, pauses):
    Stream(small_gateway, refusal(429, "rate_limited", "slowly"), [event(1), ...])
    found = await taken(follower().for_ever(), 2)
    assert ids(found) == ["1-0"]
    assert pauses[0] >= 1


async def test_a_refusal_for_good_ends_it(small_gateway, follower):
    Stream(small_gateway, [event(1)], refusal(401, "invalid_session", "expired"))
    events = follower().for_ever()
    with pytest.raises(RefusedError) as refused:
        await taken(events, 9)
    assert refused.value.exit_status == Exit.REFUSED


async def test_a_missing_permission_is_said_at_once(small_gateway, follower):
    small_gateway.on("GET", PATH, refusing(403, "forbidden", "extension:debug is needed"))
    with pytest.raises(RefusedError, match="extension:debug"):
        await taken(follower().for_ever(), 1)


async def test_an_address_nobody_ever_answered_at_is_an_error(pauses):
    async with connected(Target("http://127.0.0.1:9", "t")) as gateway:
        with pytest.raises(CliError) as failed:
            await taken(Follower(gateway, Wanted()).for_ever(), 1)
    assert failed.value.code == "cli_unreachable"
    assert pauses == []
