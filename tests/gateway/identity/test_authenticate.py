"""The door of every request: which credentials are taken, and that refusals tell nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from gateway.identity import api_keys as fresh_keys
from gateway.identity.authenticate import Identity
from gateway.identity.principal import Principal, require
from gateway.settings import GatewaySettings
from gateway.store import api_keys
from gateway.store.pool import Database
from shared import ids
from shared.errors import Forbidden, InvalidSession, TenantMismatch, Unauthenticated
from tests.gateway.people import Host
from tests.gateway.services import DatabaseUrls, owner

EXTENSION, INSTALL = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"


@pytest.fixture
def identity(settings: GatewaySettings, store: Database) -> Identity:
    return Identity(settings, store)


def bearer(token: str, *more: tuple[bytes, bytes]) -> Sequence[tuple[bytes, bytes]]:
    return [(b"authorization", f"Bearer {token}".encode()), *more]


async def make_key(
    store: Database, permissions: list[str] | None = None, expires_at: datetime | None = None
) -> fresh_keys.NewKey:
    fresh = fresh_keys.generate()
    async with store.tenant("acme") as tx:
        await api_keys.insert(
            tx,
            key_id=fresh.id,
            tenant_id="acme",
            name="ci",
            secret_sha256=fresh.secret_sha256,
            permissions=["extension:read", "extension:publish"] if permissions is None else permissions,
            created_by="test",
            expires_at=expires_at,
        )
    return fresh


async def test_no_credential_is_told_apart_from_a_bad_one(identity: Identity) -> None:
    with pytest.raises(Unauthenticated):
        await identity.authenticate([])


@pytest.mark.security
@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"Bearer",
        b"Bearer ",
        b"Basic dXNlcjpwYXNz",
        b"Bearer a b",
        b"Bearer \xff",
        b"Bearer ak_x_y",
        b"bearer x.y.z",
    ],
)
async def test_a_credential_that_is_none_is_refused(identity: Identity, value: bytes) -> None:
    with pytest.raises(InvalidSession):
        await identity.authenticate([(b"authorization", value)])


@pytest.mark.security
async def test_two_authorization_headers_are_refused_even_when_both_are_good(identity: Identity, host: Host) -> None:
    token = host.token()
    with pytest.raises(InvalidSession):
        await identity.authenticate([*bearer(token), *bearer(token)])


@pytest.mark.parametrize("name", [b"x-alga-tenant", b"x-tenant-id"])
async def test_a_tenant_header_may_agree(identity: Identity, host: Host, name: bytes) -> None:
    principal = await identity.authenticate(bearer(host.token("acme"), (name, b"acme")))
    assert principal.tenant_id == "acme"


@pytest.mark.security
@pytest.mark.parametrize("name", [b"x-alga-tenant", b"x-tenant-id", b"x_tenant_id"])
@pytest.mark.parametrize("value", [b"globex", b"", b"acme ", b"ACME"])
async def test_a_tenant_header_that_differs_is_refused(
    identity: Identity, host: Host, name: bytes, value: bytes
) -> None:
    with pytest.raises(TenantMismatch):
        await identity.authenticate(bearer(host.token("acme"), (name, value)))


@pytest.mark.security
async def test_a_second_tenant_header_cannot_hide_behind_one_that_agrees(identity: Identity, host: Host) -> None:
    with pytest.raises(TenantMismatch):
        await identity.authenticate(bearer(host.token("acme"), (b"x-tenant-id", b"acme"), (b"x-tenant-id", b"globex")))


# ---- API keys -----------------------------------------------------------------------------------------------


async def test_an_api_key_is_its_tenant_with_its_permissions(identity: Identity, store: Database) -> None:
    fresh = await make_key(store)
    principal = await identity.authenticate(bearer(fresh.text))
    assert (principal.tenant_id, principal.kind, principal.subject) == ("acme", "api_key", fresh.id)
    assert principal.permissions == {"extension:read", "extension:publish"}
    assert principal.actor == f"api_key:{fresh.id}"


async def test_the_use_of_an_api_key_is_recorded(identity: Identity, store: Database, database: DatabaseUrls) -> None:
    fresh = await make_key(store)
    await identity.authenticate(bearer(fresh.text))
    await identity.api_keys.note_uses()
    async with owner(database.owner) as connection:
        cursor = await connection.execute("select last_used_at > now() - interval '1 minute' from api_key")
        assert await cursor.fetchone() == (True,)


async def test_the_secret_of_an_api_key_is_stored_as_a_hash_only(store: Database, database: DatabaseUrls) -> None:
    fresh = await make_key(store)
    secret = fresh.text.rpartition("_")[2]
    async with owner(database.owner) as connection:
        cursor = await connection.execute("select k::text from api_key k")
        row = await cursor.fetchone()
    assert row is not None
    assert secret not in str(row[0])


@pytest.mark.security
@pytest.mark.parametrize("change", ["secret", "id", "revoked", "expired"])
async def test_an_api_key_that_is_not_good_is_refused(identity: Identity, store: Database, change: str) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    fresh = await make_key(store, expires_at=past if change == "expired" else None)
    text = fresh.text
    if change == "secret":
        text = text[:-1] + ("A" if text[-1] != "A" else "B")
    if change == "id":
        text = f"ak_{'0' * 16}_{text.rpartition('_')[2]}"
    if change == "revoked":
        async with store.tenant("acme") as tx:
            assert await api_keys.revoke(tx, fresh.id)
    with pytest.raises(InvalidSession) as refused:
        await identity.authenticate(bearer(text))
    assert refused.value.detail == InvalidSession.title


async def test_no_api_key_can_hold_the_operators_permission(store: Database) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        await make_key(store, ["platform:admin"])


async def test_another_tenant_cannot_revoke_a_key(identity: Identity, store: Database) -> None:
    fresh = await make_key(store)
    async with store.tenant("globex") as tx:
        assert not await api_keys.revoke(tx, fresh.id)
    assert (await identity.authenticate(bearer(fresh.text))).tenant_id == "acme"


# ---- iframes and permissions --------------------------------------------------------------------------------


async def test_an_iframe_session_is_good_only_where_the_door_says_so(identity: Identity, host: Host) -> None:
    user = await identity.authenticate(bearer(host.token()))
    token = identity.mint_iframe_session(user, EXTENSION, INSTALL).token
    assert (await identity.authenticate(bearer(token), iframe=True)).install_id == INSTALL
    with pytest.raises(InvalidSession):
        await identity.authenticate(bearer(token))


async def test_an_iframe_session_cannot_make_another_one(identity: Identity, host: Host) -> None:
    user = await identity.authenticate(bearer(host.token()))
    token = identity.mint_iframe_session(user, EXTENSION, INSTALL).token
    framed = await identity.authenticate(bearer(token), iframe=True)
    with pytest.raises(InvalidSession):
        identity.mint_iframe_session(framed, EXTENSION, INSTALL)


def test_a_missing_permission_is_named() -> None:
    nobody = Principal(
        tenant_id=ids.tenant_id("acme"), subject="u", kind="session", permissions=frozenset({"extension:read"})
    )
    require(nobody, "extension:read")
    with pytest.raises(Forbidden) as refused:
        require(nobody, "extension:admin")
    assert "extension:admin" in refused.value.detail
    assert refused.value.extra == {"permission": "extension:admin"}


def test_a_permission_that_does_not_exist_is_a_fault_of_ours() -> None:
    nobody = Principal(tenant_id=ids.tenant_id("acme"), subject="u", kind="session", permissions=frozenset())
    with pytest.raises(ValueError, match="not a permission"):
        require(nobody, "extension:everything")
