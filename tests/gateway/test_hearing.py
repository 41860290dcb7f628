"""What one gateway changes, another one hears through PostgreSQL and forgets at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.hearing import follow
from gateway.identity import api_keys as fresh_keys
from gateway.identity.api_keys import ApiKeys
from gateway.identity.principal import Principal
from gateway.installs.resolve import InstallResolver, loader
from gateway.store import api_keys, notices
from gateway.store.notices import Change, InstallChanged, KeyChanged
from gateway.store.pool import Database
from shared.errors import InvalidSession
from tests.gateway.seeds import seed
from tests.gateway.services import DatabaseUrls

HEARD_MAX_S = 10
TENANT = "acme"


class Hearing:
    """A listening gateway's memory."""

    def __init__(self, store: Database) -> None:
        self.resolver = InstallResolver(loader(store))
        self.keys = ApiKeys(store)
        self.heard: asyncio.Queue[Change] = asyncio.Queue()

    async def until(self, change: Change) -> None:
        """Return when a change was acted on."""
        async with asyncio.timeout(HEARD_MAX_S):
            while await self.heard.get() != change:
                continue


@asynccontextmanager
async def hearing(store: Database, urls: DatabaseUrls) -> AsyncIterator[Hearing]:
    """A memory that already hears."""
    found = Hearing(store)

    async def changes() -> AsyncIterator[Change]:
        async for change in notices.changes(urls.app):
            yield change
            found.heard.put_nowait(change)  # after it was acted on

    listener = asyncio.create_task(follow(changes(), found.resolver, found.keys))
    try:
        async with found.keys.working():
            await found.until(notices.MayHaveMissed())
            yield found
    finally:
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)
        await found.resolver.close()


async def made_key(store: Database, tenant: str) -> fresh_keys.NewKey:
    fresh = fresh_keys.generate()
    async with store.tenant(tenant) as tx:
        await api_keys.insert(
            tx,
            key_id=fresh.id,
            tenant_id=tenant,
            name="ci",
            secret_sha256=fresh.secret_sha256,
            permissions=["extension:read"],
            created_by="test",
        )
    return fresh


async def test_a_changed_install_is_asked_for_again(store: Database, database: DatabaseUrls) -> None:
    made = seed(database, TENANT)
    change = InstallChanged(tenant_id=TENANT, registry_id=made.extension_id, install_id=made.install_id)
    async with hearing(store, database) as one:
        assert (await one.resolver.resolve(TENANT, made.install_id)).enabled
        async with store.tenant(TENANT) as tx:
            await tx.execute(
                "update tenant_extension_install set status = 'disabled' where id = %s", (made.install_id,)
            )
            await notices.announce(tx, change)
        await one.until(change)
        assert not (await one.resolver.resolve(TENANT, made.install_id)).enabled


@pytest.mark.security
async def test_a_revoked_key_that_is_remembered_is_refused_as_soon_as_its_revocation_is_heard(
    store: Database, database: DatabaseUrls
) -> None:
    fresh = await made_key(store, TENANT)
    async with hearing(store, database) as one:
        assert (await one.keys.verify(fresh.text)).tenant_id == TENANT
        async with store.tenant(TENANT) as tx:
            assert await api_keys.revoke(tx, fresh.id)
        await one.until(KeyChanged(fresh.id))
        with pytest.raises(InvalidSession):
            await one.keys.verify(fresh.text)


@pytest.mark.security
async def test_a_wrong_secret_of_a_remembered_key_is_refused(store: Database) -> None:
    fresh, keys = await made_key(store, TENANT), ApiKeys(store)
    assert isinstance(await keys.verify(fresh.text), Principal)
    with pytest.raises(InvalidSession):
        await keys.verify(fresh.text[:-1] + ("A" if fresh.text[-1] != "A" else "B"))


async def test_noting_that_a_key_was_used_is_no_change_anybody_hears(store: Database, database: DatabaseUrls) -> None:
    first, second = await made_key(store, TENANT), await made_key(store, TENANT)
    async with hearing(store, database) as one:
        await one.keys.verify(first.text)
        await one.keys.note_uses()
        async with store.tenant(TENANT) as tx:
            await api_keys.revoke(tx, second.id)
        async with asyncio.timeout(HEARD_MAX_S):
            heard = await one.heard.get()
            while not isinstance(heard, KeyChanged):
                heard = await one.heard.get()
        assert heard == KeyChanged(second.id)
