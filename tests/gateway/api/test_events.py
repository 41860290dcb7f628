"""`/api/events`, `/api/installs/{id}/events/…` and `/internal/events/publish`: who may, what is taken, what is shown."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from gateway.context import GatewayContext
from gateway.identity import api_keys as keys
from gateway.proxy.tokens import TokenMint
from gateway.store import api_keys
from gateway.store.storage import Asker
from shared.events import CAPABILITY, PUBLISH_PATH, EventPublish, EventPublished
from shared.keys import PrivateKey
from shared.limits import EVENT_HOPS_MAX, EVENTS_BODY_MAX_BYTES, TIMEOUT_MAX_MS
from shared.wire import Context
from tests.gateway.asgi import Answer, Client
from tests.gateway.events.telling import TOPIC, becomes, change, deliveries, kept, publisher, states, subscriber
from tests.gateway.people import Host
from tests.gateway.registry_flow import refused
from tests.gateway.seeds import Seed
from tests.gateway.services import DatabaseUrls
from tests.gateway.storage.guests import host_token, send

EVENT: dict[str, Any] = {"specversion": "1.0", "id": "e-1", "type": TOPIC, "data": {"a": 1}}
MAY = ("events:publish",)


async def post(
    client: Client, host: Host, body: Any, *, kind: str = "application/cloudevents+json", **who: Any
) -> Answer:
    """Publish as somebody of the tenant `acme` who may, or as who is named."""
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    headers = {**host.headers("acme", **{"permissions": MAY, **who}), "content-type": kind}
    return await client.request("POST", "/api/events", headers=headers, body=data)


# ---- publishing ---------------------------------------------------------------------------------------------


async def test_one_event_is_accepted_and_told_by_which_id(public: Client, host: Host, database: DatabaseUrls) -> None:
    subscriber(database, "acme", TOPIC, status="enabled")
    answer = await post(public, host, EVENT)
    assert (answer.status, answer.header("cache-control")) == (202, "no-store")
    (item,) = answer.json()["items"]
    (event,) = kept(database, "acme")
    assert item == {
        "id": str(event["id"]),
        "source": "/host",
        "type": TOPIC,
        "origin_id": "e-1",
        "repeated": False,
        "deliveries": 1,
    }
    (again,) = (await post(public, host, EVENT)).json()["items"]
    assert again == {**item, "repeated": True, "deliveries": 0}
    refused(await post(public, host, {**EVENT, "data": 2}), 409, "conflict")


@pytest.mark.parametrize(
    ("kind", "body", "count"),
    [
        ("application/json", EVENT, 1),
        ("application/json", [EVENT, {"type": "b"}], 2),
        ("application/cloudevents+json; charset=utf-8", EVENT, 1),
        ("application/cloudevents-batch+json", [EVENT], 1),
    ],
)
async def test_the_forms_in_which_events_may_come(public: Client, host: Host, kind: str, body: Any, count: int) -> None:
    answer = await post(public, host, body, kind=kind)
    assert (answer.status, len(answer.json()["items"])) == (202, count)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/cloudevents+json", [EVENT]),
        ("application/cloudevents-batch+json", EVENT),
        ("application/cloudevents-batch+json", []),
        ("text/plain", EVENT),
        ("", EVENT),
        ("application/json", b"{"),
        ("application/json", b'{"type": "a.b", "subject": "\xff"}'),
        ("application/json", {"id": "1"}),
        ("application/json", {"type": "a.b", "hops": 0}),
        ("application/json", {"type": "a.b", "install_id": "x"}),
        ("application/json", {"type": "a.b", "specversion": "0.3"}),
        ("application/json", {"type": "a.b", "time": "yesterday"}),
        ("application/json", {"type": "a..b"}),
        ("application/json", {"type": "a.b", "source": "/extensions/acme.com.acme.notes"}),
        ("application/json", [EVENT, EVENT]),
    ],
)
async def test_what_is_not_acceptable_changes_nothing(
    public: Client, host: Host, database: DatabaseUrls, kind: str, body: Any
) -> None:
    refused(await post(public, host, body, kind=kind), 400, "invalid_request")
    assert kept(database, "acme") == []


async def test_a_body_has_so_many_bytes_and_not_one_more(public: Client, host: Host) -> None:
    for size, status in ((EVENTS_BODY_MAX_BYTES, 202), (EVENTS_BODY_MAX_BYTES + 1, 413)):
        assert (await post(public, host, msgspec.json.encode({"type": "a.b"}).ljust(size))).status == status


async def test_publishing_needs_its_own_permission(public: Client, host: Host, database: DatabaseUrls) -> None:
    others = ("extension:read", "extension:write", "extension:admin", "extension:publish", "extension:debug")
    answer = await post(public, host, EVENT, permissions=others)
    refused(answer, 403, "forbidden")
    assert "events:publish" in answer.json()["detail"]
    refused(await post(public, host, EVENT, user_type="client", client_id="c"), 403, "forbidden")
    nobody = await public.request(
        "POST", "/api/events", headers=[(b"content-type", b"application/json")], body=msgspec.json.encode(EVENT)
    )
    refused(nobody, 401, "unauthenticated")
    assert kept(database, "acme") == []


async def test_an_api_key_that_may_publish_does_so_for_its_own_tenant(
    public: Client, gateway: GatewayContext, database: DatabaseUrls
) -> None:
    made = keys.generate()
    async with gateway.store.tenant("globex") as tx:
        await api_keys.insert(
            tx,
            key_id=made.id,
            tenant_id="globex",
            name="erp",
            secret_sha256=made.secret_sha256,
            permissions=["events:publish"],
            created_by="test",
        )
    headers = {"authorization": f"Bearer {made.text}", "content-type": "application/json"}
    body = msgspec.json.encode({"type": TOPIC, "tenant": "globex"})
    assert (await public.request("POST", "/api/events", headers=headers, body=body)).status == 202
    assert (len(kept(database, "globex")), kept(database, "acme")) == (1, [])
    body = msgspec.json.encode({"type": TOPIC, "tenant": "acme"})
    refused(await public.request("POST", "/api/events", headers=headers, body=body), 403, "tenant_mismatch")


# ---- what became of it --------------------------------------------------------------------------------------


async def lettered(public: Client, host: Host, database: DatabaseUrls, count: int = 1) -> Seed:
    """An install with so many dead letters."""
    made = subscriber(database, "acme", TOPIC)
    for number in range(count):
        assert (await post(public, host, {**EVENT, "id": f"e-{number}"})).status == 202
    await becomes(lambda: len([row for row in deliveries(database, "acme") if row["attempt"]]), count)
    change(database, "update extension_event_delivery set state = 'dead', finished_at = now(), attempt = attempt + 1")
    return made


async def test_dead_letters_are_listed_page_by_page_the_newest_first_without_what_they_say(
    public: Client, host: Host, database: DatabaseUrls
) -> None:
    made = await lettered(public, host, database, 5)
    path, seen = f"/api/installs/{made.install_id}/events/dead?limit=2", []
    cursor: str | None = ""
    while cursor is not None:
        page = (await public.get(path + (f"&cursor={cursor}" if cursor else ""))).json()
        seen += page["items"]
        cursor = page["next_cursor"]
    ids = [str(row["event_id"]) for row in reversed(deliveries(database, "acme"))]
    assert [item["event_id"] for item in seen] == ids
    assert {(item["state"], item["type"], item["next_attempt_at"]) for item in seen} == {("dead", TOPIC, None)}
    assert not {"data", "payload", "data_base64"} & set(seen[0])
    everything = (await public.get(f"/api/installs/{made.install_id}/events/deliveries")).json()["items"]
    assert len(everything) == 5
    waiting = await public.get(f"/api/installs/{made.install_id}/events/deliveries?state=waiting")
    assert waiting.json() == {"items": [], "next_cursor": None}


async def test_one_dead_letter_or_all_of_them_get_a_second_chance_which_is_on_record(
    public: Client, host: Host, database: DatabaseUrls
) -> None:
    made = await lettered(public, host, database, 3)
    path = f"/api/installs/{made.install_id}/events/dead"
    first = (await public.get(path)).json()["items"][0]["event_id"]
    answer = await public.post(f"{path}/{first}/redeliver")
    assert (answer.status, answer.json()) == (202, {"redelivered": 1})
    refused(await public.post(f"{path}/{first}/redeliver"), 404, "not_found")
    assert (await public.post(f"{path}/redeliver")).json() == {"redelivered": 2}
    assert states(database, "acme") == ["waiting"] * 3
    assert {row["failures"] for row in deliveries(database, "acme")} <= {0, 1}
    with_rows = change(database, "select 1 from extension_audit_log where action = 'events.redelivered'")
    assert with_rows == 2


@pytest.mark.parametrize("query", ["state=lost", "limit=0", "cursor=x", "cursor=WyIyMDI2LTAxLTAxVDAwOjAwOjAwIiwieCJd"])
async def test_a_list_that_makes_no_sense_is_refused(public: Client, database: DatabaseUrls, query: str) -> None:
    made = subscriber(database, "acme", TOPIC)
    refused(await public.get(f"/api/installs/{made.install_id}/events/deliveries?{query}"), 400, "invalid_request")


async def test_another_tenants_deliveries_are_as_absent_as_none(
    public: Client, other: Client, host: Host, database: DatabaseUrls
) -> None:
    made = await lettered(public, host, database)
    below = f"/api/installs/{made.install_id}/events"
    (row,) = deliveries(database, "acme")
    for answer in (
        await other.get(f"{below}/deliveries"),
        await other.get(f"{below}/dead"),
        await other.post(f"{below}/dead/redeliver"),
        await other.post(f"{below}/dead/{row['event_id']}/redeliver"),
        await public.get("/api/installs/7b0d8a50-9d4f-4b7e-8b1c-0d7f0c6f3f10/events/dead"),
        await public.get("/api/installs/nothing/events/dead"),
    ):
        refused(answer, 404, "not_installed")
    assert states(database, "acme") == ["dead"]
    reader = Client(public._app, host.headers("acme", permissions=("extension:read",)))
    assert (await reader.get(f"{below}/dead")).status == 200
    refused(await reader.post(f"{below}/dead/redeliver"), 403, "forbidden")


# ---- a running guest ----------------------------------------------------------------------------------------


ASKED = EventPublish(topic="", payload=b"\x00p", timeout_ms=1000)


@pytest.fixture
def guest(database: DatabaseUrls) -> Seed:
    return publisher(database, "acme")


def token_of(key: PrivateKey, made: Seed, **more: Any) -> dict[str, str]:
    asker = Asker(tenant_id=made.tenant_id, install_id=made.install_id, generation=1)
    return {"authorization": f"Bearer {host_token(key, asker, **{'caps': (CAPABILITY,), **more})}"}


async def test_a_guests_event_is_committed_when_it_is_answered(
    internal: Client, gateway_key: PrivateKey, guest: Seed, database: DatabaseUrls
) -> None:
    asked = msgspec.structs.replace(ASKED, topic=f"{guest.name}.made")
    answer = await send(internal, PUBLISH_PATH, asked, **token_of(gateway_key, guest))
    assert answer.status == 200, answer.body
    event_id = msgspec.msgpack.decode(answer.body, type=EventPublished).id
    (event,) = kept(database, "acme")
    assert (str(event["id"]), event["topic"], event["hops"]) == (event_id, asked.topic, 1)


async def test_the_question_and_its_answer_have_these_bytes() -> None:
    asked = EventPublish(topic="a.b", payload=b"\x00\xff", timeout_ms=1500)
    assert (
        msgspec.msgpack.encode(asked).hex()
        == "83a5746f706963a3612e62a77061796c6f6164c40200ffaa74696d656f75745f6d73cd05dc"
    )
    assert msgspec.msgpack.encode(EventPublished(id="x")) == b"\x81\xa2id\xa1x"


async def test_only_the_calls_own_token_with_the_grant_opens_it(
    internal: Client, gateway_key: PrivateKey, runner_key: PrivateKey, guest: Seed, database: DatabaseUrls
) -> None:
    asked = msgspec.structs.replace(ASKED, topic=guest.name)
    refused(await send(internal, PUBLISH_PATH, asked), 401, "unauthorized")
    refused(await send(internal, PUBLISH_PATH, asked, **token_of(runner_key, guest)), 401, "unauthorized")
    late = token_of(gateway_key, guest, now=time.time() - 120)
    refused(await send(internal, PUBLISH_PATH, asked, **late), 401, "unauthorized")
    answer = await send(internal, PUBLISH_PATH, asked, **token_of(gateway_key, guest, caps=("cap:storage.kv",)))
    refused(answer, 403, "forbidden")
    assert CAPABILITY in answer.json()["detail"]
    assert kept(database, "acme") == []


async def test_the_token_carries_how_many_events_led_here(
    internal: Client, gateway_key: PrivateKey, guest: Seed, database: DatabaseUrls
) -> None:
    def with_hops(hops: int) -> dict[str, str]:
        context = Context(
            request_id="r",
            tenant_id="acme",
            extension_id="e",
            install_id=guest.install_id,
            version_id="v",
            content_hash="sha256:",
        )
        mint = TokenMint(gateway_key, time.time)
        token = mint.host(context, (CAPABILITY,), timeout_ms=5000, generation=1, hops=hops)
        return {"authorization": f"Bearer {token}"}

    asked = msgspec.structs.replace(ASKED, topic=guest.name)
    assert (await send(internal, PUBLISH_PATH, asked, **with_hops(EVENT_HOPS_MAX - 1))).status == 200
    refused(await send(internal, PUBLISH_PATH, asked, **with_hops(EVENT_HOPS_MAX)), 403, "forbidden")
    assert [row["hops"] for row in kept(database, "acme")] == [EVENT_HOPS_MAX]


@pytest.mark.parametrize("timeout_ms", [0, TIMEOUT_MAX_MS + 1])
async def test_a_time_no_call_can_have_is_refused(
    internal: Client, gateway_key: PrivateKey, guest: Seed, timeout_ms: int
) -> None:
    asked = msgspec.structs.replace(ASKED, topic=guest.name, timeout_ms=timeout_ms)
    refused(await send(internal, PUBLISH_PATH, asked, **token_of(gateway_key, guest)), 400, "invalid_request")


async def test_it_is_not_on_the_public_listener(public: Client) -> None:
    refused(await send(public, PUBLISH_PATH, ASKED), 404, "not_found")
