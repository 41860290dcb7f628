"""Sign-ins to the console, found by the hash of their secret before any tenant is known."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec
from psycopg.rows import class_row

from gateway.store.pool import Tx


class ConsoleSession(msgspec.Struct, frozen=True, kw_only=True):
    """One sign-in: who it speaks for, and until when."""

    id: str
    tenant_id: str
    subject: str
    kind: Literal["session", "api_key"]
    permissions: list[str]
    email: str
    name: str
    expires_at: datetime


async def insert(tx: Tx, session: ConsoleSession, secret_sha256: bytes) -> None:
    """Store a new sign-in."""
    await tx.execute(
        """insert into console_session
             (id, secret_sha256, tenant_id, subject, kind, permissions, email, name, expires_at)
           values (%s, %s, %s, %s, %s, %s, %s, %s, %s)""",
        (
            session.id,
            secret_sha256,
            session.tenant_id,
            session.subject,
            session.kind,
            session.permissions,
            session.email,
            session.name,
            session.expires_at,
        ),
    )


async def find(tx: Tx, secret_sha256: bytes) -> ConsoleSession | None:
    """The sign-in with this secret, unless it has ended, or the API key it was made from was revoked since."""
    async with tx.cursor(row_factory=class_row(ConsoleSession)) as cursor:
        await cursor.execute(
            """select s.id, s.tenant_id, s.subject, s.kind, s.permissions, s.email, s.name, s.expires_at
                 from console_session s
                 left join api_key k on s.kind = 'api_key' and k.id = s.subject
                where s.secret_sha256 = %s and s.expires_at > now()
                  and (s.kind <> 'api_key' or (k.id is not null and k.revoked_at is null))""",
            (secret_sha256,),
        )
        return await cursor.fetchone()


async def remove(tx: Tx, session_id: str) -> bool:
    """End a sign-in; whether there was one to end."""
    cursor = await tx.execute("delete from console_session where id = %s", (session_id,))
    return cursor.rowcount == 1


async def remove_ended(tx: Tx) -> int:
    """Forget sign-ins whose time is over; how many."""
    cursor = await tx.execute("delete from console_session where expires_at < now()")
    return cursor.rowcount
