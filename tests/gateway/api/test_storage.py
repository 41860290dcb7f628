"""`/api/ext-storage`: records over REST, for the tenant's own staff, with the codes of storage."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import msgspec
import psycopg
import pytest

from gateway.app import create_public_app
from gateway.context import GatewayContext
from gateway.storage import slots
from gateway.store.storage import Asker
from shared.limits import STORAGE_BODY_MAX_BYTES, STORAGE_METADATA_MAX_BYTES, STORAGE_VALUE_MAX_BYTES
from shared.storage import CAPABILITY
from tests.gateway.asgi import Answer, Client
from tests.gateway.people import Host
from tests.gateway.seeds import seed
from tests.gateway.services import DatabaseUrls
from tests.gateway.storage.keeping import fill, keeper, let_expire

NOBODY = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
def asker(database: DatabaseUrls) -> Asker:
    return keeper(database, "acme")


@pytest.fixture
def base(asker: Asker) -> str:
    return f"/api/ext-storage/install/{asker.install_id}/notes/records"


def refused(answer: Answer, status: int, code: str) -> None:
    assert (answer.status, answer.header("content-type")) == (status, "application/problem+json"), answer.body
    told = answer.json()
    assert (told["code"], told["status"]) == (code, status)
    assert told["detail"]
    assert told["request_id"]


async def put(client: Client, path: str, body: Any, **headers: str) -> Answer:
    return await client.request(
        "PUT",
        path,
        headers={"content-type": "application/json", **headers},
        body=body if isinstance(body, bytes) else msgspec.json.encode(body),
    )


# ---- one record -----------------------------------------------------------------------------------------------


async def test_a_record_is_written_read_and_removed(public: Client, base: str) -> None:
    answer = await put(public, f"{base}/k", {"value": {"a": [1, "ä"]}, "metadata": {"by": "me"}, "ttlSeconds": 3600})
    assert (answer.status, answer.header("etag")) == (200, '"1"')
    written = answer.json()
    assert set(written) == {"namespace", "key", "revision", "ttlExpiresAt", "createdAt", "updatedAt"}
    assert (written["namespace"], written["key"], written["revision"]) == ("notes", "k", 1)
    read = await public.get(f"{base}/k")
    assert (read.status, read.header("etag"), read.header("cache-control")) == (200, '"1"', "no-store")
    assert read.json() == written | {"value": {"a": [1, "ä"]}, "metadata": {"by": "me"}}
    assert (await public.request("HEAD", f"{base}/k")).status == 200
    removed = await public.delete(f"{base}/k")
    assert (removed.status, removed.body) == (204, b"")
    for answer in (await public.get(f"{base}/k"), await public.delete(f"{base}/k")):
        refused(answer, 404, "NOT_FOUND")


@pytest.mark.parametrize("text", [b"null", b"0", b'""', b"[ 1.50, 1E+2 ]", b"123456789012345678901234567890"])
async def test_a_value_is_any_json_and_its_text_is_kept(public: Client, base: str, text: bytes) -> None:
    assert (await put(public, f"{base}/k", b'{"value":' + text + b"}")).status == 200
    assert b'"value":' + text in (await public.get(f"{base}/k")).body


@pytest.mark.parametrize("data", [b"", b"\x00\xff", b"plain words", b"[" * 5000, b'"\xff"', b"{} x"])
async def test_bytes_that_are_no_json_come_and_go_in_base64(public: Client, base: str, data: bytes) -> None:
    sent = base64.b64encode(data).decode()
    assert (await put(public, f"{base}/k", {"valueBase64": sent})).status == 200
    read = (await public.get(f"{base}/k")).json()
    assert read["valueBase64"] == sent
    assert "value" not in read


async def test_bytes_that_are_json_are_a_value(public: Client, base: str) -> None:
    await put(public, f"{base}/k", {"valueBase64": base64.b64encode(b'{"a":1}').decode()})
    read = (await public.get(f"{base}/k")).json()
    assert (read["value"], read.get("valueBase64"), read["metadata"]) == ({"a": 1}, None, {})


BAD_BODIES: dict[str, Any] = {
    "nothing": b"",
    "no json": b"{",
    "a list": [],
    "no value": {},
    "both values": {"value": 1, "valueBase64": "MQ=="},
    "no base64": {"valueBase64": "*"},
    "base64 that is no text": {"valueBase64": "ä"},
    "a wrong value": b'{"value": {"a": "\xff"}}',
    "a number no reader could hold": b'{"value": 1e400}',
    "too deep a value": b'{"value": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "metadata that is no object": {"value": 1, "metadata": [1]},
    "metadata that is no json": b'{"value": 1, "metadata": {"a": "\xff"}}',
    "a time in words": {"value": 1, "ttlSeconds": "60"},
    "part of a second": {"value": 1, "ttlSeconds": 60.5},
    "a negative revision": {"value": 1, "ifRevision": -1},
    "an unknown member": {"value": 1, "ttl_seconds": 60},
    "a schema, which nobody would check": {"value": 1, "schemaVersion": 1},
}


@pytest.mark.parametrize("name", BAD_BODIES)
async def test_any_other_body_is_refused_and_nothing_is_kept(public: Client, base: str, name: str) -> None:
    refused(await put(public, f"{base}/k", BAD_BODIES[name]), 400, "VALIDATION_FAILED")
    refused(await public.get(f"{base}/k"), 404, "NOT_FOUND")


async def test_a_body_of_another_type_is_refused(public: Client, base: str) -> None:
    answer = await public.request("PUT", f"{base}/k", headers={"content-type": "text/plain"}, body=b'{"value":1}')
    refused(answer, 400, "VALIDATION_FAILED")


async def test_limits_of_a_record_below_at_and_above(public: Client, base: str) -> None:
    def value(size_bytes: int) -> dict[str, Any]:
        return {"value": "x" * (size_bytes - 2)}

    def metadata(size_bytes: int) -> dict[str, Any]:
        return {"value": 1, "metadata": {"m": "x" * (size_bytes - 8)}}

    for wanted, limit in ((value, STORAGE_VALUE_MAX_BYTES), (metadata, STORAGE_METADATA_MAX_BYTES)):
        for size in (limit - 1, limit):
            assert (await put(public, f"{base}/k", wanted(size))).status == 200
        refused(await put(public, f"{base}/k", wanted(limit + 1)), 400, "LIMIT_EXCEEDED")
    for ttl_s in (60, 2_592_000):
        assert (await put(public, f"{base}/k", {"value": 1, "ttlSeconds": ttl_s})).status == 200
    for ttl_s in (0, 59, 2_592_001, -5):
        refused(await put(public, f"{base}/k", {"value": 1, "ttlSeconds": ttl_s}), 400, "LIMIT_EXCEEDED")


async def test_a_body_beyond_any_write_is_refused(public: Client, base: str) -> None:
    body = b'{"value":1' + b" " * (STORAGE_BODY_MAX_BYTES - 11)
    assert (await put(public, f"{base}/k", body + b"}")).status == 200
    refused(await put(public, f"{base}/k", body + b" }"), 400, "LIMIT_EXCEEDED")
    refused(await put(public, f"{base}/k", b"", content_length=str(STORAGE_BODY_MAX_BYTES + 1)), 400, "LIMIT_EXCEEDED")


# ---- revisions ------------------------------------------------------------------------------------------------


async def test_a_revision_is_expected_in_the_body_or_in_a_header(public: Client, base: str) -> None:
    ways: list[tuple[dict[str, Any], dict[str, str]]] = [
        ({"ifRevision": 0}, {}),
        ({"ifRevision": 1}, {}),
        ({}, {"if_match": '"2"'}),
        ({"ifRevision": 3}, {"if_match": '"3"'}),
    ]
    for revision, (members, headers) in enumerate(ways, start=1):
        answer = await put(public, f"{base}/k", {"value": 1, **members}, **headers)
        assert (answer.status, answer.json()["revision"]) == (200, revision)
        refused(await put(public, f"{base}/k", {"value": 2, **members}, **headers), 409, "REVISION_MISMATCH")
    refused(await put(public, f"{base}/k", {"value": 2}, if_none_match="*"), 409, "REVISION_MISMATCH")
    refused(await public.delete(f"{base}/k?ifRevision=3"), 409, "REVISION_MISMATCH")
    refused(await public.request("DELETE", f"{base}/k", headers={"if-match": '"3"'}), 409, "REVISION_MISMATCH")
    assert (await public.request("DELETE", f"{base}/k", headers={"if-match": '"4"'})).status == 204
    assert (await put(public, f"{base}/k", {"value": 2}, if_none_match="*")).status == 200
    assert (await public.delete(f"{base}/k?ifRevision=1")).status == 204
    refused(await public.delete(f"{base}/k?ifRevision=1"), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("headers", "members"),
    [
        ({"if_match": "*"}, {}),
        ({"if_match": "1"}, {}),
        ({"if_match": 'W/"1"'}, {}),
        ({"if_match": '"1", "2"'}, {}),
        ({"if_match": '"' + "9" * 20 + '"'}, {}),
        ({"if_none_match": '"1"'}, {}),
        ({"if_match": '"1"', "if_none_match": "*"}, {}),
        ({"if_match": '"1"'}, {"ifRevision": 2}),
    ],
)
async def test_a_condition_that_is_not_clear_is_refused(
    public: Client, base: str, headers: dict[str, str], members: dict[str, Any]
) -> None:
    refused(await put(public, f"{base}/k", {"value": 1, **members}, **headers), 400, "VALIDATION_FAILED")


async def test_a_reader_who_has_the_revision_is_told_so(public: Client, base: str) -> None:
    await put(public, f"{base}/k", {"value": 1})
    same = await public.request("GET", f"{base}/k", headers={"if-none-match": '"1"'})
    assert (same.status, same.body, same.header("etag")) == (304, b"", '"1"')
    assert (await public.request("GET", f"{base}/k", headers={"if-none-match": '"2"'})).status == 200


# ---- several --------------------------------------------------------------------------------------------------


async def test_a_bulk_writes_all_or_nothing(public: Client, base: str) -> None:
    items = [{"key": "b", "value": 1}, {"key": "a", "valueBase64": "AA==", "ttlSeconds": 60, "metadata": {"m": 1}}]
    answer = await public.post(base, {"items": items})
    assert answer.status == 200
    told = answer.json()
    assert told["namespace"] == "notes"
    assert [(item["key"], item["revision"], item["ttlExpiresAt"] is None) for item in told["items"]] == [
        ("a", 1, False),
        ("b", 1, True),
    ]
    stale = [{"key": "c", "value": 1}, {"key": "b", "value": 2, "ifRevision": 2}]
    refused(await public.post(base, {"items": stale}), 409, "REVISION_MISMATCH")
    refused(await public.get(f"{base}/c"), 404, "NOT_FOUND")
    assert (await public.get(f"{base}/b")).json()["value"] == 1


async def test_limits_of_a_bulk_below_at_and_above(public: Client, base: str) -> None:
    def items(count: int, size_bytes: int = 3) -> dict[str, Any]:
        return {"items": [{"key": f"k{number}", "value": "x" * (size_bytes - 2)} for number in range(count)]}

    for wanted in (items(19), items(20), items(8, STORAGE_VALUE_MAX_BYTES)):
        assert (await public.post(base, wanted)).status == 200
    for wanted in (items(21), items(1, STORAGE_VALUE_MAX_BYTES + 1), items(9, STORAGE_VALUE_MAX_BYTES)):
        refused(await public.post(base, wanted), 400, "LIMIT_EXCEEDED")
    for broken in (items(0), {"items": [{"value": 1}]}, {}, {"items": [{"key": "k", "value": 1}] * 2}):
        refused(await public.post(base, broken), 400, "VALIDATION_FAILED")


async def test_a_list_pages_in_key_order_and_each_client_finds_its_cursor(public: Client, base: str) -> None:
    for part in range(6):
        items = [{"key": f"k{part}{at}", "value": at, "metadata": {"at": at}} for at in range(9)]
        assert (await public.post(base, {"items": [*items, {"key": f"z{part}", "value": 0}]})).status == 200
    first = (await public.get(base)).json()
    assert len(first["items"]) == 50
    assert first["next_cursor"] == first["nextCursor"]
    assert set(first["items"][0]) == {"namespace", "key", "revision", "ttlExpiresAt", "createdAt", "updatedAt"}
    rest = (await public.get(f"{base}?cursor={first['next_cursor']}")).json()
    assert (rest["next_cursor"], rest["nextCursor"]) == (None, None)
    keys = [item["key"] for item in first["items"] + rest["items"]]
    assert keys == sorted(keys)
    assert len(set(keys)) == 60
    some = (await public.get(f"{base}?keyPrefix=k1&limit=4&includeValues=true&includeMetadata=true")).json()
    assert [(item["key"], item["value"], item["metadata"]) for item in some["items"]] == [
        (f"k1{at}", at, {"at": at}) for at in range(4)
    ]
    more = (await public.get(f"{base}?keyPrefix=k1&limit=5&cursor={some['next_cursor']}")).json()
    assert ([item["key"] for item in more["items"]], more["next_cursor"]) == ([f"k1{at}" for at in range(4, 9)], None)


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=x", "cursor=*", "cursor=MQ", "includeValues=1", "prefix=k", "keyPrefix=%00"],
)
async def test_a_query_that_is_not_clear_is_refused(public: Client, base: str, query: str) -> None:
    refused(await public.get(f"{base}?{query}"), 400, "VALIDATION_FAILED")


@pytest.mark.parametrize("limit", [1, 100])
async def test_a_page_may_have_so_many(public: Client, base: str, limit: int) -> None:
    assert (await public.get(f"{base}?limit={limit}")).json() == {"items": [], "next_cursor": None, "nextCursor": None}


# ---- what guests and quotas have to do with it ----------------------------------------------------------------


async def test_a_full_install_is_told_which_quota(
    public: Client, base: str, database: DatabaseUrls, asker: Asker
) -> None:
    fill(database, asker, 5120, 1, "notes")
    answer = await put(public, f"{base}/beyond", {"value": 1})
    refused(answer, 429, "QUOTA_EXCEEDED")
    assert "5120 keys" in answer.json()["detail"]
    let_expire(database, asker, "k77")
    assert (await put(public, f"{base}/beyond", {"value": 1})).status == 200


async def test_a_tenant_that_asks_too_much_at_once_is_told_when_to_come_back(
    public: Client, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "STORAGE_TENANT_WAITING_MAX", -slots.STORAGE_TENANT_CALLS_MAX)
    for answer in await every_call(public, base):
        refused(answer, 429, "RATE_LIMITED")
        assert answer.header("retry-after") == "1"


# ---- whose ----------------------------------------------------------------------------------------------------


async def every_call(client: Client, base: str, headers: Mapping[str, str] | None = None) -> list[Answer]:
    sent = {"content-type": "application/json", **(headers or {})}
    return [
        await client.request("GET", f"{base}/k", headers=sent),
        await client.request("PUT", f"{base}/k", headers=sent, body=b'{"value":"changed"}'),
        await client.request("DELETE", f"{base}/k", headers=sent),
        await client.request("GET", base, headers=sent),
        await client.request("POST", base, headers=sent, body=b'{"items":[{"key":"k","value":"changed"}]}'),
    ]


@pytest.mark.security
async def test_t38_another_tenants_install_answers_like_one_that_never_was(
    public: Client, other: Client, base: str
) -> None:
    await put(public, f"{base}/k", {"value": "mine"})
    unknown = f"/api/ext-storage/install/{NOBODY}/notes/records"
    no_id = "/api/ext-storage/install/acme.notes/notes/records"
    for answers in zip(*[await every_call(other, path) for path in (base, unknown, no_id)], strict=True):
        told = []
        for answer in answers:
            refused(answer, 404, "NOT_FOUND")
            told.append({key: value for key, value in answer.json().items() if key != "request_id"})
        assert told[0] == told[1] == told[2]
    assert (await public.get(f"{base}/k")).json()["value"] == "mine"


@pytest.mark.security
async def test_only_the_tenants_staff_with_the_permission_is_let_in(
    public: Client, base: str, host: Host, gateway: GatewayContext, asker: Asker
) -> None:
    await put(public, f"{base}/k", {"value": "kept"})
    anonymous = Client(create_public_app(gateway))
    principal = await gateway.identity.authenticate(
        [(name.encode(), value.encode()) for name, value in host.headers("acme").items()]
    )
    iframe = gateway.identity.mint_iframe_session(principal, NOBODY, asker.install_id)
    for headers in (
        {},
        {"authorization": "Bearer nonsense"},
        {"cookie": "msp_session=x"},
        {"authorization": f"Bearer {iframe.token}"},
    ):
        for answer in await every_call(anonymous, base, headers):
            refused(answer, 401, "UNAUTHORIZED")
    for answer in await every_call(anonymous, base, host.headers("acme", user_type="client", client_id="c-1")):
        refused(answer, 403, "NAMESPACE_DENIED")
    for answer in await every_call(anonymous, base, {**host.headers("acme"), "x-alga-tenant": "globex"}):
        refused(answer, 403, "NAMESPACE_DENIED")
    reader = await every_call(anonymous, base, host.headers("acme", permissions=("extension:read",)))
    assert [answer.status for answer in reader] == [200, 403, 403, 200, 403]
    assert "extension:write" in reader[1].json()["detail"]
    refused(reader[1], 403, "NAMESPACE_DENIED")
    for answer in await every_call(anonymous, base, host.headers("acme", permissions=("extension:admin",))):
        refused(answer, 403, "NAMESPACE_DENIED")
    assert (await public.get(f"{base}/k")).json()["value"] == "kept"


async def test_without_the_installs_grant_there_is_no_storage(public: Client, database: DatabaseUrls) -> None:
    made = seed(database, "acme", caps=("cap:log.emit",))
    for answer in await every_call(public, f"/api/ext-storage/install/{made.install_id}/notes/records"):
        refused(answer, 403, "NAMESPACE_DENIED")
        assert CAPABILITY in answer.json()["detail"]


async def test_a_disabled_installs_records_can_still_be_looked_after(
    public: Client, database: DatabaseUrls, asker: Asker, base: str
) -> None:
    await put(public, f"{base}/k", {"value": 1})
    with psycopg.connect(database.owner, autocommit=True) as connection:
        connection.execute("update tenant_extension_install set status = 'disabled'")
        assert (await public.get(f"{base}/k")).status == 200
        connection.execute("update tenant_extension_install set status = 'uninstalled'")
        refused(await public.get(f"{base}/k"), 404, "NOT_FOUND")


@pytest.mark.security
@pytest.mark.parametrize("key", ["../other-tenant/x", "a/b", "a\x00b", "k" * 257, "k" * 1500])
async def test_t26_a_key_that_is_none_is_refused(public: Client, base: str, key: str) -> None:
    refused(await put(public, f"{base}/{key}", {"value": 1}), 400, "VALIDATION_FAILED")
    refused(await public.get(f"{base}/{key}"), 400, "VALIDATION_FAILED")
    assert (await public.get(base)).json()["items"] == []


@pytest.mark.security
@pytest.mark.parametrize("key", ["a:}b", "..", "%00", "' or 1=1 --", "a\nb", "a\n", "ä" * 256])
async def test_t26_any_other_key_is_data(public: Client, base: str, key: str) -> None:
    assert (await put(public, f"{base}/{key}", {"value": 1})).json()["key"] == key
    assert (await public.get(f"{base}/{key}")).json()["key"] == key


async def test_a_method_that_is_not_served_says_which_are(public: Client, base: str) -> None:
    answer = await public.post(f"{base}/k", {"value": 1})
    refused(answer, 405, "method_not_allowed")
    allowed = answer.header("allow")
    assert allowed is not None
    assert {"GET", "PUT", "DELETE"} <= set(allowed.split(", "))
