"""Installs that may keep records, and a look at what the database counted."""

from __future__ import annotations

from typing import Any

import psycopg

from gateway.storage.records import Records
from gateway.store.storage import Asker, Write
from shared.storage import CAPABILITY
from tests.gateway.seeds import Seed, seed
from tests.gateway.services import DatabaseUrls

NAMESPACE = "notes"


def keeper(database: DatabaseUrls, tenant: str, **more: object) -> Asker:
    """A running guest of a fresh install that may keep records."""
    return asking(seed(database, tenant, caps=(CAPABILITY,), **more))  # type: ignore[arg-type]


def asking(made: Seed, generation: int | None = 1) -> Asker:
    """Who asks for the records of a seeded install."""
    return Asker(tenant_id=made.tenant_id, install_id=made.install_id, generation=generation)


def fill(database: DatabaseUrls, asker: Asker, count: int, size_bytes: int, namespace: str = "filling") -> None:
    """Records written by the database itself, so that a quota is nearly used up."""
    with psycopg.connect(database.owner, autocommit=True) as connection:
        connection.execute(
            """insert into ext_storage_records (tenant_id, install_id, namespace, key, value)
               select %s, %s, %s, 'k' || n, convert_to(repeat('x', %s), 'UTF8') from generate_series(1, %s) as n""",
            (asker.tenant_id, asker.install_id, namespace, size_bytes, count),
        )


def let_expire(database: DatabaseUrls, asker: Asker, key: str = "%") -> None:
    """Move the end of records into the past."""
    with psycopg.connect(database.owner, autocommit=True) as connection:
        connection.execute(
            """update ext_storage_records set expires_at = now() - interval '1 second'
                where install_id = %s and key like %s""",
            (asker.install_id, key),
        )


def counted(database: DatabaseUrls, asker: Asker) -> tuple[int, int, dict[str, int]]:
    """Namespaces, bytes and keys of each namespace, as the database keeps them; they equal what the rows add up to."""
    about = (asker.tenant_id, asker.install_id)
    with psycopg.connect(database.owner, autocommit=True) as connection:
        usage = connection.execute(
            "select namespaces, bytes from ext_storage_usage where tenant_id = %s and install_id = %s", about
        ).fetchone()
        kept = connection.execute(
            "select namespace, keys from ext_storage_namespaces where tenant_id = %s and install_id = %s", about
        ).fetchall()
        real = connection.execute(
            """select namespace, count(*), sum(octet_length(value) + coalesce(octet_length(metadata), 0))
                 from ext_storage_records where tenant_id = %s and install_id = %s group by namespace""",
            about,
        ).fetchall()
    keys = {str(name): int(number) for name, number in kept}
    namespaces, size_bytes = usage or (0, 0)
    assert keys == {name: number for name, number, _ in real}
    assert (namespaces, size_bytes) == (len(real), sum(size for _, _, size in real))
    return int(namespaces), int(size_bytes), keys


async def put(records: Records, asker: Asker, key: str = "k", value: bytes = b"v", **more: Any) -> int:
    written = await records.put(asker, NAMESPACE, Write(key=key, value=value, **more))
    assert written.key == key
    return written.revision


async def keys(records: Records, asker: Asker, **more: Any) -> list[str | None]:
    return [row.key for row in await records.page(asker, NAMESPACE, **{"limit": 100, **more})]


def writes(count: int, size_bytes: int = 1, **more: Any) -> list[Write]:
    return [Write(key=f"k{number:03}", value=b"x" * size_bytes, **more) for number in range(count)]
