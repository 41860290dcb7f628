"""What an administrator sees of an install's deliveries, and the second chance of dead letters."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import msgspec

from gateway.identity.actor import Actor
from gateway.store import audit_log, installs
from gateway.store import deliveries as statements
from gateway.store.deliveries import Delivery, State
from gateway.store.pool import Database, Tx
from shared.errors import NotFound, NotInstalled
from shared.limits import EVENT_DEAD_MAX_COUNT


class DeliveryView(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery over REST: which event, how far it came, what went wrong last. Never what the event says.

    Attributes:
        attempts: how often the handler was, or was about to be, called.
        failures: how many of those count against the extension.
        next_attempt_at: while it waits; the end of the lease while it runs.
        execution_id: of the last attempt, in the execution log.
    """

    event_id: str
    source: str
    type: str
    subject: str | None
    time: datetime
    hops: int
    state: State
    attempts: int
    failures: int
    next_attempt_at: datetime | None
    last_status: int | None
    last_code: str | None
    last_error: str | None
    execution_id: str | None
    created_at: datetime
    finished_at: datetime | None


class Redelivered(msgspec.Struct, frozen=True):
    """How many dead letters wait again."""

    redelivered: int


class Deliveries:
    """The deliveries of every tenant's installs, one install at a time.

    Args:
        store: where they are.
        wake: called after a commit that made deliveries due.
    """

    def __init__(self, store: Database, wake: Callable[[], None]) -> None:
        self._store, self._wake = store, wake

    async def page(
        self, actor: Actor, install_id: str, state: State | None, before: tuple[datetime, str] | None, limit: int
    ) -> list[Delivery]:
        """Deliveries to an install, the newest first. Raises `NotInstalled`."""
        async with self._store.tenant(actor.tenant_id) as tx:
            await _check_present(tx, install_id)
            return await statements.deliveries(
                tx, tenant_id=actor.tenant_id, install_id=install_id, state=state, before=before, limit=limit
            )

    async def redeliver(self, actor: Actor, install_id: str, event_id: str | None) -> Redelivered:
        """Let one dead letter wait again, or all that are kept.

        Raises:
            NotInstalled: there is no such install.
            NotFound: the one asked for is no dead letter of it.
        """
        async with self._store.tenant(actor.tenant_id) as tx:
            await _check_present(tx, install_id)
            count = await statements.redeliver(
                tx,
                tenant_id=actor.tenant_id,
                install_id=install_id,
                event_id=event_id,
                limit=EVENT_DEAD_MAX_COUNT,
            )
            if event_id is not None and not count:
                raise NotFound("this event is no dead letter of the install; `GET …/events/dead` lists those it has")
            await audit_log.record(
                tx, actor.did("events.redelivered", "install", install_id, event=event_id, count=count)
            )
        self._wake()
        return Redelivered(count)


def view(row: Delivery) -> DeliveryView:
    """The view of a row."""
    return DeliveryView(
        event_id=row.event_id,
        source=row.source,
        type=row.topic,
        subject=row.subject,
        time=row.occurred_at,
        hops=row.hops,
        state=row.state,
        attempts=row.attempt,
        failures=row.failures,
        next_attempt_at=row.due_at if row.state == "waiting" else None,
        last_status=row.http_status,
        last_code=row.code,
        last_error=row.detail,
        execution_id=row.execution_id,
        created_at=row.created_at,
        finished_at=row.finished_at,
    )


async def _check_present(tx: Tx, install_id: str) -> None:
    install = await installs.by_id(tx, install_id)
    if install is None or install.status == "uninstalled":
        raise NotInstalled("no such extension is installed for this tenant")
