"""`/api/installs/{id}/secrets`: values go in and never come out, only a runner's key opens them."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
import structlog

from shared import logs
from shared.limits import (
    SECRET_HOSTS_MAX_COUNT,
    SECRET_VALUE_MAX_BYTES,
    SECRETS_BODY_MAX_BYTES,
    SECRETS_MAX_COUNT,
)
from tests.gateway.api.open_stream import audit
from tests.gateway.api.secret_asking import (
    ADMIN,
    ASKS,
    CANARY,
    KEY,
    READS,
    listed,
    opened,
    path,
    put,
    rows,
    sent,
)
from tests.gateway.seeds import Seed, seed
from tests.gateway.services import DatabaseUrls
from tests.gateway.serving import Served, bearer, is_problem, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

# ---- setting and listing ------------------------------------------------------------------------------------


async def test_a_secret_is_sealed_for_the_runner_and_only_its_name_is_shown(
    sealing: Served, shared_database: DatabaseUrls, asking: Seed
) -> None:
    before = await listed(sealing, asking)
    assert {name: one["set"] for name, one in before.items()} == {"api_key": False, "webhook": False}
    assert (before["api_key"]["description"], before["api_key"]["required"]) == ("of the API", True)
    answer = await put(sealing, asking, {"api_key": CANARY})
    assert answer.status == 200
    assert CANARY.encode() not in answer.body
    assert {one["name"]: one["granted"] for one in answer.json()["secrets"]} == {"api_key": True, "webhook": False}
    found = (await listed(sealing, asking))["api_key"]
    assert (found["set"], found["key_id"], found["algorithm"], found["version"]) == (
        True,
        KEY.key_id,
        "nacl-sealed:v1",
        1,
    )
    assert found["hosts"] == ["https://api.example.com"]
    assert CANARY not in repr(found)
    row = rows(shared_database, asking)["api_key"]
    assert CANARY.encode() not in row["ciphertext"]
    assert KEY.open(row["ciphertext"])
    assert row["tenant_id"] == asking.tenant_id


async def test_what_is_not_named_stays_and_null_removes(sealing: Served, asking: Seed) -> None:
    await put(sealing, asking, {"api_key": CANARY, "webhook": "another-canary"})
    assert (await put(sealing, asking, {"webhook": None})).status == 200
    found = await listed(sealing, asking)
    assert {name: one["set"] for name, one in found.items()} == {"api_key": True, "webhook": False}
    answer = await sealing.call("DELETE", path(asking, "api_key"), authorization=bearer(asking, ADMIN))
    assert (answer.status, answer.json()["version"]) == (200, 3)
    assert not (await listed(sealing, asking))["api_key"]["set"]
    answer = await sealing.call("DELETE", path(asking, "api_key"), authorization=bearer(asking, ADMIN))
    is_problem(answer, 404, "not_found")


async def test_terms_change_without_the_value_and_a_new_value_keeps_its_hosts(sealing: Served, asking: Seed) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0)
    first = {"value": CANARY, "expires_at": soon.isoformat(), "hosts": ["*.eu.example.com:8443"]}
    assert (await put(sealing, asking, {"api_key": first})).status == 200
    found = (await listed(sealing, asking))["api_key"]
    assert found["hosts"] == ["https://*.eu.example.com:8443"]
    assert datetime.fromisoformat(found["expires_at"]) == soon
    assert (await put(sealing, asking, {"api_key": {"hosts": []}})).status == 200
    found = (await listed(sealing, asking))["api_key"]
    assert (found["hosts"], datetime.fromisoformat(found["expires_at"])) == ([], soon)
    assert (await put(sealing, asking, {"api_key": {"expires_at": None, "hosts": ["a.example"]}})).status == 200
    assert (await put(sealing, asking, {"api_key": "a-new-canary"})).status == 200
    found = (await listed(sealing, asking))["api_key"]
    assert (found["hosts"], found["expires_at"], found["version"]) == (["https://a.example"], None, 4)
    envelopes, _ = await sent(sealing, asking)
    assert opened(envelopes["api_key"], asking) == "a-new-canary"


async def test_every_change_is_in_the_audit_log_with_names_only(
    sealing: Served, shared_database: DatabaseUrls, asking: Seed
) -> None:
    await put(sealing, asking, {"api_key": CANARY, "webhook": "another-canary"})
    await put(sealing, asking, {"api_key": {"hosts": []}, "webhook": None})
    changes = [(row["action"], row["detail"]) for row in audit(shared_database, asking.tenant_id)]
    assert changes == [
        ("install.secrets", {"set": ["api_key", "webhook"], "bound": [], "removed": [], "version": 1}),
        ("install.secrets", {"set": [], "bound": ["api_key"], "removed": ["webhook"], "version": 2}),
    ]


# ---- who, what, how much ------------------------------------------------------------------------------------


async def test_it_is_the_administrators_and_its_tenants(
    sealing: Served, shared_database: DatabaseUrls, asking: Seed
) -> None:
    theirs = seed(shared_database, f"{asking.tenant_id}-x", manifest=ASKS, caps=READS)
    await put(sealing, theirs, {"api_key": CANARY})
    for permission in ("extension:read", "extension:write", "extension:publish"):
        is_problem(await put(sealing, asking, {"api_key": "x"}, permission), 403, "forbidden")
        answer = await sealing.call("GET", path(asking), authorization=bearer(asking, permission))
        is_problem(answer, 403, "forbidden")
    is_problem(await sealing.call("GET", path(asking)), 401, "unauthenticated")
    for other in (theirs.install_id, "none", str(uuid.uuid4())):
        for method, tail, body in (("GET", "", None), ("PUT", "", b'{"api_key":null}'), ("DELETE", "/api_key", None)):
            answer = await sealing.call(
                method,
                f"/api/installs/{other}/secrets{tail}",
                body,
                authorization=bearer(asking, ADMIN),
                content_type="application/json",
            )
            is_problem(answer, 404, "not_installed")
    assert (await listed(sealing, theirs))["api_key"]["set"]


async def test_a_name_the_manifest_does_not_ask_for_is_refused_with_those_it_does(
    sealing: Served, asking: Seed
) -> None:
    answer = await put(sealing, asking, {"api_key": CANARY, "other": CANARY})
    is_problem(answer, 400, "invalid_request")
    assert answer.json()["valid"] == ["api_key", "webhook"]
    assert not (await listed(sealing, asking))["api_key"]["set"]  # nothing of it was done


async def test_a_manifest_that_names_none_leaves_the_names_to_the_administrator(
    sealing: Served, shared_database: DatabaseUrls, tenant: str
) -> None:
    free = seed(shared_database, tenant, caps=READS)
    assert (await put(sealing, free, {"any.name-1": CANARY})).status == 200
    envelopes, _ = await sent(sealing, free)
    assert opened(envelopes["any.name-1"], free) == CANARY


PAST = "2001-01-01T00:00:00Z"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"{}",
        b'"canary-7f3a91c2-secret"',
        b'{"api_key":"canary-7f3a91c2-secret"',
        b'{"api_key":"canary-7f3a91c2-secret\\ud800"}',
        {"api_key": ""},
        {"api_key": ["canary-7f3a91c2-secret"]},
        {"api_key": {"value": 5}},
        {"api_key": {"value": CANARY, "later": 1}},
        {"api_key": {"value": CANARY, "expires_at": PAST}},
        {"api_key": {"value": CANARY, "expires_at": "2099-01-01T00:00:00"}},
        {"api_key": {"value": CANARY, "expires_at": CANARY}},
        {"api_key": {"value": CANARY, "hosts": "api.example.com"}},
        {"api_key": {"value": CANARY, "hosts": ["127.0.0.1"]}},
        {"api_key": {"value": CANARY, "hosts": ["*.com"]}},
        {"api_key": {"value": CANARY, "hosts": ["a.example/path"]}},
        {"api_key": {"value": CANARY, "hosts": ["a.example"] * (SECRET_HOSTS_MAX_COUNT + 1)}},
        {"webhook": {"hosts": []}},
        {"a/b": CANARY},
        {"": CANARY},
        {"x" * 129: CANARY},
    ],
)
async def test_what_cannot_be_kept_is_refused_and_never_quoted(
    sealing: Served, asking: Seed, body: Any, shared_database: DatabaseUrls
) -> None:
    answer = await put(sealing, asking, body)
    is_problem(answer, 400, "invalid_request")
    assert b"canary" not in answer.body
    assert rows(shared_database, asking) == {}


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("x", 200),
        ("x" * SECRET_VALUE_MAX_BYTES, 200),
        ("x" * (SECRET_VALUE_MAX_BYTES + 1), 400),
        ("ä" * (SECRET_VALUE_MAX_BYTES // 2), 200),
        ("ä" * (SECRET_VALUE_MAX_BYTES // 2 + 1), 400),
        ("\n" * SECRET_VALUE_MAX_BYTES, 200),
        ("\x01" * SECRET_VALUE_MAX_BYTES, 400),
    ],
)
async def test_a_value_has_its_limit_in_bytes(sealing: Served, asking: Seed, value: str, status: int) -> None:
    assert (await put(sealing, asking, {"api_key": value})).status == status


async def test_an_install_has_its_limit_of_secrets(sealing: Served, shared_database: DatabaseUrls, tenant: str) -> None:
    free = seed(shared_database, tenant, caps=READS)
    names = [f"s{number}" for number in range(SECRETS_MAX_COUNT + 1)]
    assert (await put(sealing, free, dict.fromkeys(names[:-1], CANARY))).status == 200
    is_problem(await put(sealing, free, {names[-1]: CANARY}), 400, "invalid_request")
    assert (await put(sealing, free, {names[-1]: CANARY, names[0]: None})).status == 200
    assert len(rows(shared_database, free)) == SECRETS_MAX_COUNT
    envelopes, _ = await sent(sealing, free)
    assert len(envelopes) == SECRETS_MAX_COUNT


@pytest.mark.parametrize(("more", "status"), [(0, 200), (1, 413)])
async def test_a_request_has_its_limit(sealing: Served, asking: Seed, more: int, status: int) -> None:
    body = msgspec.json.encode({"api_key": CANARY})
    padding = b" " * (SECRETS_BODY_MAX_BYTES - len(body) + more)
    assert (await put(sealing, asking, body + padding)).status == status


# ---- sealing ------------------------------------------------------------------------------------------------


async def test_without_a_sealing_key_nothing_is_kept_and_nothing_weaker_is_used(
    shared_database: DatabaseUrls, asking: Seed
) -> None:
    async with serving(shared_database) as own:
        answer = await put(own, asking, {"api_key": CANARY})
        is_problem(answer, 502, "secret_unavailable")
        assert (await put(own, asking, {"webhook": None})).status == 200
    assert rows(shared_database, asking) == {}


async def test_a_vault_that_is_away_is_no_reason_to_seal_with_a_key(
    shared_database: DatabaseUrls, asking: Seed
) -> None:
    vault = {
        "GATEWAY_VAULT_ADDR": "http://127.0.0.1:9",
        "GATEWAY_VAULT_TRANSIT_KEY": "transit/alga-secrets",
        "GATEWAY_VAULT_TOKEN": "t",
    }
    async with serving(shared_database, GATEWAY_SEALING_PUBLIC_KEYS=KEY.public.pem(), **vault) as own:
        answer = await put(own, asking, {"api_key": CANARY})
        is_problem(answer, 502, "secret_unavailable")
    assert rows(shared_database, asking) == {}


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    logs.configure("gateway", stream, level="debug")
    yield stream
    structlog.reset_defaults()


async def test_t29_no_value_stands_in_the_gateways_log(sealing: Served, asking: Seed, log: io.StringIO) -> None:
    structlog.get_logger().info("is_written")
    await put(sealing, asking, {"api_key": CANARY})
    await put(sealing, asking, {"api_key": {"value": CANARY, "hosts": ["not an entry"]}})
    await put(sealing, asking, {"api_key": CANARY + "x" * SECRET_VALUE_MAX_BYTES})
    await put(sealing, asking, msgspec.json.encode({"api_key": CANARY})[:-1])
    await sent(sealing, asking)
    assert "is_written" in log.getvalue()
    assert "canary" not in log.getvalue()
