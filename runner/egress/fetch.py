"""One execution's fetches, from what the guest wrote to what it is told.

    limits ─▶ method, headers ─▶ allowlist ─▶ a place for the tenant ─▶ secrets ─▶ connection ─▶ answer
                                     ▲                                                            │
                                     └────────────── redirect, when the guest asked for it ◀──────┘

Nothing raises towards the guest: a refusal is one of its four words, and the reason goes to those who can act on it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from functools import lru_cache
from typing import Final

import msgspec
import structlog

from runner.egress.connect import Connector
from runner.egress.failures import AddressDeniedError, Failure, TransportError
from runner.egress.http1 import Answer, Connection, Request, StaleError
from runner.egress.inject import Injected, Secrets, inject, redacted
from runner.egress.policy import EgressPolicy
from runner.egress.pool import Place, Pool
from runner.egress.redirects import next_request, redirect_of
from runner.egress.report import Caller, DeniedTargets, Metrics, Recorder, Report
from runner.egress.resolver import DnsResolver
from runner.egress.slots import BusyError, Slots
from shared.deadline import Deadline
from shared.egress import Allowed, Denied, Entry, EntryError, GuestError, Reason, decide, parse_entry
from shared.egress_request import Outgoing, check_request
from shared.egress_url import Endpoint, UrlError, parse_url
from shared.limits import (
    EGRESS_CALL_MAX_S,
    EGRESS_CONCURRENT_MAX_COUNT,
    EGRESS_FETCHES_MAX_COUNT,
    EGRESS_REQUEST_MAX_BYTES,
    KIB,
    MIB,
)

_log = structlog.get_logger("egress")

_GRANTS_KEPT: Final = 1024  # installs of one worker whose entries stay parsed, about 1 KiB each
_ANSWER_S: Final = 0.05  # before the execution's own end, so that the guest hears of a time-out and can still answer
_REPEATABLE: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})  # RFC 9110 §9.2.2


class Execution(msgspec.Struct, frozen=True):
    """What the fetches of one execution need to know of it.

    Attributes:
        caller: whose they are.
        grants: the install's egress entries, as text.
        deadline: of the execution.
        recorder: takes what the author may read.
        count: told the size of what crosses.
        secrets: opens what is to be injected.
    """

    caller: Caller
    grants: tuple[str, ...]
    deadline: Deadline
    recorder: Recorder
    count: Callable[[int], None]
    secrets: Secrets


class Egress:
    """The way out of one worker.

    Args:
        policy: the operator's part of each decision.
        connector: opens connections.
        pool: keeps them.
        slots: counts what is under way for a tenant.
        report: tells decisions.
    """

    def __init__(self, policy: EgressPolicy, connector: Connector, pool: Pool, slots: Slots, report: Report) -> None:
        self.policy, self.slots, self.report = policy, slots, report
        self._connector, self._pool = connector, pool

    async def exchange(
        self, caller: Caller, any_address: bool, request: Request, count: Callable[[int], None]
    ) -> Answer:
        """One hop, over a kept connection or a new one.

        Raises:
            AddressDeniedError: its host leads to an address that nobody may reach.
            TransportError: there is no answer.
        """
        place = Place.of(caller.tenant, caller.install, request.target)
        kept = self._pool.take(place)
        if kept is not None:
            try:
                return await self._over(kept, place, request, count)
            except StaleError:
                if request.method not in _REPEATABLE:
                    why = "it closed a kept connection; whether it acted on the request is not known"
                    raise TransportError(Failure.BROKEN, why) from None
        fresh = Connection(await self._connector.open(request.target, any_address))
        return await self._over(fresh, place, request, count)

    async def _over(
        self, connection: Connection, place: Place, request: Request, count: Callable[[int], None]
    ) -> Answer:
        try:
            answer = await connection.exchange(request, count)
        except BaseException:
            connection.close()
            raise
        self._pool.give(place, connection)
        return answer


@contextlib.asynccontextmanager
async def open_egress(policy: EgressPolicy, slots: Slots, metrics: Metrics) -> AsyncIterator[Egress]:
    """The way out of one worker; at the end of the block no connection is left.

    Args:
        policy: from the settings.
        slots: of all workers.
        metrics: counts decisions.

    Raises:
        ssl.SSLError: `EXT_EGRESS_CA` holds no certificate.
    """
    if policy.private:
        _log.warning("egress_private_targets", targets=sorted(map(str, policy.private)), meaning="local mode")
    if policy.observe:
        _log.warning("egress_observe_mode", meaning="what the allowlist denies is recorded and let pass")
    pool = Pool()
    connector = Connector(policy, DnsResolver(policy.name_servers))
    try:
        yield Egress(policy, connector, pool, slots, Report(metrics, DeniedTargets()))
    finally:
        await pool.aclose()


class Fetches:
    """The fetches of one execution."""

    def __init__(self, egress: Egress, execution: Execution) -> None:
        self._egress, self._execution = egress, execution
        self._entries: tuple[Entry, ...] | None = None
        self._count = 0

    async def fetch(
        self, method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes
    ) -> Answer | GuestError:
        """The answer, or the guest's word for why there is none."""
        self._count += 1
        if self._count > EGRESS_FETCHES_MAX_COUNT:
            return self._one_too_many()
        if self._entries is None:
            self._entries = grants(self._execution.grants, self._egress.policy.private)
        return await _Fetch(self._egress, self._execution, self._entries, url).run(method, headers, body)

    def _one_too_many(self) -> GuestError:
        execution, report = self._execution, self._egress.report
        if self._count > EGRESS_FETCHES_MAX_COUNT + 1:
            report.uncounted(Reason.TOO_MANY)
        else:
            most = f"an execution makes at most {EGRESS_FETCHES_MAX_COUNT} fetches; do the rest in another one"
            report.denied(execution.caller, execution.recorder, Denied(Reason.TOO_MANY, most), "")
        return Reason.TOO_MANY.guest_error


