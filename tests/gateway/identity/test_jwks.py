"""Keys that the host application publishes: fetched, refreshed, rotated; what an outage and a bad set lead to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey

from gateway.identity.authenticate import Identity
from gateway.identity.jwks import PublishedKeys
from gateway.identity.keys import JwksUrl
from gateway.proxy.jwks import open_jwks
from gateway.settings import GatewaySettings, load_settings
from gateway.store.pool import Database
from shared.call_limits import JWKS_ASK_AGAIN_S, JWKS_MAX_BYTES, JWKS_STALE_MAX_S
from shared.errors import AccessPolicyUnavailable, InvalidSession
from shared.keys import PrivateKey
from shared.settings import SettingError
from tests.gateway.people import Host

OWN = PrivateKey(bytes(reversed(range(32))))


def jwk(key: PrivateKey, kid: str) -> dict[str, object]:
    return {**OKPKey.import_key(key.public.pem()).as_dict(private=False), "kid": kid, "use": "sig"}


def published(*keys: dict[str, object]) -> bytes:
    return json.dumps({"keys": list(keys)}).encode()


class Source:
    """A published set that counts how often it is fetched."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.away = False
        self.fetched = 0

    async def __call__(self) -> bytes:
        self.fetched += 1
        if self.away:
            raise OSError("the host application is away")
        return self.body


class Clock:
    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def host() -> Host:
    return Host()


def identity_of(settings: GatewaySettings, store: Database, keys: PublishedKeys) -> Identity:
    remote = msgspec.structs.replace(settings, jwt_keys=JwksUrl("https://host.example/jwks"))
    return Identity(remote, store, host_keys=keys)


def headers(token: str) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", f"Bearer {token}".encode())]


async def test_a_token_under_a_published_key_is_good(
    settings: GatewaySettings, store: Database, host: Host, clock: Clock
) -> None:
    source = Source(published(jwk(host.key, "one")))
    identity = identity_of(settings, store, PublishedKeys(source, [OWN.public], clock))
    for _ in range(5):
        principal = await identity.authenticate(headers(host.sign(host.claims("acme"), kid="one")))
        assert principal.tenant_id == "acme"
    assert source.fetched == 1


async def test_a_new_key_is_known_with_its_first_token_and_an_old_one_no_more(
    settings: GatewaySettings, store: Database, host: Host, clock: Clock
) -> None:
    source = Source(published(jwk(PrivateKey(bytes(32)), "old")))
    keys = PublishedKeys(source, [OWN.public], clock)
    identity = identity_of(settings, store, keys)
    await keys.refresh()
    source.body = published(jwk(host.key, "new"))
    clock.now_s += JWKS_ASK_AGAIN_S
    assert (await identity.authenticate(headers(host.sign(host.claims(), kid="new")))).tenant_id == "acme"
    assert [key.kid for key in keys.known()] == ["new"]


@pytest.mark.security
async def test_invented_key_ids_cost_one_fetch_in_ten_seconds(
    settings: GatewaySettings, store: Database, host: Host, clock: Clock
) -> None:
    source = Source(published(jwk(host.key, "one")))
    identity = identity_of(settings, store, PublishedKeys(source, [OWN.public], clock))
    for number in range(100):
        with pytest.raises(InvalidSession):
            await identity.authenticate(headers(host.sign(host.claims(), kid=f"invented-{number}")))
    assert source.fetched == 1
    clock.now_s += JWKS_ASK_AGAIN_S
    with pytest.raises(InvalidSession):
        await identity.authenticate(headers(host.sign(host.claims(), kid="invented")))
    assert source.fetched == 2


async def test_many_callers_share_one_fetch(clock: Clock, host: Host) -> None:
    source = Source(published(jwk(host.key, "one")))
    keys = PublishedKeys(source, [OWN.public], clock)
    await asyncio.gather(*(keys.look_for("one") for _ in range(50)))
    assert source.fetched == 1


