"""Announcements between gateways: heard when told, and doubted when something may have been missed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.store.notices import InstallChanged, MayHaveMissed, announce, changes
from gateway.store.pool import Database
from tests.gateway.services import DatabaseUrls, owner

CHANGE = InstallChanged(tenant_id="acme", registry_id="r", install_id="i")

Changes = AsyncIterator[InstallChanged | MayHaveMissed]


@pytest.fixture
async def heard(database: DatabaseUrls) -> AsyncIterator[Changes]:
    """A listener that is connected."""
    found = changes(database.app)
    async with asyncio.timeout(10):
        assert await anext(found) == MayHaveMissed()
    yield found
    await found.aclose()  # type: ignore[attr-defined]


async def test_a_change_is_heard_after_its_commit(heard: Changes, store: Database) -> None:
    async with store.tenant("acme") as tx:
        await announce(tx, CHANGE)
    async with asyncio.timeout(10):
        assert await anext(heard) == CHANGE


async def test_a_change_that_was_rolled_back_is_not_heard(heard: Changes, store: Database) -> None:
    async def fail() -> None:
        async with store.tenant("acme") as tx:
            await announce(tx, InstallChanged(tenant_id="never", registry_id="r", install_id="i"))
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    async with store.tenant("acme") as tx:
        await announce(tx, CHANGE)
    async with asyncio.timeout(10):
        assert await anext(heard) == CHANGE


async def test_what_another_release_says_is_doubted(heard: Changes, database: DatabaseUrls) -> None:
    async with owner(database.owner) as connection:
        await connection.execute("select pg_notify('install_changed', '{\"other\": 1}')")
    async with asyncio.timeout(10):
        assert await anext(heard) == MayHaveMissed()


@pytest.mark.slow
async def test_a_lost_connection_is_made_again_and_doubted(
    heard: Changes, store: Database, database: DatabaseUrls
) -> None:
    async with owner(database.owner) as connection:
        await connection.execute(
            """select pg_terminate_backend(pid, 5000) from pg_stat_activity
                where application_name = 'gateway-listen' and datname = current_database()"""
        )
    async with asyncio.timeout(20):
        assert await anext(heard) == MayHaveMissed()
        async with store.tenant("acme") as tx:
            await announce(tx, CHANGE)
        assert await anext(heard) == CHANGE
