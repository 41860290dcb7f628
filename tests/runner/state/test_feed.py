"""The state feed: what it says acts at once, what it said holds, and silence is noticed."""

from __future__ import annotations

import asyncio
import itertools

import pytest
import structlog

from runner.clients.gateway import GatewayError
from runner.state import feed as feed_module
from runner.state.feed import StateFeedPoller
from runner.state.trust_watch import watch_trust
from shared.brakes import CallFacts
from shared.deadline import Deadline
from shared.keys import PrivateKey
from shared.limits import STATE_SILENT_S
from shared.wire import StateEntry, StateFeed, StateKind
from tests.runner.published import trusting
from tests.runner.waiting import until


class Gateway:
    """Serves entries in pages, as the real feed does."""

    def __init__(self, page: int = 100) -> None:
        self.entries: list[StateEntry] = []
        self.page = page
        self.away = False
        self.asked: list[int] = []
        self.held: asyncio.Event | None = None
        self._numbers = itertools.count(1)

    def say(self, kind: StateKind, subject: str) -> None:
        self.entries.append(StateEntry(seq=next(self._numbers), kind=kind, subject=subject))

    async def state(self, after: int, deadline: Deadline) -> StateFeed:
        self.asked.append(after)
        if self.away:
            raise GatewayError("away")
        found = tuple(entry for entry in self.entries if entry.seq > after)[: self.page]
        last = found[-1].seq if found else max([0, *(e.seq for e in self.entries)])
        if self.held is not None:
            await self.held.wait()
        return StateFeed(entries=found, last=last)


class Trust:
    def __init__(self) -> None:
        self.revoked: list[str] = []

    def revoke(self, key_id: str) -> None:
        self.revoked.append(key_id)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def trust() -> Trust:
    return Trust()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def poller(gateway: Gateway, trust: Trust, clock: Clock) -> StateFeedPoller:
    return StateFeedPoller(gateway, trust, clock)


async def test_each_kind_of_entry_is_answered_for(poller: StateFeedPoller, gateway: Gateway, trust: Trust):
    gateway.say("revoked_version", "v1")
    gateway.say("revoked_key", "k1")
    gateway.say("disabled_install", "i1")
    gateway.say("brake", "tenant:acme")
    gateway.say("ui_live", "e1/h1")
    await poller.poll()
    assert poller.is_revoked("v1")
    assert not poller.is_revoked("v2")
    assert trust.revoked == ["k1"]
    assert poller.install_disabled("i1")
    assert not poller.install_disabled("i2")
    assert poller.brakes() == {"tenant:acme"}
    assert poller.ui_live("e1/h1")
    assert not poller.ui_live("e1/h2")


async def test_who_asks_again_knows_what_was_taken_back_since_the_last_poll(poller: StateFeedPoller, gateway: Gateway):
    gateway.say("disabled_install", "i1")
    await poller.poll()
    gateway.say("enabled_install", "i1")
    assert poller.install_disabled("i1")
    await poller.again()
    assert not poller.install_disabled("i1")


async def test_a_hundred_who_ask_again_share_one_reading_that_began_after_they_came(
    poller: StateFeedPoller, gateway: Gateway
):
    await asyncio.gather(*(poller.again() for _ in range(100)))
    assert len(gateway.asked) == 1
    gateway.held = asyncio.Event()
    polling = asyncio.create_task(poller.poll())  # its answer is from before what is said now
    await until(lambda: len(gateway.asked) == 2)
    gateway.say("brake", "all")
    asking = [asyncio.create_task(poller.again()) for _ in range(3)]
    gateway.held.set()
    await asyncio.gather(polling, *asking)
    assert poller.brakes() == {"all"}
    assert len(gateway.asked) <= 5  # a page and its end, twice


async def test_a_silent_gateway_leaves_the_last_word_in_force_when_asked_again(
    poller: StateFeedPoller, gateway: Gateway
):
    gateway.say("disabled_install", "i1")
    await poller.poll()
    gateway.away = True
    await poller.again()
    assert poller.install_disabled("i1")


async def test_a_poller_that_ends_leaves_nobody_reading(poller: StateFeedPoller, gateway: Gateway):
    running = asyncio.create_task(poller.run())
    await until(lambda: len(gateway.asked) == 1)
    gateway.held = asyncio.Event()
    asking = asyncio.create_task(poller.again())
    await until(lambda: len(gateway.asked) == 2)
    running.cancel()
    await asyncio.wait([running, asking])
    assert asking.cancelled()


async def test_a_later_entry_takes_back_what_can_be_taken_back(poller: StateFeedPoller, gateway: Gateway):
    gateway.say("disabled_install", "i1")
    gateway.say("ui_live", "e1/h1")
    await poller.poll()
    gateway.say("enabled_install", "i1")
    gateway.say("ui_gone", "e1/h1")
    await poller.poll()
    assert not poller.install_disabled("i1")
    assert not poller.ui_live("e1/h1")
    assert poller.ui_gone("e1/h1")
    gateway.say("ui_live", "e1/h1")
    await poller.poll()
    assert poller.ui_live("e1/h1")
    assert not poller.ui_gone("e1/h1")


