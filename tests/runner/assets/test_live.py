"""What is served is what somebody has installed, as far as anybody can know."""

from __future__ import annotations

import asyncio

import pytest

from runner.assets.live import LOOKUP_MAX_MS, STALE_MAX_S, LiveUis
from runner.clients.gateway import GatewayError
from shared.deadline import Deadline
from shared.errors import BundleUnavailable, NotFound
from shared.ids import ContentHash, ExtensionId
from shared.limits import NEGATIVE_CACHE_S, UI_LOOKUPS_PER_S
from tests.runner.waiting import until

EXTENSION = ExtensionId("7d3f6f5e-0000-4000-8000-000000000001")


def digest(number: int = 0) -> ContentHash:
    return ContentHash(f"sha256:{number:064x}")


class Feed:
    def __init__(self) -> None:
        self.live: set[str] = set()
        self.gone: set[str] = set()
        self.silent = 0.0
        self.heard_again = 0
        self.back: set[str] = set()

    async def again(self) -> None:
        self.heard_again += 1
        self.gone -= self.back

    def ui_live(self, subject: str) -> bool:
        return subject in self.live

    def ui_gone(self, subject: str) -> bool:
        return subject in self.gone

    def silent_s(self) -> float:
        return self.silent


class Gateway:
    def __init__(self) -> None:
        self.installed: set[str] = set()
        self.asked: list[str] = []
        self.away = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def ui_is_live(self, extension: ExtensionId, content_hash: ContentHash, deadline: Deadline) -> bool:
        assert deadline.remaining_ms() <= LOOKUP_MAX_MS
        self.asked.append(f"{extension}/{content_hash}")
        live = self.asked[-1] in self.installed
        await self.gate.wait()
        if self.away:
            raise GatewayError("away")
        return live


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def feed() -> Feed:
    return Feed()


@pytest.fixture
async def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def live(feed: Feed, gateway: Gateway, clock: Clock) -> LiveUis:
    return LiveUis(feed, gateway, clock=clock)


async def test_what_the_feed_calls_live_costs_no_look_up(live: LiveUis, feed: Feed, gateway: Gateway):
    feed.live.add(f"{EXTENSION}/{digest()}")
    await live.check(EXTENSION, digest())
    assert gateway.asked == []


async def test_an_unknown_pair_costs_one_look_up_and_is_remembered(live: LiveUis, gateway: Gateway):
    gateway.installed.add(f"{EXTENSION}/{digest()}")
    for _ in range(100):
        await live.check(EXTENSION, digest())
    assert len(gateway.asked) == 1


async def test_callers_of_one_unknown_pair_share_the_look_up(live: LiveUis, gateway: Gateway):
    gateway.installed.add(f"{EXTENSION}/{digest()}")
    await asyncio.gather(*(live.check(EXTENSION, digest()) for _ in range(100)))
    assert len(gateway.asked) == 1


async def test_what_nobody_has_installed_is_not_found_and_asked_again_after_a_while(
    live: LiveUis, gateway: Gateway, clock: Clock
):
    for _ in range(100):
        with pytest.raises(NotFound):
            await live.check(EXTENSION, digest())
    assert len(gateway.asked) == 1
    clock.now += NEGATIVE_CACHE_S
    gateway.installed.add(f"{EXTENSION}/{digest()}")
    await live.check(EXTENSION, digest())


@pytest.mark.security
async def test_the_same_digest_under_another_extension_is_another_pair(live: LiveUis, gateway: Gateway):
    gateway.installed.add(f"{EXTENSION}/{digest()}")
    other = ExtensionId("7d3f6f5e-0000-4000-8000-000000000002")
    with pytest.raises(NotFound):
        await live.check(other, digest())


@pytest.mark.security
async def test_random_digests_cost_so_many_look_ups_a_second_and_no_more(live: LiveUis, gateway: Gateway, clock: Clock):
    for number in range(1000):
        with pytest.raises(NotFound):
            await live.check(EXTENSION, digest(number))
    assert len(gateway.asked) == UI_LOOKUPS_PER_S
    clock.now += 0.5
    for number in range(2000, 3000):
        with pytest.raises(NotFound):
            await live.check(EXTENSION, digest(number))
    assert len(gateway.asked) == UI_LOOKUPS_PER_S * 1.5


async def test_a_share_of_less_than_one_a_second_is_still_one_now_and_then(feed: Feed, gateway: Gateway, clock: Clock):
    live = LiveUis(feed, gateway, lookups_per_s=0.25, clock=clock)
    for _ in range(8):
        clock.now += 2
        with pytest.raises(NotFound):
            await live.check(EXTENSION, digest(int(clock.now)))
    assert len(gateway.asked) == 4


async def test_a_gateway_that_is_away_is_unavailable_and_nothing_is_remembered(live: LiveUis, gateway: Gateway):
    gateway.away = True
    with pytest.raises(BundleUnavailable):
        await live.check(EXTENSION, digest())
    gateway.away = False
    gateway.installed.add(f"{EXTENSION}/{digest()}")
    await live.check(EXTENSION, digest())


@pytest.mark.parametrize(
    ("silent_s", "served"), [(STALE_MAX_S - 1, True), (STALE_MAX_S, True), (STALE_MAX_S + 1, False)]
)
@pytest.mark.parametrize("known_from", ["feed", "look-up"])
async def test_what_was_live_outlives_a_silent_gateway_for_ten_minutes(
    live: LiveUis, feed: Feed, gateway: Gateway, silent_s: float, served: bool, known_from: str
):
    subject = f"{EXTENSION}/{digest()}"
    (feed.live if known_from == "feed" else gateway.installed).add(subject)
    await live.check(EXTENSION, digest())
    feed.silent = silent_s
    if served:
        await live.check(EXTENSION, digest())
    else:
        with pytest.raises(BundleUnavailable):
            await live.check(EXTENSION, digest())


@pytest.mark.security
async def test_what_the_feed_called_gone_is_never_served_stale(live: LiveUis, feed: Feed, gateway: Gateway):
    subject = f"{EXTENSION}/{digest()}"
    gateway.installed.add(subject)
    await live.check(EXTENSION, digest())
    feed.gone.add(subject)
    feed.silent = 60
    with pytest.raises(NotFound):
        await live.check(EXTENSION, digest())


async def test_what_was_installed_anew_since_the_last_poll_is_served(live: LiveUis, feed: Feed):
    subject = f"{EXTENSION}/{digest()}"
    feed.gone.add(subject)
    with pytest.raises(NotFound):
        await live.check(EXTENSION, digest())
    feed.back.add(subject)
    feed.live.add(subject)
    await live.check(EXTENSION, digest())
    assert feed.heard_again == 2


@pytest.mark.security
async def test_a_look_up_that_was_overtaken_by_the_feed_loses(live: LiveUis, feed: Feed, gateway: Gateway):
    subject = f"{EXTENSION}/{digest()}"
    gateway.installed.add(subject)
    gateway.gate.clear()
    asking = asyncio.create_task(live.check(EXTENSION, digest()))
    await until(lambda: gateway.asked)
    feed.gone.add(subject)
    gateway.gate.set()
    with pytest.raises(NotFound):
        await asking
