"""Objects that no row names: found, shown, collected by one gateway at a time; whatever a row names stays."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from gateway.context import GatewayContext
from gateway.objects import keys
from gateway.registry import garbage
from gateway.registry.garbage import LEASE, Garbage, collect, look
from gateway.store import registry
from shared.digest import content_hash_of
from shared.errors import BundleInvalid, BundleUnavailable
from shared.ids import ContentHash
from shared.keys import PrivateKey
from tests.gateway.asgi import Client
from tests.gateway.bundles import Bundle, bundle
from tests.gateway.registry_flow import finalize, publish, upload
from tests.gateway.services import DatabaseUrls, owner
from tests.gateway.stub_compiler import StubCompiler


async def every(gateway: GatewayContext) -> set[str]:
    return {one.key for prefix in garbage.PREFIXES for one in await gateway.objects.page(prefix, "", 1000)}


@pytest.fixture
async def empty(gateway: GatewayContext, seize: Callable[[str, str], Awaitable[None]]) -> AsyncIterator[GatewayContext]:
    """A gateway whose bucket, which all tests share, has nothing in it, and nobody who sweeps it."""
    await seize(LEASE, "me")
    for key in await every(gateway):
        await gateway.objects.delete(key)
    yield gateway
    for key in await every(gateway):
        await gateway.objects.delete(key)


@pytest.fixture
def aged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every object is old enough, and every rejection long ago: the store's clock is not ours to set."""
    monkeypatch.setattr(garbage, "GARBAGE_KEPT_S", -60)


@pytest.fixture
def one() -> Bundle:
    return bundle(salt=str(uuid.uuid4()))


async def looked(gateway: GatewayContext, page: int = 100) -> list[Garbage]:
    found: list[Garbage] = []
    position: str | None = ""
    while position is not None:
        some, position = await look(gateway.store, gateway.objects, position, page)
        found += some
    return found


async def orphans(gateway: GatewayContext) -> set[str]:
    """What gateways that died left behind: staged without a row, copied without a row."""
    digest = content_hash_of(uuid.uuid4().bytes)
    made = {keys.staging(str(uuid.uuid4())), keys.bundle(digest), keys.signature(digest), keys.manifest(digest)}
    for key in made:
        await gateway.objects.put_once(key, b"x", "application/octet-stream")
    return made


async def rejected(public: Client, compiler: StubCompiler, one: Bundle, key: PrivateKey) -> None:
    compiler.bundles[one.digest] = BundleInvalid("not a bundle")
    answer = await finalize(public, one, key)
    assert answer.json()["state"] == "rejected", answer.body


async def test_what_a_row_names_is_never_garbage(
    empty: GatewayContext, public: Client, compiler: StubCompiler, publisher_key: PrivateKey, one: Bundle, aged: None
) -> None:
    await publish(public, compiler, one, publisher_key)
    waiting = bundle(version="2.0.0", salt=str(uuid.uuid4()))
    assert (await finalize(public, waiting, publisher_key)).status == 202  # still being prepared
    staged = await upload(public, b"to be finalised")
    before = await every(empty)
    assert keys.staging(staged) in before
    assert await looked(empty) == []
    assert await collect(empty.store, empty.objects, "me") == 0
    assert await every(empty) == before


async def test_orphans_and_rejected_digests_are_collected(
    empty: GatewayContext, public: Client, compiler: StubCompiler, publisher_key: PrivateKey, one: Bundle, aged: None
) -> None:
    await publish(public, compiler, bundle(version="2.0.0", salt=one.data.decode()), publisher_key)
    await public.request("POST", "/api/registry/bundles", headers={}, body=b"waits")
    kept = await every(empty)
    lost = await orphans(empty)
    await rejected(public, compiler, one, publisher_key)
    staged = {key for key in await every(empty) - kept - lost if key.startswith("staging/")}
    lost |= {keys.bundle(one.digest), keys.signature(one.digest)}
    assert {found.key for found in await looked(empty)} == lost
    assert {found.key for found in await looked(empty, page=1)} == lost
    assert await every(empty) == kept | lost | staged  # looking removes nothing
    assert await collect(empty.store, empty.objects, "me", page=2) == len(lost)
    assert await every(empty) == kept | staged