async def test_a_brake_stops_calls_until_it_is_released(poller: StateFeedPoller, gateway: Gateway):
    call = CallFacts(tenant_id="acme", install_id="i", version_id="v", content_hash="h")
    other = CallFacts(tenant_id="globex", install_id="i", version_id="v", content_hash="h")
    assert not poller.braked(call)
    gateway.say("brake", "tenant:acme")
    await poller.poll()
    assert poller.braked(call)
    assert not poller.braked(other)
    gateway.say("brake_released", "tenant:acme")
    gateway.say("brake_released", "tenant:globex")
    await poller.poll()
    assert not poller.braked(call)
    assert poller.brakes() == frozenset()


async def test_a_brake_of_a_later_release_is_reported_and_the_feed_goes_on(poller: StateFeedPoller, gateway: Gateway):
    with structlog.testing.capture_logs() as lines:
        gateway.say("brake", "region:eu")
        gateway.say("revoked_version", "v1")
        await poller.poll()
    assert [line["subject"] for line in lines if line["event"] == "brake_not_understood"] == ["region:eu"]
    assert poller.brakes() == frozenset()
    assert poller.is_revoked("v1")


async def test_only_what_is_new_is_asked_for(poller: StateFeedPoller, gateway: Gateway):
    gateway.say("brake", "a")
    gateway.say("brake", "b")
    await poller.poll()
    await poller.poll()
    assert gateway.asked == [0, 2, 2]


async def test_pages_are_read_to_the_end_before_it_counts_as_read_once(
    gateway: Gateway, trust: Trust, clock: Clock, poller: StateFeedPoller
):
    gateway.page = 3
    for number in range(10):
        gateway.say("revoked_version", f"v{number}")
    assert not poller.first.is_set()
    await poller.poll()
    assert poller.first.is_set()
    assert all(poller.is_revoked(f"v{number}") for number in range(10))


async def test_listeners_hear_every_entry_after_the_answers_changed(poller: StateFeedPoller, gateway: Gateway):
    heard: list[tuple[str, bool]] = []
    poller.listen(lambda entry: heard.append((entry.subject, poller.is_revoked(entry.subject))))
    gateway.say("revoked_version", "v1")
    await poller.poll()
    assert heard == [("v1", True)]


async def test_a_feed_that_went_back_is_read_again_and_nothing_revoked_is_forgotten(
    poller: StateFeedPoller, gateway: Gateway
):
    for number in range(5):
        gateway.say("revoked_version", f"v{number}")
    await poller.poll()
    restored = Gateway()
    restored.say("revoked_version", "other")
    gateway.entries = restored.entries
    await poller.poll()
    assert poller.is_revoked("v4")
    assert poller.is_revoked("other")
    assert gateway.asked[-2:] == [0, 1]


@pytest.mark.parametrize(
    ("silent_s", "stale"), [(STATE_SILENT_S - 1, False), (STATE_SILENT_S, False), (STATE_SILENT_S + 1, True)]
)
async def test_silence_is_stale_after_its_limit(
    poller: StateFeedPoller, gateway: Gateway, clock: Clock, silent_s: float, stale: bool
):
    await poller.poll()
    gateway.away = True
    clock.now += silent_s
    assert not await poller.poll()
    assert poller.silent_s() == silent_s
    assert poller.stale is stale


async def test_what_was_known_holds_while_the_gateway_is_silent(
    poller: StateFeedPoller, gateway: Gateway, clock: Clock
):
    gateway.say("revoked_version", "v1")
    await poller.poll()
    gateway.away = True
    clock.now += 10_000
    await poller.poll()
    assert poller.is_revoked("v1")


async def test_a_gateway_that_was_never_heard_is_silent_since_the_start(
    poller: StateFeedPoller, gateway: Gateway, clock: Clock
):
    gateway.away = True
    clock.now += 31
    await poller.poll()
    assert poller.stale
    assert not poller.first.is_set()


async def test_silence_is_one_alert_and_its_end_one_line(poller: StateFeedPoller, gateway: Gateway, clock: Clock):
    gateway.away = True
    with structlog.testing.capture_logs() as lines:
        for _ in range(60):
            clock.now += 1
            await poller.poll()
        gateway.away = False
        await poller.poll()
        await poller.poll()
    assert [line["event"] for line in lines] == ["state_feed_silent", "state_feed_back"]
    assert lines[0]["log_level"] == "error"


async def test_it_polls_until_it_is_cancelled(
    poller: StateFeedPoller, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(feed_module, "STATE_POLL_S", 0)
    running = asyncio.create_task(poller.run())
    await until(lambda: len(gateway.asked) >= 3)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_changed_trust_file_is_taken_into_force(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("runner.state.trust_watch.EVERY_S", 0)
    first, second = PrivateKey.generate(), PrivateKey.generate()
    path = tmp_path / "trust.pem"
    path.write_text(first.public.pem())
    trust = type(trusting(first))(str(path))
    watching = asyncio.create_task(watch_trust(trust))
    path.write_text(second.public.pem())
    await until(lambda: second.key_id in trust.current().keys)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