class _Fetch:
    """One fetch with all its hops."""

    def __init__(self, egress: Egress, execution: Execution, entries: tuple[Entry, ...], url: str) -> None:
        self._egress, self._execution, self._entries = egress, execution, entries
        self._url = url
        self._origin = _origin_of(url)

    async def run(self, method: str, headers: Sequence[tuple[str, str]], body: bytes) -> Answer | GuestError:
        execution, report = self._execution, self._egress.report
        try:
            async with asyncio.timeout(min(EGRESS_CALL_MAX_S, execution.deadline.remaining_s() - _ANSWER_S)):
                outcome = await self._attempt(method, headers, body)
        except TimeoutError:
            outcome = TransportError(Failure.TIMEOUT, "there was no complete answer before the deadline")
        except TransportError as error:
            outcome = error
        except AddressDeniedError as error:
            why = "its host leads to an address that is not public; only public addresses are contacted"
            denied = Denied(Reason.ADDRESS, f"{self._origin}: {why}, and no entry changes that")
            report.denied(execution.caller, execution.recorder, denied, self._origin, why=str(error))
            return denied.reason.guest_error
        if isinstance(outcome, Denied):
            report.denied(execution.caller, execution.recorder, outcome, self._origin)
            return outcome.reason.guest_error
        if isinstance(outcome, TransportError):
            report.failed(execution.caller, execution.recorder, outcome, self._origin)
            return "transport"
        return outcome

    async def _attempt(
        self, method: str, headers: Sequence[tuple[str, str]], body: bytes
    ) -> Answer | Denied | TransportError:
        outgoing = check_request(method, headers)
        if isinstance(outgoing, Denied):
            return outgoing
        if len(body) > EGRESS_REQUEST_MAX_BYTES:
            most = f"{EGRESS_REQUEST_MAX_BYTES // MIB} MiB"
            return TransportError(
                Failure.REQUEST_TOO_LARGE, f"a body of {len(body) // KIB} KiB is larger than {most}; send it in parts"
            )
        hop = self._decide(self._url)
        if isinstance(hop, Denied):
            return hop
        try:
            async with self._egress.slots.one(self._execution.caller.tenant):
                return await self._follow(hop, outgoing, body)
        except BusyError:
            most = f"at most {EGRESS_CONCURRENT_MAX_COUNT} fetches of a tenant are under way at once"
            return Denied(Reason.TOO_MANY_AT_ONCE, f"{most}; try again when others have ended")

    async def _follow(self, hop: Allowed, outgoing: Outgoing, body: bytes) -> Answer | Denied:
        """The answer of the last hop."""
        request = Request(outgoing.method, hop.target, outgoing.headers, body)
        values: dict[str, None] = {}
        left = outgoing.redirects_max
        while True:
            filled = await inject(request.headers, request.target, self._execution.secrets)
            if isinstance(filled, Denied):
                return filled
            values |= dict.fromkeys(filled.values)
            answer = await self._exchange(request, filled, hop.any_address)
            url = redirect_of(answer, request.target) if outgoing.redirects_max else None
            if url is None:
                return await redacted(answer, tuple(values))
            if left == 0:
                most = f"it redirects more than {outgoing.redirects_max} times, which is what the request allows"
                return Denied(Reason.REDIRECT, f"{self._origin}: {most}")
            left -= 1
            verdict = self._decide(url)
            if isinstance(verdict, Denied):
                why = f"{request.target.origin} redirects to where this install may not go: {verdict.detail}"
                return Denied(Reason.REDIRECT, why, verdict.would_allow)
            hop, request = verdict, next_request(request, answer.status, verdict.target)

    async def _exchange(self, request: Request, filled: Injected, any_address: bool) -> Answer:
        execution = self._execution
        sent = Request(request.method, request.target, filled.headers, request.body)
        return await self._egress.exchange(execution.caller, any_address, sent, execution.count)

    def _decide(self, url: str) -> Allowed | Denied:
        """Whether this hop may go out; in observe mode what the allowlist is against is told and goes out."""
        execution, egress = self._execution, self._egress
        verdict = decide(url, self._entries, egress.policy.fence, egress.policy.private)
        self._origin = _origin_of(url)
        if isinstance(verdict, Allowed):
            egress.report.allowed(execution.caller, self._origin)
            return verdict
        target = verdict.target
        if target is None or not egress.policy.observe or verdict.would_allow is None:
            return verdict
        egress.report.observed(execution.caller, execution.recorder, verdict, self._origin)
        return Allowed(target, verdict.would_allow, verdict.any_address)


def _origin_of(url: str) -> str:
    """What a log may say of a URL; nothing when it is none."""
    try:
        return parse_url(url).origin
    except UrlError:
        return ""


@lru_cache(maxsize=_GRANTS_KEPT)
def grants(texts: tuple[str, ...], private: frozenset[Endpoint]) -> tuple[Entry, ...]:
    """An install's entries, parsed once. One outside the grammar never matches: whoever granted it was refused."""
    entries: list[Entry] = []
    for text in texts:
        try:
            entries.append(parse_entry(text, private))
        except EntryError:
            continue
    return tuple(entries)
