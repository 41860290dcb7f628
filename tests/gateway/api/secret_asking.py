"""An install that asks for secrets, and what is seen of them over REST, in the database and in calls to the runner."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import psycopg
import pytest
import pytest_asyncio
from psycopg.rows import dict_row

from shared.sealing import SealingKey, bound_values
from shared.wire import SecretEnvelope
from tests.gateway.seeds import MANIFEST, Seed, seed
from tests.gateway.services import DatabaseUrls
from tests.gateway.serving import Answer, Served, bearer, serving

ADMIN = "extension:admin"
CANARY = "canary-7f3a91c2-secret"
KEY, OLD_KEY = SealingKey(b"\1" * 32), SealingKey(b"\2" * 32)
ASKS: dict[str, object] = MANIFEST | {
    "permissions": {
        "secrets": [
            {"name": "api_key", "description": "of the API", "required": True, "hosts": ["api.example.com"]},
            {"name": "webhook"},
        ]
    }
}
READS, FETCHES = ("cap:context.read", "cap:secrets.get"), ("cap:context.read", "cap:http.fetch")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sealing(shared_database: DatabaseUrls) -> AsyncIterator[Served]:
    """A gateway that seals with the first of two keys."""
    async with serving(shared_database, GATEWAY_SEALING_PUBLIC_KEYS=KEY.public.pem() + OLD_KEY.public.pem()) as found:
        yield found


@pytest.fixture
def asking(shared_database: DatabaseUrls, tenant: str) -> Seed:
    """An install whose manifest asks for two secrets; it may read them."""
    return seed(shared_database, tenant, manifest=ASKS, caps=READS)


def path(install: Seed, name: str = "") -> str:
    return f"/api/installs/{install.install_id}/secrets{name and '/' + name}"


async def put(served: Served, install: Seed, body: Any, *permissions: str) -> Answer:
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    credential = bearer(install, *(permissions or (ADMIN,)))
    return await served.call("PUT", path(install), data, authorization=credential, content_type="application/json")


async def listed(served: Served, install: Seed) -> dict[str, Any]:
    answer = await served.call("GET", path(install), authorization=bearer(install, ADMIN))
    assert answer.status == 200, answer.body
    return {one["name"]: one for one in answer.json()["secrets"]}


def rows(database: DatabaseUrls, install: Seed) -> dict[str, dict[str, Any]]:
    with psycopg.connect(database.owner, row_factory=dict_row) as connection:
        found = connection.execute(
            "select * from tenant_extension_install_secrets where install_id = %s", (install.install_id,)
        ).fetchall()
    return {str(row["name"]): row for row in found}


async def sent(served: Served, install: Seed) -> tuple[dict[str, SecretEnvelope], dict[str, str]]:
    """The envelopes of a call of the extension as the runner gets them, and the headers beside."""
    served.ctx.resolver.forget(install.tenant_id)  # its notice may still be on its way
    answer = await served.call("GET", f"/api/ext/{install.install_id}/notes/7", authorization=bearer(install))
    assert answer.status == 200, answer.body
    return {one.name: one for one in served.stub.requests[-1].secret_envelopes}, served.stub.headers[-1]


def opened(envelope: SecretEnvelope, install: Seed, key: SealingKey = KEY) -> str:
    plaintext = key.open(b64decode(envelope.ciphertext_b64))
    owner = {"tenant": install.tenant_id, "install": install.install_id, "name": envelope.name}
    return bound_values(plaintext, **owner)[envelope.name]
