"""Asks for each call whether its tenant and its install may make one more now, and gives its place back at the end.

All gateways count together in Redis; calls that come while one round trip is under way share the next. While Redis
does not answer each gateway grants its part, the limits divided by the gateways that were last heard of, and nobody
waits for Redis: a heartbeat finds out when it is back.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from gateway.policy.rates import REFUSALS, Ask, LocalRates, Plan, Verdict, fields, refusal
from gateway.streams.rates import RatesAwayError, SharedRates, open_shared_rates
from shared.call_limits import (
    LEASE_GRACE_MS,
    RATES_ANSWER_MAX_MS,
    RATES_BATCH_MAX_COUNT,
    RATES_GIVEN_BACK_MAX_COUNT,
    RATES_PROBE_S,
)

if TYPE_CHECKING:
    from gateway.settings import GatewaySettings

_SHARED: Final = "all gateways"
_LOCAL: Final = "this gateway"

_log = structlog.get_logger(__name__)


class Place:
    """A call's place among those under way; `Limiter.leave` gives it back.

    Attributes:
        fields: header fields of the answer, which tell the client how much is left.
    """

    __slots__ = ("ask", "fields", "shared")

    def __init__(self, ask: Ask, fields: dict[str, str], *, shared: bool) -> None:
        self.ask = ask
        self.fields = fields
        self.shared = shared


class Limiter:
    """The rates of one process. Built by `open_limiter`.

    Args:
        plan: what all gateways together may grant.
        rates: Redis; none: this gateway is the only one, or each counts for itself.
        metrics: counts refusals, and shows whether Redis is asked.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        plan: Plan,
        rates: SharedRates | None,
        metrics: CollectorRegistry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.plan = plan
        self._rates = rates
        self._clock = clock
        self._local = LocalRates()
        self._gateways = 1
        self._away = rates is None
        self._waiting: deque[tuple[Ask, asyncio.Future[Verdict]]] = deque()
        self._ended: deque[Ask] = deque()
        self._somebody_waits = asyncio.Event()
        self._something_ended = asyncio.Event()
        self._id = str(uuid.uuid4())
        self._refused = Counter(
            "ext_rate_limited_total",
            "Calls refused by a rate or by calls under way.",
            ["scope", "kind"],
            registry=metrics,
        )
        self._shared = Gauge("ext_rates_shared", "1 while all gateways count together in Redis.", registry=metrics)
        self._shared.set(0 if self._away else 1)

    @property
    def away(self) -> bool:
        """Whether this gateway counts by itself."""
        return self._away

    async def enter(self, tenant_id: str, install_id: str, timeout_ms: int) -> Place:
        """A place for one call.

        Args:
            tenant_id, install_id: validated ids.
            timeout_ms: the call's time; the place is free a grace after it at the latest.

        Raises:
            RateLimited: too many calls a second, or too many of the install under way; says which and when to come.
            TenantOverConcurrency: too many of the tenant under way.
        """
        ask = Ask(
            lease_id=uuid.uuid4().hex,
            tenant_id=tenant_id,
            install_id=install_id,
            lease_ms=timeout_ms + LEASE_GRACE_MS,
        )
        verdict = None if self._away else await self._ask_all(ask)
        shared = verdict is not None
        plan = self.plan if shared else self.plan.share(self._gateways)
        if verdict is None:
            verdict = self._local.ask(plan, ask, int(self._clock() * 1e6))
        if verdict.refused:
            scope, kind = REFUSALS[verdict.refused - 1]
            self._refused.labels(scope, kind).inc()
            raise refusal(plan, verdict, _SHARED if shared else _LOCAL)
        return Place(ask, fields(plan, verdict), shared=shared)

    def leave(self, place: Place) -> None:
        """The call ended. Returns at once."""
        if not place.shared:
            self._local.give_back(place.ask)
        elif not self._away and len(self._ended) < RATES_GIVEN_BACK_MAX_COUNT:  # else it ends by itself
            self._ended.append(place.ask)
            self._something_ended.set()

    async def ask_for_ever(self) -> None:
        """Ask Redis for those who wait, batch after batch."""
        while True:
            await self._somebody_waits.wait()
            self._somebody_waits.clear()
            while self._waiting:
                count = min(len(self._waiting), RATES_BATCH_MAX_COUNT)
                await self._ask_batch([self._waiting.popleft() for _ in range(count)])

    async def give_back_for_ever(self) -> None:
        """Tell Redis which calls ended, behind their answers."""
        assert self._rates is not None
        while True:
            await self._something_ended.wait()
            self._something_ended.clear()
            while self._ended:
                batch = [self._ended.popleft() for _ in range(min(len(self._ended), RATES_BATCH_MAX_COUNT))]
                try:
                    await self._rates.give_back(batch)
                except RatesAwayError as error:
                    self._lost(error)
                    self._ended.clear()  # they end by themselves

    async def live_for_ever(self) -> None:
        """Say that this gateway lives, learn how many do, and notice when Redis is back."""
        assert self._rates is not None
        while True:
            try:
                self._gateways = await self._rates.heartbeat(self._id)
            except RatesAwayError as error:
                self._lost(error)
            else:
                self._found()
            await asyncio.sleep(RATES_PROBE_S)

    async def goodbye(self) -> None:
        """Leave this gateway's share to the others, if Redis can be told."""
        if self._rates is not None and not self._away:
            with suppress(RatesAwayError):
                await self._rates.leave(self._id)

    async def _ask_all(self, ask: Ask) -> Verdict | None:
        """What Redis says; none when it does not answer."""
        verdict: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self._waiting.append((ask, verdict))
        self._somebody_waits.set()
        try:
            async with asyncio.timeout(2 * RATES_ANSWER_MAX_MS / 1000):  # the batch before, and the one it joins
                return await verdict
        except (RatesAwayError, TimeoutError):
            return None

    async def _ask_batch(self, batch: list[tuple[Ask, asyncio.Future[Verdict]]]) -> None:
        assert self._rates is not None
        try:
            verdicts = await self._rates.ask(self.plan, [ask for ask, _ in batch])
        except RatesAwayError as error:
            self._lost(error)
            for _, waiting in batch:
                if not waiting.done():
                    waiting.set_exception(RatesAwayError(str(error)))
            return
        except asyncio.CancelledError:
            for _, waiting in batch:
                waiting.cancel()
            raise
        for (ask, waiting), verdict in zip(batch, verdicts, strict=True):
            if not waiting.done():
                waiting.set_result(verdict)
            elif not verdict.refused:  # its caller has gone meanwhile
                self.leave(Place(ask, {}, shared=True))

    def _lost(self, error: RatesAwayError) -> None:
        if not self._away:
            _log.warning("rates_counted_locally", gateways=self._gateways, error=str(error))
        self._away = True
        self._shared.set(0)

    def _found(self) -> None:
        if self._away:
            _log.info("rates_counted_together", gateways=self._gateways)
        self._away = False
        self._shared.set(1)


@asynccontextmanager
async def open_limiter(settings: GatewaySettings, metrics: CollectorRegistry) -> AsyncIterator[Limiter]:
    """The rates of one process. Redis need not be there, now or ever."""
    plan = Plan(
        tenant_per_s=settings.tenant_calls_per_s,
        install_per_s=settings.install_calls_per_s,
        tenant_running=settings.tenant_running_max,
        install_running=settings.install_running_max,
    )
    if settings.redis_url is None:
        _log.warning("rates_counted_locally", reason="GATEWAY_REDIS_URL is not set: every gateway counts for itself")
        yield Limiter(plan, None, metrics)
        return
    async with open_shared_rates(settings.redis_url) as rates:
        limiter = Limiter(plan, rates, metrics)
        loops = (limiter.ask_for_ever(), limiter.give_back_for_ever(), limiter.live_for_ever())
        tasks = [asyncio.create_task(loop, name="rates") for loop in loops]
        try:
            yield limiter
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await limiter.goodbye()