async def test_what_is_young_is_left_alone(
    empty: GatewayContext, public: Client, compiler: StubCompiler, publisher_key: PrivateKey, one: Bundle
) -> None:
    await orphans(empty)
    await rejected(public, compiler, one, publisher_key)
    before = await every(empty)
    assert await looked(empty) == []
    assert await collect(empty.store, empty.objects, "me") == 0
    assert await every(empty) == before


async def test_a_digest_that_somebody_else_had_rejected_stays_with_who_published_it(
    empty: GatewayContext,
    public: Client,
    other: Client,
    compiler: StubCompiler,
    publisher_key: PrivateKey,
    one: Bundle,
    aged: None,
) -> None:
    await publish(public, compiler, one, publisher_key)
    upload_id = await upload(other, one.data)
    forged = one.signature(publisher_key, publisher="globex", name="globex.crm")
    answer = await other.post(f"/api/registry/bundles/{upload_id}/finalize", {"signature": forged})
    assert answer.json()["state"] == "rejected", answer.body
    assert await collect(empty.store, empty.objects, "me") == 0
    assert await empty.objects.size(keys.bundle(one.digest)) == len(one.data)


async def test_one_gateway_at_a_time_walks_and_another_goes_on_where_it_died(
    empty: GatewayContext,
    database: DatabaseUrls,
    seize: Callable[[str, str], Awaitable[None]],
    aged: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lost = await orphans(empty) | await orphans(empty)
    await seize(LEASE, "dying")
    delete, removed = empty.objects.delete, []

    async def failing(key: str) -> None:
        if len(removed) == 3:
            raise BundleUnavailable
        removed.append(key)
        await delete(key)

    monkeypatch.setattr(empty.objects, "delete", failing)
    with pytest.raises(BundleUnavailable):
        await collect(empty.store, empty.objects, "dying", page=3)
    monkeypatch.setattr(empty.objects, "delete", delete)
    assert await collect(empty.store, empty.objects, "me", page=3) is None  # it may still be at it
    async with owner(database.owner) as connection:
        row = await (await connection.execute("select position from upkeep_lease where name = %s", (LEASE,))).fetchone()
        assert row is not None
        assert str(row[0]) == sorted(lost)[2]  # the page that was done
        await connection.execute("update upkeep_lease set lease_until = now() - interval '1 second'")
    assert await collect(empty.store, empty.objects, "me", page=3) == len(lost) - 3
    assert await every(empty) == set()
    async with owner(database.owner) as connection:
        row = await (await connection.execute("select position from upkeep_lease where name = %s", (LEASE,))).fetchone()
        assert row == ("",)


async def test_who_publishes_the_same_bytes_in_that_moment_finds_them_whole(
    empty: GatewayContext,
    public: Client,
    compiler: StubCompiler,
    publisher_key: PrivateKey,
    one: Bundle,
    aged: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The collector runs between the publisher's copy and its row: the row's lock makes it see, or be seen."""
    await empty.objects.put_once(keys.bundle(one.digest), one.data, "application/zstd")  # garbage so far
    lock = registry.lock_digest

    async def collected_first(tx: Any, digest: str) -> None:
        monkeypatch.setattr(registry, "lock_digest", lock)
        assert await collect(empty.store, empty.objects, "me") == 2
        assert await empty.objects.size(keys.bundle(ContentHash(digest))) is None
        await lock(tx, digest)

    monkeypatch.setattr(registry, "lock_digest", collected_first)
    await publish(public, compiler, one, publisher_key)
    assert await empty.objects.size(keys.bundle(one.digest)) == len(one.data)
    assert await empty.objects.size(keys.signature(one.digest)) is not None
    assert await looked(empty) == []


async def test_the_operator_sees_what_would_go(empty: GatewayContext, operator: Client, aged: None) -> None:
    lost = await orphans(empty)
    found: list[str] = []
    cursor, pages = "", 0
    while cursor is not None:
        page = (await operator.get(f"/api/admin/garbage?limit=2{cursor and f'&cursor={cursor}'}")).json()
        found += [one["key"] for one in page["items"]]
        cursor, pages = page["next_cursor"], pages + 1
    assert (set(found), len(found)) == (lost, len(lost))
    assert pages <= 4
    assert await every(empty) == lost
