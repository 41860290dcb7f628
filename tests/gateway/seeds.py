"""Installs put straight into the database, and the execution rows read back: as its owner, outside every rule.

The databases here are shared by the tests of a session, which keep apart by tenant.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator

import msgspec
import psycopg
import pytest
from psycopg.rows import dict_row

from deploy.local.postgres import Postgres
from gateway.store.pool import Database, open_database
from tests.gateway.services import TEMPLATE, DatabaseUrls, urls


class Seed(msgspec.Struct, frozen=True, kw_only=True):
    """The ids of one seeded install."""

    tenant_id: str
    extension_id: str
    version_id: str
    install_id: str
    content_hash: str
    publisher: str
    name: str


MANIFEST: dict[str, object] = {
    "name": "com.acme.notes",
    "publisher": "acme",
    "version": "1.0.0",
    "runtime": "wasm-js@1",
    "limits": {"timeoutMs": 4000, "memoryMb": 32},
    "api": {
        "endpoints": [
            {"method": "GET", "path": "/notes/:id", "timeoutMs": 2000},
            {"method": "POST", "path": "/notes", "schedulable": True},
        ]
    },
    "ui": {"type": "iframe", "entry": "ui/index.html", "hooks": {"appMenu": {"label": "Notes"}}},
}


def seed(
    database: DatabaseUrls,
    tenant_id: str,
    *,
    publisher: str = "acme",
    name: str | None = None,
    manifest: dict[str, object] | None = None,
    extension_of: Seed | None = None,
    caps: tuple[str, ...] = ("cap:context.read", "cap:log.emit"),
    config: dict[str, object] | None = None,
    **columns: object,
) -> Seed:
    """Put an installed extension into the database, as its owner; a fresh name unless one is given.

    Args:
        extension_of: install this one's extension and version instead of a new one.
        columns: further columns of the install.
    """
    found = Seed(
        tenant_id=tenant_id,
        extension_id=extension_of.extension_id if extension_of else _new_id(),
        version_id=extension_of.version_id if extension_of else _new_id(),
        install_id=_new_id(),
        content_hash=extension_of.content_hash if extension_of else "sha256:" + uuid.uuid4().hex * 2,
        publisher=extension_of.publisher if extension_of else publisher,
        name=extension_of.name if extension_of else name or f"com.acme.n{uuid.uuid4().hex[:8]}",
    )
    with psycopg.connect(database.owner, autocommit=True) as connection:
        if extension_of is None:
            _seed_version(connection, found, MANIFEST if manifest is None else manifest)
        fields: dict[str, object] = {
            "id": found.install_id,
            "tenant_id": tenant_id,
            "registry_id": found.extension_id,
            "version_id": found.version_id,
            "granted_caps": list(caps),
            **columns,
        }
        connection.execute(
            f"insert into tenant_extension_install ({', '.join(fields)}) values ({', '.join(['%s'] * len(fields))})",
            list(fields.values()),
        )
        if config is not None:
            connection.execute(
                "insert into tenant_extension_install_config (install_id, tenant_id, config, version)"
                " values (%s, %s, %s, 3)",
                (found.install_id, tenant_id, msgspec.json.encode(config).decode()),
            )
    return found


def _new_id() -> str:
    return str(uuid.uuid4())


def _seed_version(connection: psycopg.Connection[tuple[object, ...]], found: Seed, manifest: dict[str, object]) -> None:
    connection.execute(
        "insert into publisher (name, owner_account) values (%s, 'owner') on conflict do nothing", (found.publisher,)
    )
    connection.execute(
        "insert into extension_registry (id, publisher, name, owner_account) values (%s, %s, %s, 'owner')",
        (found.extension_id, found.publisher, found.name),
    )
    ui_only = "entry" in manifest and manifest["entry"] is None
    connection.execute(
        "insert into extension_version (id, registry_id, version, runtime, entry, manifest, state)"
        " values (%s, %s, '1.0.0', 'wasm-js@1', %s, %s, 'ready')",
        (
            found.version_id,
            found.extension_id,
            None if ui_only else "dist/main.wasm",
            msgspec.json.encode({key: value for key, value in manifest.items() if value is not None}).decode(),
        ),
    )
    connection.execute(
        "insert into extension_bundle (id, version_id, content_hash, signature, size_bytes, storage_key)"
        " values (%s, %s, %s, '{}', 1, 'x')",
        (str(uuid.uuid4()), found.version_id, found.content_hash),
    )


def rows(database: DatabaseUrls, tenant_id: str) -> list[dict[str, object]]:
    """The execution rows of a tenant, oldest first."""
    with psycopg.connect(database.owner, row_factory=dict_row) as connection:
        return connection.execute(
            "select * from extension_execution_log where tenant_id = %s order by started_at", (tenant_id,)
        ).fetchall()


@pytest.fixture(scope="session")
def shared_database(postgres_server: Postgres) -> Iterator[DatabaseUrls]:
    """One migrated database for all tests that keep apart by tenant."""
    name = f"shared_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute(f"create database {name} template {TEMPLATE}")
        yield urls(postgres_server, name)
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture
async def shared_store(shared_database: DatabaseUrls) -> AsyncIterator[Database]:
    """Both pools on the shared database."""
    async with open_database(shared_database.app, shared_database.platform, shared_database.app) as found:
        yield found


@pytest.fixture
def tenant() -> str:
    """A tenant nobody else uses."""
    return f"t-{uuid.uuid4().hex[:12]}"
