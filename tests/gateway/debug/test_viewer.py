"""A viewer of a real stream: what was kept, what comes, where it left off, and what happens when something is away."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis as Client

from gateway.debug.entries import StreamId, stream_id
from gateway.debug.feeds import Feeds, StreamName
from gateway.debug.viewer import Wanted
from shared.debug_event import LEVELS, Level
from shared.debug_stream import StreamGap
from shared.errors import Overloaded
from shared.limits import DEBUG_FEEDS_MAX, DEBUG_QUEUE_MAX_COUNT
from tests.debug_events import OTHER_EXTENSION
from tests.gateway.debug.screen import Screen, until, viewing
from tests.gateway.debug.written import KEY, Writing, line, start, whole

LATEST = StreamId(2**63, 0)


def numbered(count: int, first: int = 0) -> list[str]:
    return [str(number) for number in range(first, first + count)]


async def clients_waiting(client: Client) -> int:
    """Connections that wait for news of a stream."""
    found = await client.client_list()
    return sum(one["cmd"] == "xread" for one in found)


# ---- from the past into the present -----------------------------------------------------------------------------------


async def test_a_viewer_sees_what_was_kept_and_then_what_comes(feeds: Feeds, client: Client) -> None:
    writing = Writing()
    await writing.say(client, "one", "two")
    async with viewing(feeds) as screen:
        await screen.until_state("live")
        assert screen.lines == ["one", "two"]
        await writing.say(client, "three")
        await screen.until_says("one", "two", "three")
        assert screen.raw.startswith(b"retry: 2000\n\n")
        assert screen.gaps == []
        assert screen.states == ["live"]


@pytest.mark.parametrize(("tail", "shown"), [(0, []), (1, ["4"]), (3, ["2", "3", "4"]), (9, numbered(5))])
async def test_a_new_viewer_sees_the_last_ones(feeds: Feeds, client: Client, tail: int, shown: list[str]) -> None:
    await Writing().say(client, *numbered(5))
    async with viewing(feeds, tail=tail) as screen:
        await screen.until_state("live")
        assert screen.lines == shown
        assert screen.gaps == []


async def test_a_stream_nobody_wrote_to_is_live_and_silent(feeds: Feeds, client: Client) -> None:
    async with viewing(feeds) as screen:
        await screen.until_state("live")
        await Writing().say(client, "first")
        await screen.until_says("first")


async def test_a_viewer_sees_only_its_tenants_stream(feeds: Feeds, client: Client) -> None:
    async with viewing(feeds) as screen:
        await screen.until_state("live")
        await Writing().say(client, "theirs", key=KEY.replace("acme", "globex"), tenant_id="globex")
        await Writing().say(client, "another's", key=f"ext-debug:acme:{OTHER_EXTENSION}", extension_id=OTHER_EXTENSION)
        await Writing().say(client, "ours")
        await screen.until_says("ours")


async def test_an_event_in_a_foreign_stream_is_missing_and_not_shown(feeds: Feeds, client: Client) -> None:
    writing = Writing()
    await writing.say(client, "smuggled", tenant_id="globex")
    await writing.say(client, "ours")
    async with viewing(feeds) as screen:
        await screen.until_says("ours")
        assert screen.gaps == [{"reason": "unreadable", "count": 1}]


# ---- resuming ---------------------------------------------------------------------------------------------------------


async def test_a_viewer_resumes_exactly_behind_what_it_saw(feeds: Feeds, client: Client) -> None:
    ids = await Writing().say(client, *numbered(600))
    for at in (0, 299, 598, 599):
        async with viewing(feeds, tail=5, resume=stream_id(ids[at])) as screen:
            await screen.until_state("live")
            assert screen.ids == ids[at + 1 :]
            assert screen.gaps == []


async def test_viewers_that_come_and_go_while_others_write_lose_nothing_and_see_nothing_twice(
    feeds: Feeds, client: Client
) -> None:
    writing, ids = Writing(), []

    async def write() -> None:
        for number in range(1500):
            ids.extend(await writing.say(client, str(number)))

    seen: list[str] = []
    task = asyncio.create_task(write())
    resume = StreamId(0, 1)
    while len(seen) < 1500:
        async with viewing(feeds, resume=resume) as screen:
            wanted = min(1500 - len(seen), 97)
            await screen.until(lambda screen, wanted=wanted: len(screen.ids) >= wanted)
            seen += screen.ids
            resume = stream_id(seen[-1])
    await task
    assert seen == ids


async def test_what_was_trimmed_meanwhile_is_one_gap(feeds: Feeds, client: Client) -> None:
    writing = Writing()
    ids = await writing.say(client, *numbered(50))
    await client.xtrim(KEY, maxlen=10, approximate=False)
    async with viewing(feeds, resume=stream_id(ids[5])) as screen:
        await screen.until_state("live")
        await writing.say(client, "next")
        await screen.until_says(*numbered(10, 40), "next")
        assert screen.gaps == [{"reason": "trimmed"}]
        assert screen.events[0].event == "gap"


async def test_a_stream_that_is_gone_is_one_gap(feeds: Feeds, client: Client) -> None:
    (entry_id,) = await Writing().say(client, "one")
    await client.delete(KEY)
    async with viewing(feeds, resume=stream_id(entry_id)) as screen:
        await screen.until_state("live")
        await Writing("b.0").say(client, "two")
        await screen.until_says("two")
        assert screen.gaps == [{"reason": "trimmed"}]


@pytest.mark.parametrize("resume", [LATEST, StreamId(2**64 - 1, 2**64 - 1)])
async def test_an_id_of_the_future_is_a_gap_and_the_tail(feeds: Feeds, client: Client, resume: StreamId) -> None:
    writing = Writing()
    await writing.say(client, *numbered(5))
    async with viewing(feeds, tail=2, resume=resume) as screen:
        await screen.until_state("live")
        await writing.say(client, "5")
        await screen.until_says("3", "4", "5")
        assert screen.gaps == [{"reason": "trimmed"}]


async def test_a_hole_before_the_first_new_entry_is_seen_by_who_resumes(feeds: Feeds, client: Client) -> None:
    writing = Writing()
    (seen,) = await writing.say(client, "one")
    writing.number += 3  # written and lost, as a Redis that restarts can
    await writing.say(client, "five")
    async with viewing(feeds, resume=stream_id(seen)) as screen:
        await screen.until_says("five")
        assert screen.gaps == [{"reason": "lost", "count": 3}]


# ---- which --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
async def test_a_level_shows_itself_and_the_more_serious_ones(feeds: Feeds, client: Client, level: Level) -> None:
    writing = Writing()
    for one in LEVELS:
        await writing.say(client, one, level=one)
    async with viewing(feeds, wanted=Wanted(level=level)) as screen:
        await screen.until_state("live")
        assert screen.lines == list(LEVELS[LEVELS.index(level) :])
        assert screen.gaps == []


async def test_one_request_or_install_can_be_watched_alone(feeds: Feeds, client: Client) -> None:
    writing = Writing()
    await writing.say(client, "mine", request_id="r-9", install_id="i-9")
    await writing.say(client, "other request", request_id="r-8", install_id="i-9")
    await writing.say(client, "other install", request_id="r-9", install_id="i-8")
    async with viewing(feeds, wanted=Wanted(request_id="r-9", install_id="i-9")) as screen:
        await screen.until_state("live")
        assert screen.lines == ["mine"]


async def test_a_loss_is_told_to_everyone_it_may_concern(feeds: Feeds, client: Client) -> None:
    writing = Writing()
    await writing.add(client, start("e", 1, request_id="r-8"))
    await writing.add(client, StreamGap(count=3, reason="overflow"))
    await writing.add(client, start("f", 1, request_id="r-8"))
    async with (
        viewing(feeds, wanted=Wanted(request_id="r-9", level="error")) as other,
        viewing(feeds, wanted=Wanted(request_id="r-8", level="error")) as mine,
    ):
        await mine.until(lambda screen: len(screen.gaps) == 2)
        assert mine.gaps[0] == {"reason": "dropped", "count": 3}
        assert (mine.gaps[1]["reason"], mine.gaps[1]["requestId"]) == ("unfinished", "r-8")
        assert other.gaps == [{"reason": "dropped", "count": 3}]


# ---- runners that die -------------------------------------------------------------------------------------------------


async def test_a_runner_that_dies_in_a_call_leaves_a_gap(feeds: Feeds, client: Client) -> None:
    writing = Writing()
    async with viewing(feeds) as screen:
        await screen.until_state("live")
        await writing.add(client, start("e", 200))
        await writing.add(client, line("e"))
        await screen.until(lambda screen: screen.gaps)
        assert screen.gaps == [{"reason": "unfinished", "requestId": "r-1", "executionId": "e", "afterSeq": 2}]


async def test_a_runner_that_dies_between_calls_leaves_a_gap_when_it_is_back(feeds: Feeds, client: Client) -> None:
    first = Writing("a.0")
    for said in whole("e"):
        await first.add(client, said)
    async with viewing(feeds) as screen:
        await screen.until_state("live")
        await Writing("b.0").say(client, "again")
        await screen.until(lambda screen: screen.lines[-1:] == ["again"])
        assert screen.gaps == [{"reason": "runner_restarted"}]


async def test_an_execution_under_way_before_the_tail_is_watched_to_its_end(feeds: Feeds, client: Client) -> None:
    writing = Writing()
    await writing.add(client, start("e", 100))
    await writing.say(client, *numbered(5))
    async with viewing(feeds, tail=2) as screen:
        await screen.until(lambda screen: screen.gaps)
        assert screen.lines == ["3", "4"]
        assert screen.gaps[0]["executionId"] == "e"


# ---- slow, idle, many -------------------------------------------------------------------------------------------------


async def test_a_viewer_that_stops_reading_costs_no_memory_and_reads_on_from_where_it_was(
    feeds: Feeds, client: Client
) -> None:
    writing = Writing()
    async with viewing(feeds) as screen:
        await screen.until_state("live")
        screen.open.clear()
        await writing.say(client, *numbered(3 * DEBUG_QUEUE_MAX_COUNT))
        (feed,) = feeds._feeds.values()
        (watch,) = feed.watches
        await until(lambda: watch.behind)
        assert len(watch._entries) <= DEBUG_QUEUE_MAX_COUNT
        screen.open.set()
        await screen.until_says(*numbered(3 * DEBUG_QUEUE_MAX_COUNT))
        assert screen.gaps == []


async def test_a_viewer_that_was_too_slow_for_what_is_kept_sees_one_gap(feeds: Feeds, client: Client) -> None:
    writing = Writing()
    await writing.say(client, "first")
    async with viewing(feeds) as screen:
        await screen.until_state("live")
        screen.open.clear()
        await writing.say(client, *numbered(3 * DEBUG_QUEUE_MAX_COUNT))
        await client.xtrim(KEY, maxlen=10, approximate=False)
        screen.open.set()
        last = str(3 * DEBUG_QUEUE_MAX_COUNT - 1)
        await screen.until(lambda screen: screen.lines[-1:] == [last])
        assert screen.gaps == [{"reason": "trimmed"}]


async def test_a_slow_viewer_does_not_slow_another_one_down(feeds: Feeds, client: Client) -> None:
    writing = Writing()
    async with viewing(feeds) as slow, viewing(feeds) as quick:
        for screen in (slow, quick):
            await screen.until_state("live")
        slow.open.clear()
        await writing.say(client, *numbered(1000))
        await quick.until_says(*numbered(1000))
        assert slow.lines == []


async def test_many_viewers_of_a_stream_share_one_reader(feeds: Feeds, client: Client) -> None:
    async with viewing(feeds) as first, viewing(feeds) as second, viewing(feeds) as third:
        screens: list[Screen] = [first, second, third]
        for screen in screens:
            await screen.until_state("live")
        await Writing().say(client, "one")
        for screen in screens:
            await screen.until_says("one")
        assert len(feeds) == 1
        assert await clients_waiting(client) == 1
    assert len(feeds) == 0


async def test_a_stream_too_many_is_refused(feeds: Feeds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.debug.feeds.DEBUG_FEEDS_MAX", 2)
    names = [StreamName(f"t{number}", OTHER_EXTENSION) for number in range(3)]
    async with feeds.watch(names[0]), feeds.watch(names[1]), feeds.watch(names[0]):
        with pytest.raises(Overloaded):
            async with feeds.watch(names[2]):
                raise AssertionError("one stream too many")
    assert DEBUG_FEEDS_MAX > 2


async def test_a_quiet_stream_sends_heartbeats_that_carry_the_position(feeds: Feeds, client: Client) -> None:
    writing = Writing()
    await writing.say(client, "too quiet to be shown", level="debug")
    (entry_id,) = await writing.say(client, "neither", level="info")
    async with viewing(feeds, heartbeat_s=0.05, wanted=Wanted(level="error")) as screen:
        await screen.until(lambda screen: screen.raw.count(b":\nid:") >= 2)
        assert f":\nid: {entry_id}\n\n".encode() in screen.raw
        assert screen.of("log") == []
