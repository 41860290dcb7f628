"""Abuse, noticed by the clock: versions that break out of their sandbox, publishers that guess, subjects that spend.

    sandbox_violations   a version whose sandboxes died so `ABUSE_VIOLATIONS_MAX_COUNT` times within ten minutes: a brake
    signature_failures   a publisher with `ABUSE_SIGNATURE_FAILURES_MAX_COUNT` refused signatures an hour: suspended
    cpu_spend            a tenant or publisher above its CPU seconds in the last hour: an alert, nothing is stopped
    egress_spend         likewise for bytes

What is stopped stays so until an operator releases it; what happened before that is not counted again. Every gateway
counts; the brake's own uniqueness keeps two of them from acting twice.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from gateway.registry.operator import AUTOMATIC, OPERATOR, suspend
from gateway.store import audit_log
from gateway.store.audit_log import Change
from gateway.store.platform import abuse, brakes, garbage, publishers, revocations
from gateway.store.platform.abuse import Counted, Kind, Spent, SubjectKind
from gateway.store.pool import Database, Tx
from shared.brakes import Brake
from shared.registry_limits import (
    ABUSE_LEASE_S,
    ABUSE_PUBLISHER_CPU_MAX_S,
    ABUSE_PUBLISHER_EGRESS_MAX_BYTES,
    ABUSE_SIGNATURE_FAILURES_MAX_COUNT,
    ABUSE_TENANT_CPU_MAX_S,
    ABUSE_TENANT_EGRESS_MAX_BYTES,
    ABUSE_VIOLATIONS_MAX_COUNT,
    ABUSE_VIOLATIONS_WINDOW_MINUTES,
    ALERTS_OPEN_MAX_COUNT,
)

KINDS: Final[tuple[Kind, ...]] = ("sandbox_violations", "signature_failures", "cpu_spend", "egress_spend")
SPEND_LEASE: Final = "abuse spend"

_CPU_MAX_MS: Final[dict[SubjectKind, int]] = {
    "tenant": ABUSE_TENANT_CPU_MAX_S * 1000,
    "publisher": ABUSE_PUBLISHER_CPU_MAX_S * 1000,
}
_EGRESS_MAX_BYTES: Final[dict[SubjectKind, int]] = {
    "tenant": ABUSE_TENANT_EGRESS_MAX_BYTES,
    "publisher": ABUSE_PUBLISHER_EGRESS_MAX_BYTES,
}

_log = structlog.get_logger(__name__)


class AbuseMetrics:
    """What the watch shows to monitoring. Labels are the kinds, never a tenant.

    Args:
        registry: what `/metrics` renders.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.open = Gauge("ext_abuse_alerts_open", "Alerts nobody has resolved.", ("kind",), registry=registry)
        self.stopped = Counter(
            "ext_abuse_suspensions_total", "Versions and publishers this gateway stopped.", ("kind",), registry=registry
        )
        self.cpu = Gauge(
            "ext_abuse_hour_cpu_seconds", "CPU of the last hour: the most one of them used.", ("of",), registry=registry
        )
        self.egress = Gauge(
            "ext_abuse_hour_egress_bytes", "Egress of the last hour: the most of one.", ("of",), registry=registry
        )


def abuse_watch(store: Database, metrics: AbuseMetrics, *, limited: bool) -> Callable[[], Awaitable[None]]:
    """The turn that stops what has to be stopped. `limited`: whether publishers can be suspended here."""

    async def watch() -> None:
        async with store.platform() as tx:
            violating = await abuse.violating(
                tx, most=ABUSE_VIOLATIONS_MAX_COUNT, minutes=ABUSE_VIOLATIONS_WINDOW_MINUTES
            )
            failing = await abuse.failing(tx, most=ABUSE_SIGNATURE_FAILURES_MAX_COUNT) if limited else []
            await abuse.forget_refusals(tx)
        for version in violating:
            async with store.platform() as tx:
                if await _stop_version(tx, version):
                    metrics.stopped.labels("sandbox_violations").inc()
        for publisher in failing:
            async with store.platform() as tx:
                if await _stop_publisher(tx, publisher):
                    metrics.stopped.labels("signature_failures").inc()
        async with store.platform() as tx:
            counts = {one.kind: one.times for one in await abuse.open_counts(tx)}
        for kind in KINDS:
            metrics.open.labels(kind).set(counts.get(kind, 0))

    return watch


