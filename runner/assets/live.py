"""Which UIs are served: those that some tenant has installed right now.

A digest in the store is not yet public; it becomes so when somebody installs it. The state feed names what is live;
a pair it has not named costs one look-up at the gateway, shared by everyone who asks, a few a second in all, and 404
beyond that. When the gateway is silent, what was live stays so for ten minutes; what the feed called gone never does.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

from runner.bundles.single_flight import SingleFlight
from runner.clients.gateway import GatewayError
from shared.deadline import Deadline
from shared.errors import BundleUnavailable, NotFound
from shared.ids import ContentHash, ExtensionId
from shared.limits import NEGATIVE_CACHE_S, UI_LOOKUPS_PER_S

STALE_MAX_S: Final = 600  # how long a silent gateway's last word is served
LOOKUP_MAX_MS: Final = 2_000
REMEMBERED_MAX: Final = 10_000  # looked-up pairs, about 150 bytes each
NOT_LIVE: Final = "no installed extension has this UI"


class Feed(Protocol):
    """The state feed's answers about UIs."""

    def ui_live(self, subject: str) -> bool:
        """Named as live."""

    def ui_gone(self, subject: str) -> bool:
        """Named as gone."""

    async def again(self) -> None:
        """Read what is new now."""

    def silent_s(self) -> float:
        """Seconds since the gateway last answered."""


class Lookup(Protocol):
    """The gateway's answer about one pair."""

    async def ui_is_live(self, extension: ExtensionId, content_hash: ContentHash, deadline: Deadline) -> bool:
        """Whether somebody has it installed. Raises `GatewayError`."""


class LiveUis:
    """See the module.

    Args:
        feed: the state feed.
        gateway: for look-ups.
        lookups_per_s: of this process; a runner's processes share `UI_LOOKUPS_PER_S`.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        feed: Feed,
        gateway: Lookup,
        lookups_per_s: float = UI_LOOKUPS_PER_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._feed = feed
        self._gateway = gateway
        self._rate = lookups_per_s
        self._burst = max(1.0, lookups_per_s)
        self._tokens = self._burst
        self._refilled_at_s = clock()
        self._clock = clock
        self._seen: OrderedDict[str, float] = OrderedDict()  # looked up: +inf for live, else when to ask again
        self._flights: SingleFlight[str, bool] = SingleFlight("ui look-up")

    async def check(self, extension: ExtensionId, content_hash: ContentHash) -> None:
        """Return when the pair is live.

        Raises:
            NotFound: it is not, or too many unknown ones were asked for.
            BundleUnavailable: it cannot be known right now.
        """
        subject = f"{extension}/{content_hash}"
        if self._feed.ui_gone(subject) and self._may_ask():
            await self._feed.again()  # installed anew a moment ago, perhaps
        if self._feed.ui_gone(subject):
            raise NotFound(NOT_LIVE)
        remembered = self._seen.get(subject)
        if self._feed.ui_live(subject) or remembered == float("inf"):
            if self._feed.silent_s() > STALE_MAX_S:
                raise BundleUnavailable("whether this UI is still installed cannot be known", retry_after_s=5)
            return
        if remembered is not None and self._clock() < remembered:
            raise NotFound(NOT_LIVE)
        if not await self._flights.run(subject, lambda: self._look_up(subject, extension, content_hash)):
            raise NotFound(NOT_LIVE)

    async def aclose(self) -> None:
        """End the look-ups under way."""
        await self._flights.aclose()

    async def _look_up(self, subject: str, extension: ExtensionId, content_hash: ContentHash) -> bool:
        if not self._may_ask():
            return False
        try:
            live = await self._gateway.ui_is_live(extension, content_hash, Deadline.after_ms(LOOKUP_MAX_MS))
        except GatewayError as error:
            raise BundleUnavailable("the gateway cannot be asked about this UI", retry_after_s=2) from error
        live = live and not self._feed.ui_gone(subject)  # the feed may have been faster
        self._seen[subject] = float("inf") if live else self._clock() + NEGATIVE_CACHE_S
        self._seen.move_to_end(subject)
        while len(self._seen) > REMEMBERED_MAX:
            self._seen.popitem(last=False)
        return live

    def _may_ask(self) -> bool:
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._refilled_at_s) * self._rate)
        self._refilled_at_s = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
