"""The end of a version, deprecated or revoked, and signatures that are added to it."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec
import pytest

from gateway.context import GatewayContext
from gateway.objects import keys
from gateway.settings import GatewaySettings
from shared.errors import BundleUnavailable
from shared.keys import PrivateKey
from shared.limits import SIGNATURE_MAX_BYTES
from shared.registry_limits import DEPRECATION_MAX_CHARS, REASON_MAX_CHARS
from tests.gateway.asgi import Client
from tests.gateway.bundles import Bundle, bundle
from tests.gateway.registry_flow import finalize, install, publish, refused
from tests.gateway.services import DatabaseUrls, owner
from tests.gateway.stub_compiler import StubCompiler

SECOND = PrivateKey(bytes([10]) * 32)


@pytest.fixture
def settings(settings: GatewaySettings, publisher_key: PrivateKey) -> GatewaySettings:
    """A gateway that trusts two keys."""
    both = publisher_key.public.pem() + SECOND.public.pem()
    return msgspec.structs.replace(settings, trust_bundle=both)


@pytest.fixture
def acme() -> Bundle:
    """A bundle of this test's own: the bucket is shared by all of them."""
    return bundle(salt=str(uuid.uuid4()))


@pytest.fixture
async def version(public: Client, compiler: StubCompiler, publisher_key: PrivateKey, acme: Bundle) -> str:
    found: str = (await publish(public, compiler, acme, publisher_key))["version_id"]
    return found


async def rows(database: DatabaseUrls, statement: str) -> list[tuple[object, ...]]:
    async with owner(database.owner) as connection:
        return list(await (await connection.execute(statement)).fetchall())  # type: ignore[arg-type]


async def actions(database: DatabaseUrls, version: str) -> list[tuple[object, ...]]:
    return await rows(
        database,
        f"""select tenant_id, actor, action from extension_audit_log
             where subject_id = '{version}' and action not in ('version.published', 'version.ready') order by id""",
    )


# ---- deprecation ------------------------------------------------------------------------------------------------


async def test_a_version_is_deprecated_with_a_message_which_can_be_taken_back(
    public: Client, version: str, database: DatabaseUrls
) -> None:
    path = f"/api/registry/versions/{version}/deprecate"
    done = await public.post(path, {"message": "use 2.0"})
    assert (done.status, done.json()["deprecated"]["message"]) == (200, "use 2.0")
    since = done.json()["deprecated"]["since"]
    again = await public.post(path, {"message": "use 2.1"})
    assert again.json()["deprecated"] == {"message": "use 2.1", "since": since}
    assert (await public.post(path, {"message": "use 2.1"})).status == 200
    assert (await public.delete(path)).json()["deprecated"] is None
    assert [row[2] for row in await actions(database, version)] == [
        "version.deprecated",
        "version.deprecated",
        "version.undeprecated",
    ]


@pytest.mark.parametrize("message", ["", "  ", "a\x00", "x" * (DEPRECATION_MAX_CHARS + 1), 1])
async def test_a_deprecation_says_something(public: Client, version: str, message: object) -> None:
    path = f"/api/registry/versions/{version}/deprecate"
    refused(await public.post(path, {"message": message}), 400, "invalid_request")
    assert (await public.post(path, {"message": "x" * DEPRECATION_MAX_CHARS})).status == 200


# ---- revocation -------------------------------------------------------------------------------------------------


async def test_a_revoked_version_stops_everywhere_at_once_and_for_good(
    public: Client, other: Client, version: str, database: DatabaseUrls, acme: Bundle
) -> None:
    seen = (await public.get(f"/api/registry/versions/{version}")).json()
    made = await install(public, seen["extension_id"])
    assert made.status == 201
    calling = f"/api/ext/{seen['extension_id']}/agreements/1"
    assert (await public.get(calling)).json()["code"] != "revoked"  # and the gateway remembers the install
    path = f"/api/registry/versions/{version}/revoke"
    done = await public.post(path, {"reason": "it leaks"})
    assert (done.status, done.json()) == (200, {"version_id": version, "revoked": True})
    for _ in range(100):
        answer = await public.get(calling)
        if answer.json()["code"] == "revoked":
            break
    refused(answer, 403, "revoked")
    feed = await rows(database, "select kind, subject from state_feed order by seq desc limit 2")
    pair = f"{seen['extension_id']}/{acme.digest}"
    assert feed == [("ui_gone", pair), ("revoked_version", version)]
    assert (await public.get(f"/api/registry/versions/{version}")).json()["revoked"] is True
    assert (await public.post(path, {"reason": "again"})).status == 200
    assert await actions(database, version) == [("acme", "user:user-1", "version.revoked")]
    refused(await install(other, seen["extension_id"]), 404, "not_found")
    # Whoever enables it again brings neither its calls nor its pages back.
    install_id = made.json()["install_id"]
    await public.post(f"/api/installs/{install_id}/disable")
    await public.post(f"/api/installs/{install_id}/enable")
    last = await rows(database, "select kind from state_feed where kind like 'ui_%' order by seq desc limit 1")
    assert last == [("ui_gone",)]


async def test_the_operator_revokes_anybodys_version_and_its_owner_learns_why(
    public: Client, other: Client, operator: Client, version: str, database: DatabaseUrls
) -> None:
    path = f"/api/registry/versions/{version}/revoke"
    refused(await other.post(path, {"reason": "mine"}), 404, "not_found")
    assert (await operator.post(path, {"reason": "malware"})).status == 200
    assert await actions(database, version) == [
        ("platform", "user:operator", "version.revoked"),
        ("acme", "operator", "version.revoked"),
    ]