def spend_watch(store: Database, metrics: AbuseMetrics, holder: str | None = None) -> Callable[[], Awaitable[None]]:
    """The turn that adds up an hour of the log; one gateway at a time, because that reads much of it.

    Args:
        holder: whose the lease is, when it is not this process's.
    """
    holder = holder or f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4()}"

    async def watch() -> None:
        async with store.platform() as tx:
            if await garbage.take(tx, SPEND_LEASE, holder, ABUSE_LEASE_S) is None:
                return
            spent = await abuse.spent(tx)
            await _judge(tx, "cpu_spend", [(one, one.cpu_ms, _CPU_MAX_MS[one.subject_kind]) for one in spent])
            await _judge(
                tx, "egress_spend", [(one, one.egress_bytes, _EGRESS_MAX_BYTES[one.subject_kind]) for one in spent]
            )
        for kind in _CPU_MAX_MS:
            of_kind = [one for one in spent if one.subject_kind == kind]
            metrics.cpu.labels(kind).set(max((one.cpu_ms for one in of_kind), default=0) / 1000)
            metrics.egress.labels(kind).set(max((one.egress_bytes for one in of_kind), default=0))

    return watch


async def _stop_version(tx: Tx, counted: Counted) -> bool:
    reason = (
        f"its sandboxes died as sandbox_violation {counted.times} times within {ABUSE_VIOLATIONS_WINDOW_MINUTES} minutes;"
        f" {ABUSE_VIOLATIONS_MAX_COUNT} are tolerated less one"
    )
    version = await revocations.find(tx, counted.subject)
    brake = Brake("version", counted.subject)
    if await brakes.active_id(tx, brake) is not None:
        return False
    if version is not None:
        await audit_log.record(tx, _noticed("version.stopped", "version", version.id, version.owner_account, reason))
    row, fresh = await brakes.pull(tx, brake, reason=reason, by=AUTOMATIC)
    await abuse.raise_alert(
        tx,
        "sandbox_violations",
        "version",
        counted.subject,
        reason=reason,
        measured=counted.times,
        allowed=ABUSE_VIOLATIONS_MAX_COUNT - 1,
        brake_id=row.id,
    )
    if fresh:
        _log.error("version_stopped", version_id=counted.subject, reason=reason)
    return fresh


async def _stop_publisher(tx: Tx, counted: Counted) -> bool:
    reason = (
        f"{counted.times} signatures were refused within an hour;"
        f" a publisher may have {ABUSE_SIGNATURE_FAILURES_MAX_COUNT - 1}"
    )
    publisher = await publishers.locked(tx, counted.subject)
    if publisher is None or publisher.suspended_at is not None:
        return False
    await audit_log.record(
        tx, _noticed("publisher.suspended", "publisher", publisher.name, publisher.owner_account, reason)
    )
    brake_id = await suspend(tx, counted.subject, reason=reason, by=AUTOMATIC)
    await abuse.raise_alert(
        tx,
        "signature_failures",
        "publisher",
        counted.subject,
        reason=reason,
        measured=counted.times,
        allowed=ABUSE_SIGNATURE_FAILURES_MAX_COUNT - 1,
        brake_id=brake_id,
    )
    _log.error("publisher_suspended", publisher=counted.subject, reason=reason)
    return True


async def _judge(tx: Tx, kind: Kind, spent: list[tuple[Spent, int, int]]) -> None:
    above = sorted((one for one in spent if one[1] > one[2]), key=lambda one: one[1], reverse=True)
    for subject, measured, allowed in above[:ALERTS_OPEN_MAX_COUNT]:
        unit = "CPU milliseconds" if kind == "cpu_spend" else "bytes of egress"
        reason = f"{measured} {unit} in the last hour; the alert is at {allowed}"
        fresh = await abuse.raise_alert(
            tx, kind, subject.subject_kind, subject.subject, reason=reason, measured=measured, allowed=allowed
        )
        if fresh:
            _log.warning("spend_alert", kind=kind, of=subject.subject_kind, subject=subject.subject, reason=reason)
    await abuse.resolve_spend(tx, kind, [(subject.subject_kind, subject.subject) for subject, _, _ in above])


def _noticed(action: str, subject_kind: str, subject_id: str, account: str, reason: str) -> Change:
    return Change(
        tenant_id=account,
        actor=AUTOMATIC,
        actor_kind=OPERATOR,
        action=action,
        subject_kind=subject_kind,
        subject_id=subject_id,
        detail={"reason": reason},
    )
