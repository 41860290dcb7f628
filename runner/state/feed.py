"""The state feed: revocations, disabled installs, brakes and live UI digests, asked of the gateway every second.

An entry acts as soon as it is read: new calls are refused from the sets below, and listeners (the sandbox pool, the
asset listener) stop what already runs. Entries are monotonic; an answer that ends before what was already seen means
another database, so everything is read again from the start. Nothing revoked is ever forgotten.

A word that ends something acts within a poll; one that takes it back acts at once, since who is about to refuse a call
for it asks `again` first. While the gateway is silent the last known state holds. `silent_s` and `stale` say for how long; `EXT_STALE_MODE` and
the asset listener decide what that means.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, NoReturn, Protocol

import structlog

from runner.clients.gateway import GatewayError
from shared import brakes
from shared.brakes import Brake, CallFacts
from shared.deadline import Deadline
from shared.errors import InvalidRequest
from shared.limits import STATE_POLL_S, STATE_SILENT_S
from shared.wire import StateEntry, StateFeed

ANSWER_MAX_MS: Final = 2_000  # a poll that takes longer is given up; the next one asks for the same entries
AGAIN_MIN_S: Final = 0.05  # between two readings out of turn: no more than twenty a second, however many calls ask
PAGES_MAX: Final = 1_000  # read at once before the loop takes a breath

Listener = Callable[[StateEntry], None]

_log = structlog.get_logger()


class Feed(Protocol):
    """The gateway, as the poller sees it."""

    async def state(self, after: int, deadline: Deadline) -> StateFeed:
        """The entries after sequence number `after`. Raises `GatewayError`."""


class KeyTrust(Protocol):
    """Who has to know of revoked signing keys."""

    def revoke(self, key_id: str) -> None:
        """Stop trusting a key."""


class StateFeedPoller:
    """Polls the feed and answers from memory.

    Args:
        feed: the gateway.
        trust: told of revoked keys.
        clock: monotonic seconds.
    """

    def __init__(self, feed: Feed, trust: KeyTrust, clock: Callable[[], float] = time.monotonic) -> None:
        self._feed = feed
        self._trust = trust
        self._clock = clock
        self._after = 0
        self._heard_at_s: float | None = None
        self._started_at_s = clock()
        self._revoked_versions: set[str] = set()
        self._disabled_installs: set[str] = set()
        self._brakes: dict[str, Brake] = {}
        self._ui_live: set[str] = set()
        self._ui_gone: set[str] = set()
        self._listeners: list[Listener] = []
        self._alerted = False
        self._reading = asyncio.Lock()
        self._read_at_s = clock() - AGAIN_MIN_S
        self._next: asyncio.Task[None] | None = None
        self._readings: set[asyncio.Task[None]] = set()
        self.first = asyncio.Event()
        """Set when the whole feed was read once."""

    # ---- answers --------------------------------------------------------------------------------------------

    def is_revoked(self, version_id: str) -> bool:
        """Whether this version must not run."""
        return version_id in self._revoked_versions

    def install_disabled(self, install_id: str) -> bool:
        """Whether this install was switched off."""
        return install_id in self._disabled_installs

    def brakes(self) -> frozenset[str]:
        """The subjects of every brake that is pulled."""
        return frozenset(self._brakes)

    def braked(self, call: CallFacts) -> bool:
        """Whether a brake stops this call."""
        return any(brake.stops(call) for brake in self._brakes.values())

    def ui_live(self, subject: str) -> bool:
        """Whether some tenant has `extension_id/content_hash` installed, as far as the feed told."""
        return subject in self._ui_live

    def ui_gone(self, subject: str) -> bool:
        """Whether the feed said that `extension_id/content_hash` is no longer served."""
        return subject in self._ui_gone

    def silent_s(self) -> float:
        """Seconds since the gateway last answered, or since the start."""
        return self._clock() - (self._started_at_s if self._heard_at_s is None else self._heard_at_s)

    @property
    def stale(self) -> bool:
        """Whether the silence has lasted longer than it may."""
        return self.silent_s() > STATE_SILENT_S

    def listen(self, listener: Listener) -> None:
        """Call `listener` with every entry, right after the answers above changed. It must not block or raise."""
        self._listeners.append(listener)

    # ---- polling --------------------------------------------------------------------------------------------

    async def run(self) -> NoReturn:
        """Poll until cancelled."""
        try:
            while True:
                await self.poll()
                await asyncio.sleep(STATE_POLL_S)
        finally:
            for reading in self._readings:
                reading.cancel()

    async def again(self) -> None:
        """Read what is new now, for who would act on a word that may have been taken back since the last poll.

        Whoever comes while a reading is under way shares the one after it, which began after they came.
        """
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._read_next(), name="read the state feed again")
            self._readings.add(self._next)
            self._next.add_done_callback(self._readings.discard)
        await asyncio.shield(self._next)

    async def _read_next(self) -> None:
        await asyncio.sleep(max(0.0, self._read_at_s + AGAIN_MIN_S - self._clock()))
        async with self._reading:
            self._next = None
            await self._read()

    async def poll(self) -> bool:
        """Read everything new. Whether the gateway answered."""
        async with self._reading:
            return await self._read()

    async def _read(self) -> bool:
        self._read_at_s = self._clock()
        try:
            for _ in range(PAGES_MAX):
                answer = await self._feed.state(self._after, Deadline.after_ms(ANSWER_MAX_MS))
                self._heard()
                if answer.last < self._after:
                    _log.error("state_feed_went_back", had=self._after, now=answer.last)
                    self._after = 0
                    continue
                for entry in answer.entries:
                    self._apply(entry)
                self._after = max(self._after, answer.last)
                if not answer.entries:
                    self.first.set()
                    break
        except GatewayError as error:
            self._alert(str(error))
            return False
        return True

    def _heard(self) -> None:
        self._heard_at_s = self._clock()
        if self._alerted:
            _log.warning("state_feed_back")
            self._alerted = False

    def _alert(self, reason: str) -> None:
        if self.stale and not self._alerted:
            _log.error("state_feed_silent", silent_s=round(self.silent_s(), 1), reason=reason)
            self._alerted = True

    def _apply(self, entry: StateEntry) -> None:
        subject = entry.subject
        match entry.kind:
            case "revoked_version":
                self._revoked_versions.add(subject)
            case "revoked_key":
                self._trust.revoke(subject)
            case "disabled_install":
                self._disabled_installs.add(subject)
            case "enabled_install":
                self._disabled_installs.discard(subject)
            case "brake":
                self._pull(subject)
            case "brake_released":
                self._brakes.pop(subject, None)
            case "ui_live":
                self._ui_gone.discard(subject)
                self._ui_live.add(subject)
            case "ui_gone":
                self._ui_live.discard(subject)
                self._ui_gone.add(subject)
        for listener in self._listeners:
            listener(entry)

    def _pull(self, subject: str) -> None:
        """Keep a brake. One that a later release knows is reported; the gateway that wrote it refuses such calls."""
        try:
            self._brakes[subject] = brakes.parse(subject)
        except InvalidRequest as error:
            _log.error("brake_not_understood", subject=subject, reason=error.detail)
