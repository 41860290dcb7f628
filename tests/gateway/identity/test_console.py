"""Sign-ins to the console: exchanged for a credential, found by their secret, ended at once."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import msgspec
import pytest

from gateway.context import GatewayContext
from gateway.identity import api_keys as keys
from gateway.identity.console import COOKIE, ConsoleSessions, cookie
from gateway.identity.principal import Principal
from gateway.store import api_keys
from gateway.store.platform import console_sessions as rows
from gateway.store.pool import Database
from shared.errors import Forbidden, InvalidSession, TenantMismatch, Unauthenticated
from shared.ids import ExtensionId, InstallId, TenantId
from shared.limits import CONSOLE_SESSION_MAX_S
from tests.gateway.people import Host

ADA = Principal(
    tenant_id=TenantId("acme"),
    subject="ada",
    kind="session",
    permissions=frozenset({"extension:read", "extension:debug"}),
    email="ada@acme.example",
    name="Ada",
)


def carrying(secret: str, *more: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    return [(b"cookie", f"other=1; {COOKIE}={secret}".encode()), *more]


@pytest.fixture
def sessions(store: Database) -> ConsoleSessions:
    return ConsoleSessions(store)


@pytest.fixture
async def key(store: Database) -> Principal:
    made = keys.generate()
    async with store.tenant("acme") as tx:
        await api_keys.insert(
            tx,
            key_id=made.id,
            tenant_id="acme",
            name="ci",
            secret_sha256=made.secret_sha256,
            permissions=["extension:read"],
            created_by="test",
        )
    return msgspec.structs.replace(ADA, subject=made.id, kind="api_key", permissions=frozenset({"extension:read"}))


async def test_a_sign_in_speaks_for_who_signed_in(sessions: ConsoleSessions) -> None:
    made = await sessions.begin(ADA)
    found = await sessions.verify(carrying(made.secret))
    assert (found.id, found.secret) == (made.id, made.secret)
    assert found.principal == msgspec.structs.replace(ADA, expires_at_s=found.principal.expires_at_s)
    assert found.principal.expires_at_s == pytest.approx(time.time() + CONSOLE_SESSION_MAX_S, abs=30)


async def test_the_secret_itself_is_not_stored(sessions: ConsoleSessions, store: Database) -> None:
    made = await sessions.begin(ADA)
    async with store.platform() as tx:
        row = await (await tx.execute("select console_session::text from console_session")).fetchone()
    assert row is not None
    assert made.secret not in row[0]
    assert made.secret.encode().hex() not in row[0]


async def test_a_sign_in_never_outlives_its_credential(sessions: ConsoleSessions) -> None:
    soon = time.time() + 90
    made = await sessions.begin(msgspec.structs.replace(ADA, expires_at_s=soon))
    assert made.expires_at_s == soon
    later = await sessions.begin(msgspec.structs.replace(ADA, expires_at_s=time.time() + 10 * CONSOLE_SESSION_MAX_S))
    assert later.expires_at_s == pytest.approx(time.time() + CONSOLE_SESSION_MAX_S, abs=30)


async def test_a_sign_in_that_is_over_is_worth_nothing(store: Database) -> None:
    earlier = ConsoleSessions(store, clock=lambda: time.time() - CONSOLE_SESSION_MAX_S - 1)
    made = await earlier.begin(ADA)
    for clock in (time.time, lambda: 0.0):
        with pytest.raises(InvalidSession):
            await ConsoleSessions(store, clock).verify(carrying(made.secret))
    fresh = await ConsoleSessions(store).begin(msgspec.structs.replace(ADA, expires_at_s=time.time() + 30))
    with pytest.raises(InvalidSession):
        await ConsoleSessions(store, clock=lambda: time.time() + 31).verify(carrying(fresh.secret))


async def test_ended_sign_ins_are_forgotten_and_others_stay(store: Database, sessions: ConsoleSessions) -> None:
    await ConsoleSessions(store, clock=lambda: time.time() - CONSOLE_SESSION_MAX_S - 1).begin(ADA)
    kept = await sessions.begin(ADA)
    async with store.platform() as tx:
        assert await rows.remove_ended(tx) == 1
    assert (await sessions.verify(carrying(kept.secret))).id == kept.id


async def test_signing_out_ends_one_sign_in_and_no_other(sessions: ConsoleSessions) -> None:
    one, other = await sessions.begin(ADA), await sessions.begin(ADA)
    await sessions.end(one.id)
    with pytest.raises(InvalidSession):
        await sessions.verify(carrying(one.secret))
    assert (await sessions.verify(carrying(other.secret))).id == other.id


async def test_a_sign_in_ends_with_its_api_key(sessions: ConsoleSessions, store: Database, key: Principal) -> None:
    made = await sessions.begin(key)
    assert (await sessions.verify(carrying(made.secret))).principal.actor == f"api_key:{key.subject}"
    async with store.tenant("acme") as tx:
        assert await api_keys.revoke(tx, key.subject)
    with pytest.raises(InvalidSession):
        await sessions.verify(carrying(made.secret))


async def test_clients_and_iframes_cannot_sign_in(sessions: ConsoleSessions) -> None:
    with pytest.raises(Forbidden):
        await sessions.begin(msgspec.structs.replace(ADA, user_type="client", client_id="c"))
    iframe = msgspec.structs.replace(ADA, kind="iframe", extension_id=ExtensionId("e"), install_id=InstallId("i"))
    with pytest.raises(InvalidSession):
        await sessions.begin(iframe)


async def test_no_cookie_is_no_credential_and_any_other_text_is_a_bad_one(sessions: ConsoleSessions) -> None:
    with pytest.raises(Unauthenticated):
        await sessions.verify([(b"cookie", b"other=1")])
    for secret in ("", "x", "A" * 43, "A" * 42 + "'", "A" * 44):
        with pytest.raises(InvalidSession):
            await sessions.verify(carrying(secret))


async def test_a_cookie_that_comes_twice_is_nobodys(sessions: ConsoleSessions) -> None:
    made = await sessions.begin(ADA)
    twice = f"{COOKIE}={made.secret}; {COOKIE}={'A' * 43}".encode()
    for headers in ([(b"cookie", twice)], [*carrying(made.secret), *carrying(made.secret)]):
        with pytest.raises(InvalidSession):
            await sessions.verify(headers)


def test_a_cookie_is_found_by_its_whole_name() -> None:
    assert cookie([(b"cookie", b"xa=1; a=2;ab=3; b")], "a") == "2"
    assert cookie([(b"cookie", b"xa=1")], "a") is None


async def test_a_tenant_header_may_only_agree(gateway: GatewayContext) -> None:
    made = await gateway.identity.console.begin(ADA)
    agreed = carrying(made.secret, (b"x-alga-tenant", b"acme"))
    assert (await gateway.identity.console_principal(agreed)).subject == "ada"
    with pytest.raises(TenantMismatch):
        await gateway.identity.console_principal(carrying(made.secret, (b"x-tenant-id", b"globex")))


async def test_the_cookie_is_no_credential_of_the_api(gateway: GatewayContext) -> None:
    made = await gateway.identity.console.begin(ADA)
    with pytest.raises(Unauthenticated):
        await gateway.identity.authenticate(carrying(made.secret))
    for text in (made.secret, made.id):
        with pytest.raises(InvalidSession):
            await gateway.identity.authenticate([(b"authorization", f"Bearer {text}".encode())])


async def test_the_debug_stream_takes_a_bearer_credential_before_the_cookie(
    gateway: GatewayContext, host: Host
) -> None:
    made = await gateway.identity.console.begin(ADA)
    bearer = (b"authorization", f"Bearer {host.token('globex')}".encode())
    viewer = gateway.identity.authenticate_viewer
    assert (await viewer(carrying(made.secret))).subject == "ada"
    assert (await viewer([bearer])).tenant_id == "globex"
    assert (await viewer(carrying(made.secret, bearer))).tenant_id == "globex"
    with pytest.raises(InvalidSession):
        await viewer(carrying(made.secret, (b"authorization", b"Bearer nonsense")))
    with pytest.raises(Unauthenticated):
        await viewer([])


async def test_what_is_typed_into_the_form_is_a_session_token_or_an_api_key(
    gateway: GatewayContext, host: Host
) -> None:
    assert (await gateway.identity.authenticate_text(host.token())).tenant_id == "acme"
    iframe = gateway.identity.mint_iframe_session(ADA, str(ExtensionId("e")), str(InstallId("i"))).token
    for text in ("", "x", "ä", "a b", host.token(exp=int(datetime.now(UTC).timestamp()) - 1), iframe):
        with pytest.raises(InvalidSession):
            await gateway.identity.authenticate_text(text)