async def test_only_a_ready_version_can_be_revoked(
    public: Client, publisher_key: PrivateKey, compiler: StubCompiler, acme: Bundle
) -> None:
    compiler.gate.set()
    made = await finalize(public, acme, publisher_key)  # the compiler knows nothing of it: it is tried again later
    assert made.status == 202
    answer = await public.post(f"/api/registry/versions/{made.json()['version_id']}/revoke", {"reason": "x"})
    refused(answer, 409, "conflict")
    long = {"reason": "x" * (REASON_MAX_CHARS + 1)}
    path = f"/api/registry/versions/{made.json()['version_id']}/revoke"
    refused(await public.post(path, long), 400, "invalid_request")


# ---- signatures -------------------------------------------------------------------------------------------------


async def sign(public: Client, version: str, signature: Any) -> Any:
    return await public.post(f"/api/registry/versions/{version}/signatures", {"signature": signature})


async def stored(gateway: GatewayContext, acme: Bundle) -> list[str]:
    found = await gateway.objects.get_small(keys.signature(acme.digest), SIGNATURE_MAX_BYTES)
    assert found is not None
    return [one["keyid"] for one in msgspec.json.decode(found.data)["signatures"]]


async def test_another_key_holder_signs_a_version_that_is_published(
    public: Client,
    gateway: GatewayContext,
    version: str,
    publisher_key: PrivateKey,
    database: DatabaseUrls,
    acme: Bundle,
) -> None:
    both = [publisher_key.key_id, SECOND.key_id]
    done = await sign(public, version, acme.signature(SECOND))
    assert (done.status, done.json()["signers"]) == (200, both)
    assert await stored(gateway, acme) == both
    again = await sign(public, version, acme.signature(SECOND))
    assert (again.status, again.json()["signers"]) == (200, both)
    assert [row[2] for row in await actions(database, version)] == ["version.countersigned"]


async def test_a_crash_between_the_object_and_the_row_is_repaired_by_repeating(
    public: Client, gateway: GatewayContext, version: str, publisher_key: PrivateKey, acme: Bundle
) -> None:
    both = [publisher_key.key_id, SECOND.key_id]
    key = keys.signature(acme.digest)
    before = await gateway.objects.get_small(key, SIGNATURE_MAX_BYTES)
    assert before is not None
    envelope = msgspec.json.decode(before.data)
    envelope["signatures"] += acme.signature(SECOND)["signatures"]
    assert await gateway.objects.replace(key, msgspec.json.encode(envelope), "application/json", before.etag)
    assert (await public.get(f"/api/registry/versions/{version}")).json()["signers"] == both[:1]
    assert (await sign(public, version, acme.signature(SECOND))).json()["signers"] == both
    assert await stored(gateway, acme) == both


async def test_somebody_else_who_writes_the_same_file_loses_nothing(
    public: Client, gateway: GatewayContext, version: str, monkeypatch: pytest.MonkeyPatch, acme: Bundle
) -> None:
    replace, lost = gateway.objects.replace, 0

    async def racing(key: str, data: bytes, content_type: str, etag: str) -> bool:
        nonlocal lost
        lost += 1
        return False if lost < 3 else await replace(key, data, content_type, etag)

    monkeypatch.setattr(gateway.objects, "replace", racing)
    assert (await sign(public, version, acme.signature(SECOND))).status == 200
    assert lost == 3


async def test_a_store_that_fails_leaves_the_old_signatures(
    public: Client,
    gateway: GatewayContext,
    version: str,
    publisher_key: PrivateKey,
    monkeypatch: pytest.MonkeyPatch,
    acme: Bundle,
) -> None:
    async def failing(*_: object) -> bool:
        raise BundleUnavailable

    monkeypatch.setattr(gateway.objects, "replace", failing)
    refused(await sign(public, version, acme.signature(SECOND)), 503, "bundle_unavailable")
    assert (await public.get(f"/api/registry/versions/{version}")).json()["signers"] == [publisher_key.key_id]


async def test_a_signature_that_does_not_count_is_refused_and_changes_nothing(
    public: Client, gateway: GatewayContext, version: str, publisher_key: PrivateKey, operator: Client, acme: Bundle
) -> None:
    stranger, good = PrivateKey(bytes([66]) * 32), acme.signature(SECOND)
    mixed = good | {"signatures": good["signatures"] + acme.signature(stranger)["signatures"]}
    for signature, code in (
        (acme.signature(stranger), "signature_untrusted_key"),
        (mixed, "signature_untrusted_key"),
        (good | {"signatures": []}, "signature_missing"),
        (acme.signature(SECOND, name="acme.other"), "signature_invalid"),
        (bundle(salt="other").signature(SECOND), "signature_invalid"),
        ({}, "signature_invalid"),
    ):
        refused(await sign(public, version, signature), 422, code)
    await operator.post(f"/api/admin/keys/{SECOND.key_id}/revoke", {"reason": "lost"})
    refused(await sign(public, version, good), 422, "signature_key_revoked")
    assert await stored(gateway, acme) == [publisher_key.key_id]


async def test_a_revoked_version_gets_no_signature(public: Client, version: str, acme: Bundle) -> None:
    await public.post(f"/api/registry/versions/{version}/revoke", {"reason": "x"})
    refused(await sign(public, version, acme.signature(SECOND)), 403, "revoked")
