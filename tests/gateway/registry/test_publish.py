"""Publishing: from staged bytes to a version that is ready or rejected, each step refusing by name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from gateway.app import create_public_app, open_gateway
from gateway.context import GatewayContext
from gateway.middleware import problems
from gateway.objects import keys
from gateway.settings import GatewaySettings
from gateway.store.platform import preparations
from shared.digest import content_hash_of, sha256_hex
from shared.errors import ArtefactUnavailable, BundleInvalid, ComponentInvalid, ManifestInvalid, SignatureUntrustedKey
from shared.keys import PrivateKey
from shared.limits import (
    BUNDLE_MAX_BYTES,
    MIB,
    SIGNATURE_MAX_BYTES,
    UPLOAD_PART_BYTES,
)
from tests.gateway.asgi import Client
from tests.gateway.bundles import COMPONENT, bundle
from tests.gateway.people import Host
from tests.gateway.registry_flow import finalize, publish, refused, upload
from tests.gateway.services import DatabaseUrls, owner
from tests.gateway.stub_compiler import StubCompiler

ACME = bundle()
WRITTEN = msgspec.json.encode(ACME.manifest)


async def chunks(total: int, size: int = MIB) -> AsyncIterator[bytes]:
    for start in range(0, total, size):
        yield b"x" * min(size, total - start)


async def versions(database: DatabaseUrls) -> int:
    async with owner(database.owner) as connection:
        row = await (await connection.execute("select count(*) from extension_version")).fetchone()
    assert row is not None
    assert isinstance(row[0], int)
    return row[0]


# ---- uploads ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, UPLOAD_PART_BYTES - 1, UPLOAD_PART_BYTES, 2 * UPLOAD_PART_BYTES + 1])
async def test_an_upload_is_named_by_the_digest_of_its_bytes(
    public: Client, gateway: GatewayContext, size: int
) -> None:
    answer = await public.request("POST", "/api/registry/bundles", headers={}, body=chunks(size))
    assert answer.status == 201
    receipt = answer.json()
    assert receipt["content_hash"] == content_hash_of(b"x" * size)
    assert receipt["size_bytes"] == size
    assert await gateway.objects.size(keys.staging(receipt["upload_id"])) == size


async def test_an_empty_upload_is_refused(public: Client) -> None:
    refused(await public.request("POST", "/api/registry/bundles", headers={}), 422, "bundle_invalid")


async def test_an_upload_that_announces_too_much_is_refused_before_a_byte_is_read(
    public: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(problems, "UNWANTED_BODY_MAX_MS", 1)

    async def untouched() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()  # whoever waits for a byte of it waits for ever
        yield b""

    answer = await public.request(
        "POST", "/api/registry/bundles", headers={"content-length": str(BUNDLE_MAX_BYTES + 1)}, body=untouched()
    )
    refused(answer, 413, "payload_too_large")


@pytest.mark.slow
async def test_an_upload_that_sends_too_much_is_stopped_and_leaves_nothing(
    public: Client, gateway: GatewayContext
) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 4 * MIB
            yield b"x" * (4 * MIB)

    refused(await public.request("POST", "/api/registry/bundles", headers={}, body=endless()), 413, "payload_too_large")
    assert sent <= BUNDLE_MAX_BYTES + 4 * MIB
    listed = await gateway.objects.call("list_multipart_uploads")
    assert not listed.get("Uploads")


async def test_publishing_needs_its_permission(gateway: GatewayContext, host: Host) -> None:
    reader = Client(create_public_app(gateway), host.headers(permissions=("extension:read", "extension:admin")))
    for answer in (
        await reader.request("POST", "/api/registry/bundles", headers={}, body=b"x"),
        await reader.post(f"/api/registry/bundles/{'0' * 8}-0000-4000-8000-{'0' * 12}/finalize", {}),
    ):
        refused(answer, 403, "forbidden")
        assert answer.json()["permission"] == "extension:publish"


# ---- signatures ---------------------------------------------------------------------------------------------


async def test_what_nobody_vouches_for_is_refused_before_anyone_unpacks_it(
    public: Client, compiler: StubCompiler, publisher_key: PrivateKey, database: DatabaseUrls, gateway: GatewayContext
) -> None:
    stranger = PrivateKey(bytes([66]) * 32)
    fresh, other = bundle(salt="never published"), bundle(salt="other")
    for members, code in (
        ({"signature": None}, "signature_missing"),
        ({}, "signature_missing"),
        ({"signature": {}}, "signature_invalid"),
        ({"signature": "e30="}, "signature_invalid"),
        ({"signature": fresh.signature(stranger)}, "signature_untrusted_key"),
        ({"signature": other.signature(publisher_key)}, "content_hash_mismatch"),
        ({"signature": fresh.signature(publisher_key), "declared_hash": other.digest}, "content_hash_mismatch"),
        ({"signature": {"payload": "x" * SIGNATURE_MAX_BYTES}}, "signature_invalid"),
    ):
        upload_id = await upload(public, fresh.data)
        refused(await public.post(f"/api/registry/bundles/{upload_id}/finalize", members), 422, code)
    assert compiler.requests == []
    assert await versions(database) == 0
    assert await gateway.objects.size(keys.bundle(fresh.digest)) is None


async def test_a_key_that_the_state_feed_revoked_vouches_for_nothing(
    public: Client, publisher_key: PrivateKey, database: DatabaseUrls
) -> None:
    async with owner(database.owner) as connection:
        await connection.execute(
            "insert into state_feed (kind, subject) values ('revoked_key', %s)", (publisher_key.key_id,)
        )
    refused(await finalize(public, ACME, publisher_key), 422, "signature_key_revoked")


async def test_somebody_elses_upload_is_as_absent_as_none(
    public: Client, other: Client, publisher_key: PrivateKey
) -> None:
    upload_id = await upload(public, ACME.data)
    wanted = {"signature": ACME.signature(publisher_key)}
    theirs = await other.post(f"/api/registry/bundles/{upload_id}/finalize", wanted)
    nobodys = await other.post("/api/registry/bundles/11111111-1111-4111-8111-111111111111/finalize", wanted)
    refused(theirs, 404, "not_found")
    assert theirs.json() | {"request_id": ""} == nobodys.json() | {"request_id": ""}


# ---- versions -----------------------------------------------------------------------------------------------


async def test_a_bundle_becomes_a_version_that_is_ready(
    public: Client,
    compiler: StubCompiler,
    publisher_key: PrivateKey,
    gateway: GatewayContext,
    database: DatabaseUrls,
) -> None:
    found = await publish(public, compiler, ACME, publisher_key)
    assert (found["publisher"], found["name"], found["version"]) == ("acme", "acme.crm", "1.0.0")
    assert found["content_hash"] == ACME.digest
    stored = await gateway.objects.get_small(keys.bundle(ACME.digest), MIB)
    manifest = await gateway.objects.get_small(keys.manifest(ACME.digest), MIB)
    signature = await gateway.objects.get_small(keys.signature(ACME.digest), MIB)
    assert stored is not None
    assert manifest is not None
    assert signature is not None
    assert stored.data == ACME.data
    assert msgspec.json.decode(manifest.data) == ACME.manifest
    assert msgspec.json.decode(signature.data) == ACME.signature(publisher_key)
    (asked,) = compiler.requests
    assert (asked.content_hash, asked.allow_unused_imports) == (ACME.digest, False)
    async with owner(database.owner) as connection:
        cursor = await connection.execute("select method, path, timeout_ms from extension_api_endpoint")
        assert await cursor.fetchall() == [("GET", "/agreements/:id", 1000)]
        cursor = await connection.execute("select action, actor from extension_audit_log order by id")
        assert await cursor.fetchall() == [
            ("publisher.registered", "user:user-1"),
            ("version.published", "user:user-1"),
            ("version.ready", "platform"),
        ]
    again = await public.get(f"/api/registry/versions/{found['version_id']}")
    assert again.json() == found


async def test_a_bundle_without_a_component_is_a_version_without_an_entry(
    public: Client, compiler: StubCompiler, publisher_key: PrivateKey, database: DatabaseUrls
) -> None:
    ui_only = msgspec.structs.replace(
        bundle(ui={"type": "iframe", "entry": "ui/index.html"}, api={}), component_sha256=None
    )
    await publish(public, compiler, ui_only, publisher_key)
    async with owner(database.owner) as connection:
        cursor = await connection.execute("select entry, component_sha256 from extension_version")
        assert await cursor.fetchone() == (None, None)


async def test_the_same_bytes_again_are_the_same_version(
    public: Client, compiler: StubCompiler, publisher_key: PrivateKey, database: DatabaseUrls
) -> None:
    first = await publish(public, compiler, ACME, publisher_key)
    assert await publish(public, compiler, ACME, publisher_key) == first
    assert await versions(database) == 1
    assert len(compiler.requests) == 1


async def test_other_bytes_under_the_same_version_are_refused(
    public: Client, compiler: StubCompiler, publisher_key: PrivateKey
) -> None:
    first = await publish(public, compiler, ACME, publisher_key)
    answer = await finalize(public, bundle(salt="changed"), publisher_key)
    refused(answer, 409, "version_exists")
    assert answer.json()["version_id"] == first["version_id"]


async def test_of_two_who_race_for_a_version_one_wins(
    public: Client, compiler: StubCompiler, publisher_key: PrivateKey, database: DatabaseUrls
) -> None:
    racers = [bundle(salt=str(number)) for number in range(6)]
    for one in racers:
        compiler.bundles[one.digest] = one.found()
    answers = await asyncio.gather(*(finalize(public, one, publisher_key) for one in racers))
    assert sorted(answer.status for answer in answers) == [200, 409, 409, 409, 409, 409]
    assert await versions(database) == 1


async def test_a_publisher_name_belongs_to_who_used_it_first(
    public: Client, other: Client, compiler: StubCompiler, publisher_key: PrivateKey, database: DatabaseUrls
) -> None:
    await publish(public, compiler, ACME, publisher_key)
    answer = await finalize(other, bundle(version="2.0.0"), publisher_key)
    refused(answer, 403, "forbidden")
    assert await versions(database) == 1


async def test_somebody_elses_private_version_is_as_absent_as_none(
    public: Client, other: Client, compiler: StubCompiler, publisher_key: PrivateKey
) -> None:
    mine = await publish(public, compiler, ACME, publisher_key)
    theirs = await other.get(f"/api/registry/versions/{mine['version_id']}")
    nobodys = await other.get("/api/registry/versions/11111111-1111-4111-8111-111111111111")
    refused(theirs, 404, "not_found")
    assert theirs.json() | {"request_id": ""} == nobodys.json() | {"request_id": ""}


# ---- preparation --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        (BundleInvalid("a link", path="ui/evil"), {"code": "bundle_invalid", "message": "a link", "path": "ui/evil"}),
        (ComponentInvalid("imports x"), {"code": "component_invalid", "message": "imports x"}),
        (
            ManifestInvalid("wrong", path="$.api", violations=[{"path": "$.api", "code": "c", "message": "m"}]),
            {
                "code": "manifest_invalid",
                "message": "wrong",
                "path": "$.api",
                "violations": [{"path": "$.api", "code": "c", "message": "m"}],
            },
        ),
    ],
)
async def test_what_the_compiler_refuses_is_rejected_with_its_reason(
    public: Client, compiler: StubCompiler, publisher_key: PrivateKey, refusal: BundleInvalid, reason: dict[str, object]
) -> None:
    compiler.bundles[ACME.digest] = refusal
    answer = await finalize(public, ACME, publisher_key)
    assert answer.status == 200
    assert answer.json()["state"] == "rejected"
    assert answer.json()["reason"] == reason


@pytest.mark.parametrize(
    ("change", "code", "path"),
    [
        ({"manifest": WRITTEN + b"\n"}, "content_hash_mismatch", "manifest.json"),
        ({"manifest": WRITTEN.replace(b"acme.crm", b"acme.cra")}, "content_hash_mismatch", "manifest.json"),
        ({"manifest": b""}, "content_hash_mismatch", "manifest.json"),
        ({"component_sha256": COMPONENT[::-1]}, "content_hash_mismatch", "dist/main.wasm"),
        ({"component_sha256": None}, "content_hash_mismatch", "dist/main.wasm"),
    ],
)
async def test_a_bundle_that_is_not_what_was_signed_is_rejected(
    public: Client, compiler: StubCompiler, publisher_key: PrivateKey, change: dict[str, object], code: str, path: str
) -> None:
    compiler.bundles[ACME.digest] = ACME.found(**change)
    answer = await finalize(public, ACME, publisher_key)
    assert answer.json()["state"] == "rejected"
    assert (answer.json()["reason"]["code"], answer.json()["reason"]["path"]) == (code, path)


@pytest.mark.parametrize(
    ("written", "code", "path"),
    [
        ({"name": "acme.other"}, "manifest_invalid", "$.name"),
        ({"version": "1.0.1"}, "manifest_invalid", "$.version"),
        ({"publisher": "globex"}, "signature_publisher_mismatch", "$.publisher"),
        ({"runtime": "wasm@9"}, "manifest_invalid", "$.runtime"),
    ],
)
async def test_a_signed_manifest_that_contradicts_its_statement_is_rejected(
    public: Client, compiler: StubCompiler, publisher_key: PrivateKey, written: dict[str, str], code: str, path: str
) -> None:
    data = msgspec.json.encode(ACME.manifest | written)
    compiler.bundles[ACME.digest] = ACME.found(manifest=data)
    signature = ACME.signature(publisher_key, manifest_sha256=sha256_hex(data))
    answer = await finalize(public, ACME, publisher_key, signature=signature)
    assert answer.json()["state"] == "rejected"
    assert (answer.json()["reason"]["code"], answer.json()["reason"]["path"]) == (code, path)


async def test_the_stored_manifest_is_the_very_bytes_that_were_signed(
    public: Client, compiler: StubCompiler, publisher_key: PrivateKey, gateway: GatewayContext
) -> None:
    one = bundle(salt="written by hand")
    written = b'{"runtime" : "wasm-component@1",\n\t"name":"acme.crm", "publisher":"acme","version":"1.0.0"}\n'
    compiler.bundles[one.digest] = one.found(manifest=written)
    signature = one.signature(publisher_key, manifest_sha256=sha256_hex(written))
    assert (await finalize(public, one, publisher_key, signature=signature)).json()["state"] == "ready"
    stored = await gateway.objects.get_small(keys.manifest(one.digest), MIB)
    assert stored is not None
    assert stored.data == written


@pytest.mark.parametrize("passing", [ArtefactUnavailable("busy"), SignatureUntrustedKey("not yet")])
async def test_what_may_pass_leaves_the_version_in_preparation_and_the_next_try_completes_it(
    public: Client,
    compiler: StubCompiler,
    publisher_key: PrivateKey,
    gateway: GatewayContext,
    passing: ArtefactUnavailable,
) -> None:
    compiler.bundles[ACME.digest] = passing
    answer = await finalize(public, ACME, publisher_key)
    assert (answer.status, answer.json()["state"]) == (202, "preparing")
    async with gateway.store.platform() as tx:  # time passes
        await preparations.postpone(tx, answer.json()["version_id"], -1)
    assert (await publish(public, compiler, ACME, publisher_key))["version_id"] == answer.json()["version_id"]


async def test_a_publisher_who_goes_away_changes_nothing(
    public: Client, compiler: StubCompiler, publisher_key: PrivateKey, settings: GatewaySettings, host: Host
) -> None:
    compiler.bundles[ACME.digest] = ACME.found()
    compiler.gate.clear()
    waiting = asyncio.create_task(finalize(public, ACME, publisher_key))
    await compiler.asked.wait()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    compiler.gate.set()
    assert (await publish(public, compiler, ACME, publisher_key))["state"] == "ready"
    assert len(compiler.requests) == 1


async def test_what_a_gateway_left_unfinished_another_one_completes(
    settings: GatewaySettings, compiler: StubCompiler, publisher_key: PrivateKey, host: Host
) -> None:
    compiler.bundles[ACME.digest] = ACME.found()
    compiler.gate.clear()
    async with open_gateway(settings) as first:
        client = Client(create_public_app(first), host.headers())
        waiting = asyncio.create_task(finalize(client, ACME, publisher_key))
        await compiler.asked.wait()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    compiler.gate.set()
    async with open_gateway(settings) as second:  # its first sweep finds the version
        client = Client(create_public_app(second), host.headers())
        async with asyncio.timeout(10):
            while True:
                listed = (await client.get("/api/registry/extensions")).json()["items"]
                if listed[0]["latest"] is not None:
                    break
                await asyncio.sleep(0.05)
        assert listed[0]["latest"]["content_hash"] == ACME.digest
