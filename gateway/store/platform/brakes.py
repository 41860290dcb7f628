"""Emergency brakes: rows that say who stopped what and why, and the entries of the state feed that make it so."""

from __future__ import annotations

from datetime import datetime

import msgspec
from psycopg.rows import class_row, scalar_row

from gateway.store import feed
from gateway.store.platform import uis
from gateway.store.pool import Database, Tx
from shared.brakes import Brake, Scope


class BrakeRow(msgspec.Struct, frozen=True, kw_only=True):
    """One brake; `released_at` is none while it is pulled."""

    id: str
    scope: Scope
    name: str
    subject: str
    reason: str
    pulled_by: str
    since: datetime
    released_at: datetime | None
    released_by: str | None

    @property
    def brake(self) -> Brake:
        """What it stops."""
        return Brake(self.scope, self.name)


class Subject(msgspec.Struct, frozen=True):
    """One brake as the feed writes it."""

    subject: str


_COLUMNS = "id, scope, name, subject, reason, pulled_by, since, released_at, released_by"


async def pulled(store: Database) -> list[str]:
    """The subjects of every brake that is pulled; in one exchange, since every gateway asks every second."""
    found = await store.ask_platform("select subject from emergency_brake where released_at is null", (), Subject)
    return [row.subject for row in found]


async def pull(tx: Tx, brake: Brake, *, reason: str, by: str) -> tuple[BrakeRow, bool]:
    """Pull a brake, unless it is pulled; the row, and whether it is a new one."""
    async with tx.cursor(row_factory=class_row(BrakeRow)) as cursor:
        await cursor.execute(
            f"""insert into emergency_brake (scope, name, reason, pulled_by) values (%s, %s, %s, %s)
                on conflict (subject) where released_at is null do nothing returning {_COLUMNS}""".encode(),  # noqa: S608
            (brake.scope, brake.name, reason, by),
        )
        fresh = await cursor.fetchone()
        if fresh is not None:
            await feed.append(tx, "brake", brake.subject)
            await uis.retire(tx, brake)
            return fresh, True
        await cursor.execute(
            f"select {_COLUMNS} from emergency_brake where subject = %s and released_at is null".encode(),  # noqa: S608
            (brake.subject,),
        )
        present = await cursor.fetchone()
    if present is None:  # released between the two statements: then it was not pulled, and is now
        return await pull(tx, brake, reason=reason, by=by)
    return present, False


async def release(tx: Tx, brake_id: str, by: str) -> BrakeRow | None:
    """Release a brake; none when there is no such brake that is pulled."""
    async with tx.cursor(row_factory=class_row(BrakeRow)) as cursor:
        await cursor.execute(
            f"""update emergency_brake set released_at = now(), released_by = %s
                 where id = %s and released_at is null returning {_COLUMNS}""".encode(),  # noqa: S608
            (by, brake_id),
        )
        found = await cursor.fetchone()
    if found is not None:
        await feed.append(tx, "brake_released", found.subject)
        await uis.revive(tx, found.brake)
    return found


async def by_id(tx: Tx, brake_id: str) -> BrakeRow | None:
    """One brake, pulled or not."""
    async with tx.cursor(row_factory=class_row(BrakeRow)) as cursor:
        await cursor.execute(f"select {_COLUMNS} from emergency_brake where id = %s".encode(), (brake_id,))  # noqa: S608
        return await cursor.fetchone()


async def active_id(tx: Tx, brake: Brake) -> str | None:
    """The id of the pulled brake on a subject; none when it is not pulled."""
    async with tx.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            "select id from emergency_brake where subject = %s and released_at is null", (brake.subject,)
        )
        found = await cursor.fetchone()
    return None if found is None else str(found)


async def page(tx: Tx, *, active: bool | None, after: tuple[datetime, str] | None, limit: int) -> list[BrakeRow]:
    """Brakes, the newest first, strictly after `after`; only pulled or only released ones when asked."""
    async with tx.cursor(row_factory=class_row(BrakeRow)) as cursor:
        await cursor.execute(
            f"""select {_COLUMNS} from emergency_brake
                 where (%(active)s::boolean is null or (released_at is null) = %(active)s)
                   and (%(at)s::timestamptz is null or (since, id) < (%(at)s::timestamptz, %(id)s::uuid))
                 order by since desc, id desc limit %(limit)s""".encode(),  # noqa: S608
            {"active": active, "at": after[0] if after else None, "id": after[1] if after else None, "limit": limit},
        )
        return await cursor.fetchall()
