"""What happened to an install, newest first, and what each change of version replaced."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec
from psycopg.rows import class_row

from gateway.store.installs import Granted, Install
from gateway.store.pool import Tx

Action = Literal["install", "upgrade", "rollback", "uninstall", "consent_asked", "consent_declined", "grants"]


class Replaced(msgspec.Struct, frozen=True, kw_only=True):
    """What an install was before its version changed: enough to be that again.

    Attributes:
        free_secrets: names of secrets that were set for a manifest that names none, and so need no grant.
        config: its settings, as JSON.
    """

    version_id: str
    capabilities: Sequence[str]
    egress: Sequence[str]
    secrets: Sequence[str]
    free_secrets: Sequence[str] = ()
    config: msgspec.Raw = msgspec.Raw(b"{}")

    @property
    def granted(self) -> Granted:
        """Its grants."""
        return Granted(capabilities=self.capabilities, egress=self.egress, secrets=self.secrets)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened; the grants are those after it."""

    id: int
    action: Action
    version: str
    version_id: str
    granted_caps: list[str]
    granted_egress: list[str]
    granted_secrets: list[str]
    actor: str
    created_at: datetime


_replaced: Final = msgspec.json.Decoder(Replaced)


async def add(
    tx: Tx,
    *,
    install: Install,
    action: Action,
    actor: str,
    version_id: str | None = None,
    replaced: Replaced | None = None,
) -> None:
    """Remember what happened.

    Args:
        install: as it is after it.
        version_id: the version that it was about; the install's own when left out.
        replaced: what a change of version replaced.
    """
    await tx.execute(
        """insert into install_version_history
             (tenant_id, install_id, version_id, action, granted_caps, granted_egress, granted_secrets, actor, replaced)
           values (%s, %s, %s, %s, %s, %s, %s, %s, %s)""",
        (
            install.tenant_id,
            install.id,
            version_id or install.version_id,
            action,
            install.granted_caps,
            install.granted_egress,
            install.granted_secrets,
            actor,
            None if replaced is None else msgspec.json.encode(replaced).decode(),
        ),
    )


async def page(tx: Tx, install_id: str, before: int | None, limit: int) -> list[Entry]:
    """What happened, newest first, strictly before the entry `before`."""
    async with tx.cursor(row_factory=class_row(Entry)) as cursor:
        await cursor.execute(
            """select h.id, h.action, v.version, h.version_id, h.granted_caps, h.granted_egress, h.granted_secrets,
                      h.actor, h.created_at
                 from install_version_history h join extension_version v on v.id = h.version_id
                where h.install_id = %(install)s and (%(before)s::bigint is null or h.id < %(before)s::bigint)
                order by h.id desc limit %(limit)s""",
            {"install": install_id, "before": before, "limit": limit},
        )
        return await cursor.fetchall()


async def before(tx: Tx, install_id: str, version_id: str) -> str | None:
    """The version that ran before `version_id` became the install's by its last upgrade to it; none when it began so.

    Rollbacks do not count: going back twice goes back two versions, not forth again.
    """
    cursor = await tx.execute(
        """select replaced->>'version_id' from install_version_history
            where install_id = %(install)s and version_id = %(version)s and action = 'upgrade' and replaced is not null
              and id > (select coalesce(max(id), 0) from install_version_history
                         where install_id = %(install)s and action = 'install')
            order by id desc limit 1""",
        {"install": install_id, "version": version_id},
    )
    row = await cursor.fetchone()
    return None if row is None else str(row[0])


async def left(tx: Tx, install_id: str, version_id: str) -> Replaced | None:
    """What the install was when it ran `version_id` for the last time; `None` when it never did.

    What ran before an install was uninstalled and brought back does not count: consent was asked for anew. From before changes were remembered whole, the grants at the last entry about that version stand for it.
    """
    cursor = await tx.execute(
        """select coalesce(replaced_by.replaced, jsonb_build_object(
                    'version_id', h.version_id, 'capabilities', to_jsonb(h.granted_caps),
                    'egress', to_jsonb(h.granted_egress), 'secrets', to_jsonb(h.granted_secrets)))
             from (select * from install_version_history
                    where install_id = %(install)s and version_id = %(version)s
                      and action in ('install', 'upgrade', 'rollback', 'grants') and id >= (
                        select coalesce(max(id), 0) from install_version_history
                         where install_id = %(install)s and action = 'install')
                    order by id desc limit 1) as h
             left join lateral (
               select replaced from install_version_history r
                where r.install_id = %(install)s and r.replaced->>'version_id' = %(version)s::text and r.id > h.id
                order by r.id desc limit 1) as replaced_by on true""",
        {"install": install_id, "version": version_id},
    )
    row = await cursor.fetchone()
    return None if row is None else _replaced.decode(row[0])