async def test_during_an_outage_the_last_good_keys_serve_a_day_and_then_nobody_is_let_in(
    settings: GatewaySettings, store: Database, host: Host, clock: Clock
) -> None:
    source = Source(published(jwk(host.key, "one")))
    keys = PublishedKeys(source, [OWN.public], clock)
    identity = identity_of(settings, store, keys)
    token = host.sign(host.claims(), kid="one")
    await keys.refresh()
    source.away = True
    clock.now_s += JWKS_STALE_MAX_S
    await keys.refresh()
    assert (await identity.authenticate(headers(token))).tenant_id == "acme"
    clock.now_s += 1
    with pytest.raises(AccessPolicyUnavailable):
        await identity.authenticate(headers(token))
    source.away = False
    clock.now_s += JWKS_ASK_AGAIN_S
    assert (await identity.authenticate(headers(token))).tenant_id == "acme"


async def test_keys_that_were_never_fetched_let_nobody_in(
    settings: GatewaySettings, store: Database, host: Host, clock: Clock
) -> None:
    source = Source(b"")
    source.away = True
    identity = identity_of(settings, store, PublishedKeys(source, [OWN.public], clock))
    with pytest.raises(AccessPolicyUnavailable) as refused:
        await identity.authenticate(headers(host.token()))
    assert refused.value.retry_after_s is not None


@pytest.mark.security
@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"<html>", b'{"keys": []}', b'{"keys": 1}', b"\xff\xfe", b'{"keys": [{"kty": "oct", "k": "YQ"}]}'],
)
async def test_what_is_no_usable_set_changes_nothing(clock: Clock, host: Host, body: bytes) -> None:
    source = Source(published(jwk(host.key, "one")))
    keys = PublishedKeys(source, [OWN.public], clock)
    await keys.refresh()
    source.body = body
    await keys.refresh()
    assert [key.kid for key in keys.known()] == ["one"]


@pytest.mark.security
async def test_of_a_set_only_what_may_verify_sessions_is_taken(clock: Clock, host: Host) -> None:
    others = (
        {**OctKey.import_key(bytes(32)).as_dict(private=True), "kid": "symmetric"},
        {**ECKey.generate_key("P-384").as_dict(private=False), "kid": "curve"},
        {**jwk(host.key, "encryption"), "use": "enc"},
        {**OKPKey.import_key(host.key.pem()).as_dict(private=True), "kid": "private"},
        jwk(OWN, "ours"),
        {"kty": "unheard-of", "kid": "unknown"},
    )
    keys = PublishedKeys(Source(published(*others, jwk(host.key, "one"))), [OWN.public], clock)
    await keys.refresh()
    assert [key.kid for key in keys.known()] == ["one"]


# ---- over the network ---------------------------------------------------------------------------------------


@asynccontextmanager
async def serving(answer: bytes) -> AsyncIterator[str]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks"


def response(body: bytes, status: str = "200 OK", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{more}connection: close\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    ("size", "accepted"), [(JWKS_MAX_BYTES - 1, True), (JWKS_MAX_BYTES, True), (JWKS_MAX_BYTES + 1, False)]
)
async def test_a_set_has_a_size(size: int, accepted: bool) -> None:
    async with serving(response(b" " * size)) as url, open_jwks(url) as fetch:
        if accepted:
            assert len(await fetch()) == size
        else:
            with pytest.raises(OSError, match="more than"):
                await fetch()


@pytest.mark.security
@pytest.mark.parametrize("status", ["302 Found", "404 Not Found", "500 Internal Server Error", "204 No Content"])
async def test_only_a_plain_answer_counts_and_redirects_are_not_followed(status: str) -> None:
    answer = response(b"", status, "location: http://127.0.0.1:1/elsewhere\r\n")
    async with serving(answer) as url, open_jwks(url) as fetch:
        with pytest.raises(OSError, match=status[:3]):
            await fetch()


async def test_nobody_there_is_an_os_error(unused_tcp_port: int) -> None:
    async with open_jwks(f"http://127.0.0.1:{unused_tcp_port}/") as fetch:
        with pytest.raises(OSError, match=r"127\.0\.0\.1"):
            await fetch()


@pytest.mark.parametrize(
    ("url", "accepted"),
    [("https://host.example/jwks", True), ("http://127.0.0.1:8000/jwks", True), ("http://host.example/jwks", False)],
)
def test_keys_are_fetched_by_https_or_from_loopback(environment: dict[str, str], url: str, accepted: bool) -> None:
    given = environment | {"GATEWAY_JWT_KEYS": url}
    if accepted:
        assert load_settings(given).jwt_keys == JwksUrl(url)
    else:
        with pytest.raises(SettingError, match="https://"):
            load_settings(given)
