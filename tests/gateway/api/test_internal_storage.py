"""`/internal/storage`: a running guest's records, for its own host token and for nothing else."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import psycopg
import pytest

from gateway.app import create_internal_app, open_gateway
from gateway.context import GatewayContext
from gateway.proxy.tokens import TokenMint
from gateway.settings import load_settings
from gateway.store.storage import Asker
from shared import storage
from shared.keys import PrivateKey
from shared.limits import TIMEOUT_MAX_MS
from shared.storage import StorageDelete, StorageGet, StorageItem, StorageItems, StorageList, StoragePut
from shared.tokens import HostClaims, IdentityClaims, Verifier, mint, new_jti
from shared.wire import Context
from tests.gateway.asgi import Answer, Client
from tests.gateway.people import Host
from tests.gateway.registry_flow import refused
from tests.gateway.services import DatabaseUrls
from tests.gateway.storage.guests import host_token, send
from tests.gateway.storage.keeping import keeper

GET = StorageGet(namespace="n", key="k", timeout_ms=1000)
PUT = StoragePut(namespace="n", key="k", value=b"\x00v", timeout_ms=1000)
DELETE = StorageDelete(namespace="n", key="k", timeout_ms=1000)
LIST = StorageList(namespace="n", timeout_ms=1000)
QUESTIONS = {storage.GET_PATH: GET, storage.PUT_PATH: PUT, storage.DELETE_PATH: DELETE, storage.LIST_PATH: LIST}


@pytest.fixture
def asker(database: DatabaseUrls) -> Asker:
    return keeper(database, "acme")


@pytest.fixture
def bearer(asker: Asker, gateway_key: PrivateKey) -> dict[str, str]:
    return {"authorization": f"Bearer {host_token(gateway_key, asker)}"}


def said(answer: Answer, kind: type[Any]) -> Any:
    assert (answer.status, answer.header("content-type")) == (200, "application/msgpack"), answer.body
    assert answer.header("cache-control") == "no-store"
    return msgspec.msgpack.decode(answer.body, type=kind)


async def test_a_guest_writes_reads_lists_and_removes(internal: Client, bearer: dict[str, str]) -> None:
    async def ask(path: str, question: Any) -> Answer:
        return await send(internal, path, question, **bearer)

    refused(await ask(storage.GET_PATH, GET), 404, "NOT_FOUND")
    assert said(await ask(storage.PUT_PATH, PUT), storage.StorageWritten).revision == 1
    item = StorageItem(key="k", value=b"\x00v", revision=1)
    assert said(await ask(storage.GET_PATH, GET), StorageItem) == item
    assert said(await ask(storage.LIST_PATH, LIST), StorageItems) == StorageItems(items=(item,))
    stale = msgspec.structs.replace(PUT, revision=2)
    refused(await ask(storage.PUT_PATH, stale), 409, "REVISION_MISMATCH")
    said(await ask(storage.DELETE_PATH, DELETE), storage.StorageDeleted)
    refused(await ask(storage.DELETE_PATH, DELETE), 404, "NOT_FOUND")
    assert said(await ask(storage.LIST_PATH, LIST), StorageItems).items == ()


async def test_a_page_has_a_hundred_and_goes_on_after_the_last_key(
    internal: Client, bearer: dict[str, str], database: DatabaseUrls, asker: Asker
) -> None:
    with psycopg.connect(database.owner, autocommit=True) as connection:
        connection.execute(
            """insert into ext_storage_records (tenant_id, install_id, namespace, key, value)
               select 'acme', %s, 'n', 'k' || to_char(n, 'FM000'), '' from generate_series(0, 199) as n""",
            (asker.install_id,),
        )
    cursor, seen = None, []
    for size in (100, 100, 0):
        page = said(
            await send(internal, storage.LIST_PATH, msgspec.structs.replace(LIST, cursor=cursor), **bearer),
            StorageItems,
        )
        assert len(page.items) == size
        seen += [item.key for item in page.items]
        cursor = seen[-1]
    assert seen == [f"k{number:03}" for number in range(200)]


@pytest.mark.security
async def test_host_tokens_of_another_gateway_are_good_while_the_key_is_changed(
    environment: dict[str, str], gateway_key: PrivateKey, asker: Asker
) -> None:
    old = PrivateKey(b"o" * 32)
    settings = load_settings(environment | {"GATEWAY_SIGNING_KEY": gateway_key.pem() + old.pem()})
    async with open_gateway(settings) as ctx:
        internal = Client(create_internal_app(ctx))
        for key, status in ((gateway_key, 200), (old, 200), (PrivateKey(b"x" * 32), 401)):
            token = {"authorization": f"Bearer {host_token(key, asker)}"}
            assert (await send(internal, storage.LIST_PATH, LIST, **token)).status == status


async def test_only_the_host_token_of_a_running_call_is_taken(
    internal: Client, host: Host, asker: Asker, gateway_key: PrivateKey, runner_key: PrivateKey, gateway: GatewayContext
) -> None:
    now = int(time.time())
    context = Context(
        request_id="r",
        tenant_id="acme",
        extension_id="e",
        install_id=asker.install_id,
        version_id="v",
        content_hash="c",
    )
    provider = TokenMint(gateway_key, time.time).providers(context, ("cap:ui.proxy",), timeout_ms=1000, generation=1)
    identity = IdentityClaims(iss="x", aud="gateway", jti=new_jti(), iat=now, exp=now + 60)
    good = host_token(gateway_key, asker)
    for path, question in QUESTIONS.items():
        for headers in (
            {},
            {"authorization": "Basic eDp5"},
            {"authorization": f"Bearer{good}"},
            {"authorization": f"Bearer {good}x"},
            {"authorization": f"Bearer {good[:-2]}"},
            {"authorization": f"Bearer {host_token(runner_key, asker)}"},
            {"authorization": f"Bearer {host_token(gateway_key, asker, now=now - 600)}"},
            {"authorization": f"Bearer {mint(runner_key, identity)}"},
            {"authorization": f"Bearer {mint(gateway_key, identity)}"},
            {"authorization": f"Bearer {provider['ui-proxy']}"},
            host.headers(),
        ):
            refused(await send(internal, path, question, **headers), 401, "unauthorized")
    twice = [(b"authorization", f"Bearer {good}".encode())] * 2 + [(b"content-type", b"application/msgpack")]
    refused(
        await internal.request("POST", storage.GET_PATH, headers=twice, body=msgspec.msgpack.encode(GET)),
        401,
        "unauthorized",
    )


async def test_a_token_ends_with_its_calls_deadline_and_the_grace(gateway_key: PrivateKey, asker: Asker) -> None:
    token = host_token(gateway_key, asker, now=1_000_000.2)
    found = Verifier([gateway_key.public], {"gateway"}, lambda: 1_000_000.0).verify(token, HostClaims)
    assert (found.iat, found.exp) == (1_000_000, 1_000_011)  # 5 s of the call, 5 s of grace, rounded up
    assert (found.generation, found.hops, found.install) == (1, 0, asker.install_id)


@pytest.mark.security
async def test_a_call_without_the_grant_is_denied_whatever_the_install_has(
    internal: Client, asker: Asker, gateway_key: PrivateKey
) -> None:
    token = host_token(gateway_key, asker, caps=("cap:log.emit",))
    for path, question in QUESTIONS.items():
        refused(await send(internal, path, question, authorization=f"Bearer {token}"), 403, "forbidden")


@pytest.mark.security
@pytest.mark.parametrize(
    "change", ["generation = generation + 1", "granted_caps = '{}'", "status = 'disabled'", "status = 'uninstalled'"]
)
async def test_a_token_is_worth_nothing_once_its_install_changed(
    internal: Client, database: DatabaseUrls, bearer: dict[str, str], change: str
) -> None:
    assert (await send(internal, storage.PUT_PATH, PUT, **bearer)).status == 200
    with psycopg.connect(database.owner, autocommit=True) as connection:
        connection.execute(f"update tenant_extension_install set {change}")  # type: ignore[arg-type]
    for path, question in QUESTIONS.items():
        refused(await send(internal, path, question, **bearer), 403, "NAMESPACE_DENIED")


@pytest.mark.security
async def test_a_token_for_another_tenants_install_reaches_nothing(
    internal: Client, asker: Asker, bearer: dict[str, str], gateway_key: PrivateKey
) -> None:
    assert (await send(internal, storage.PUT_PATH, PUT, **bearer)).status == 200
    crossed = msgspec.structs.replace(asker, tenant_id="globex")  # the gateway never mints it; the database is asked
    token = host_token(gateway_key, crossed)
    for path, question in QUESTIONS.items():
        refused(await send(internal, path, question, authorization=f"Bearer {token}"), 403, "NAMESPACE_DENIED")


HOSTILE = ["../other-tenant/x", "a\x00b", "k" * 1_000_000, "", "a/b"]
HARMLESS = ["a:}b", "x}:{y", "'; delete from ext_storage_records; --", "%00", "..", "*", "💾" * 256]


@pytest.mark.security
@pytest.mark.parametrize("key", HOSTILE)
async def test_t26_a_key_that_is_none_is_refused_and_nothing_is_kept(
    internal: Client, bearer: dict[str, str], database: DatabaseUrls, key: str
) -> None:
    for path, question in QUESTIONS.items():
        if path != storage.LIST_PATH:
            asked = msgspec.structs.replace(question, key=key)
            refused(await send(internal, path, asked, **bearer), 400, "VALIDATION_FAILED")
    with psycopg.connect(database.owner) as connection:
        assert connection.execute("select count(*) from ext_storage_records").fetchone() == (0,)


@pytest.mark.security
@pytest.mark.parametrize("key", HARMLESS)
async def test_t26_any_other_key_is_data(internal: Client, bearer: dict[str, str], key: str) -> None:
    assert (await send(internal, storage.PUT_PATH, PUT, **bearer)).status == 200
    put, get = (msgspec.structs.replace(question, key=key) for question in (PUT, GET))
    assert (await send(internal, storage.PUT_PATH, put, **bearer)).status == 200
    assert said(await send(internal, storage.GET_PATH, get, **bearer), StorageItem).key == key
    listed = said(await send(internal, storage.LIST_PATH, LIST, **bearer), StorageItems)
    assert {item.key for item in listed.items} == {"k", key}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"{}",
        b"\x80",
        b"\x91" * 100_000,
        msgspec.msgpack.encode({"namespace": "n", "key": 5, "timeout_ms": 1}),
        b"\x83\xa9namespace\xa1n\xa3key\xa1\xff\xaatimeout_ms\x01",
        msgspec.msgpack.encode({"namespace": "n", "key": "k", "timeout_ms": 0}),
        msgspec.msgpack.encode({"namespace": "n", "key": "k", "timeout_ms": TIMEOUT_MAX_MS + 1}),
    ],
    ids=range(9),
)
async def test_a_body_that_is_none_is_refused(internal: Client, bearer: dict[str, str], body: bytes) -> None:
    refused(await send(internal, storage.GET_PATH, body, **bearer), 400, "invalid_request")


async def test_the_body_is_messagepack_and_says_so(internal: Client, bearer: dict[str, str]) -> None:
    answer = await internal.request(
        "POST",
        storage.GET_PATH,
        headers={"content-type": "application/json", **bearer},
        body=msgspec.json.encode(GET),
    )
    refused(answer, 400, "invalid_request")


async def test_a_question_whose_time_is_over_ends(
    internal: Client, bearer: dict[str, str], database: DatabaseUrls, asker: Asker
) -> None:
    assert (await send(internal, storage.PUT_PATH, PUT, **bearer)).status == 200
    with psycopg.connect(database.owner) as holding:
        holding.execute("select 1 from ext_storage_records where install_id = %s for update", (asker.install_id,))
        began = time.monotonic()
        soon = msgspec.structs.replace(PUT, timeout_ms=50)
        refused(await send(internal, storage.PUT_PATH, soon, **bearer), 503, "access_policy_unavailable")
        assert time.monotonic() - began < 1
    assert said(await send(internal, storage.PUT_PATH, PUT, **bearer), storage.StorageWritten).revision == 2


@pytest.mark.security
async def test_the_public_listener_has_none_of_it(public: Client, bearer: dict[str, str]) -> None:
    for path, question in QUESTIONS.items():
        refused(await send(public, path, question, **bearer), 404, "not_found")
