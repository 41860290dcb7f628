"""Secrets of a tenant's installs, as boxes. What is read back here is everything but the box."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
from psycopg.rows import class_row

from gateway.store.installs import Install
from gateway.store.pool import Tx


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about one secret.

    Attributes:
        version: of the install's secrets when this one was written.
        asked: whether it was set for a manifest that asked for it by name.
    """

    name: str
    algorithm: str
    key_id: str
    hosts: list[str]
    version: int
    expires_at: datetime | None
    asked: bool
    updated_by: str
    updated_at: datetime


class Box(msgspec.Struct, frozen=True, kw_only=True):
    """One secret to be written."""

    name: str
    algorithm: str
    key_id: str
    ciphertext: bytes
    hosts: Sequence[str]
    expires_at: datetime | None
    asked: bool


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """Where and how long one secret may be used."""

    name: str
    hosts: Sequence[str]
    expires_at: datetime | None


async def of_install(tx: Tx, install_id: str) -> list[Secret]:
    """Every secret of an install, by name."""
    async with tx.cursor(row_factory=class_row(Secret)) as cursor:
        await cursor.execute(
            """select name, algorithm, key_id, hosts, version, expires_at, asked, updated_by, updated_at
                 from tenant_extension_install_secrets where install_id = %s order by name""",
            (install_id,),
        )
        return await cursor.fetchall()


async def version(tx: Tx, install_id: str) -> int:
    """Of the install's secrets together; 0 when none was ever written."""
    cursor = await tx.execute("select secrets_version from tenant_extension_install where id = %s", (install_id,))
    row = await cursor.fetchone()
    return 0 if row is None else int(row[0])


async def changed(tx: Tx, install_id: str, granted: Sequence[str]) -> int:
    """Announce a change of an install's secrets: their new version. `granted` names are granted from now on as well."""
    cursor = await tx.execute(
        """update tenant_extension_install
              set secrets_version = secrets_version + 1, generation = generation + 1, updated_at = now(),
                  granted_secrets = array(select distinct unnest(granted_secrets || %s::text[]) order by 1)
            where id = %s returning secrets_version""",
        (list(granted), install_id),
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def put(tx: Tx, install: Install, box: Box, *, version: int, actor: str) -> None:
    """Write one secret, over the one of this name if there is one."""
    await tx.execute(
        """insert into tenant_extension_install_secrets
             (install_id, tenant_id, name, algorithm, key_id, ciphertext, hosts, version, expires_at, asked, updated_by)
           values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
           on conflict (install_id, name) do update
              set algorithm = excluded.algorithm, key_id = excluded.key_id, ciphertext = excluded.ciphertext,
                  hosts = excluded.hosts, version = excluded.version, expires_at = excluded.expires_at,
                  asked = excluded.asked, updated_by = excluded.updated_by, updated_at = now()""",
        (
            install.id,
            install.tenant_id,
            box.name,
            box.algorithm,
            box.key_id,
            box.ciphertext,
            list(box.hosts),
            version,
            box.expires_at,
            box.asked,
            actor,
        ),
    )


async def put_terms(tx: Tx, install_id: str, terms: Terms, *, version: int, actor: str) -> None:
    """Change where and how long a secret may be used; its box stays."""
    await tx.execute(
        """update tenant_extension_install_secrets
              set hosts = %s, expires_at = %s, version = %s, updated_by = %s, updated_at = now()
            where install_id = %s and name = %s""",
        (list(terms.hosts), terms.expires_at, version, actor, install_id, terms.name),
    )


async def remove(tx: Tx, install_id: str, names: Sequence[str]) -> list[str]:
    """Remove secrets; the names of those that were there."""
    cursor = await tx.execute(
        "delete from tenant_extension_install_secrets where install_id = %s and name = any(%s) returning name",
        (install_id, list(names)),
    )
    return sorted(str(row[0]) for row in await cursor.fetchall())
