"""Boxes of every tenant, so that they can be sealed anew for another key; nothing else about them can be changed here."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from psycopg.rows import class_row

from gateway.store.pool import Tx


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """One box and whose it is."""

    install_id: str
    tenant_id: str
    registry_id: str
    name: str
    algorithm: str
    key_id: str
    ciphertext: bytes


class KeyUse(msgspec.Struct, frozen=True, kw_only=True):
    """How many boxes name a key."""

    algorithm: str
    key_id: str
    count: int


async def of_other_keys(tx: Tx, key_id: str, after: tuple[str, str] | None, limit: int) -> list[Sealed]:
    """Boxes that name another key than `key_id`, ordered by install and name, strictly after that place."""
    install_id, name = after or (None, "")
    async with tx.cursor(row_factory=class_row(Sealed)) as cursor:
        await cursor.execute(
            """select s.install_id, s.tenant_id, i.registry_id, s.name, s.algorithm, s.key_id, s.ciphertext
                 from tenant_extension_install_secrets s join tenant_extension_install i on i.id = s.install_id
                where s.key_id <> %(key_id)s
                  and (%(install_id)s::uuid is null or (s.install_id, s.name) > (%(install_id)s::uuid, %(name)s))
                order by s.install_id, s.name limit %(limit)s""",
            {"key_id": key_id, "install_id": install_id, "name": name, "limit": limit},
        )
        return await cursor.fetchall()


async def replace(tx: Tx, old: Sealed, *, algorithm: str, key_id: str, ciphertext: bytes) -> bool:
    """Put another box in the place of `old`; not when somebody wrote there in the meantime. Whether it was done."""
    cursor = await tx.execute(
        """update tenant_extension_install_secrets set algorithm = %s, key_id = %s, ciphertext = %s
            where install_id = %s and name = %s and key_id = %s and ciphertext = %s""",
        (algorithm, key_id, ciphertext, old.install_id, old.name, old.key_id, old.ciphertext),
    )
    return cursor.rowcount == 1


async def key_uses(tx: Tx) -> Sequence[KeyUse]:
    """Every key that a box names, the most used first."""
    async with tx.cursor(row_factory=class_row(KeyUse)) as cursor:
        await cursor.execute(
            """select algorithm, key_id, count(*) as count from tenant_extension_install_secrets
                group by algorithm, key_id order by count(*) desc, algorithm, key_id"""
        )
        return await cursor.fetchall()
