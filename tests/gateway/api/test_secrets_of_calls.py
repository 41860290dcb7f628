"""What calls carry of an install's secrets: sealed, exactly where the install's grants say so, and as they are now."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import psycopg
import pytest

from shared.limits import (
    INSTALL_CACHE_S,
)
from tests.gateway.api.secret_asking import (
    ASKS,
    CANARY,
    FETCHES,
    KEY,
    READS,
    listed,
    opened,
    put,
    rows,
    sent,
)
from tests.gateway.seeds import MANIFEST, Seed, seed
from tests.gateway.services import DatabaseUrls
from tests.gateway.serving import Served, bearer

pytestmark = pytest.mark.asyncio(loop_scope="module")

# ---- what calls carry ---------------------------------------------------------------------------------------


async def test_a_guest_that_may_read_gets_the_sealed_secrets_and_their_version(sealing: Served, asking: Seed) -> None:
    envelopes, headers = await sent(sealing, asking)
    assert (envelopes, headers["x-ext-secrets-version"]) == ({}, "0")
    soon = (datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0)
    await put(
        sealing, asking, {"api_key": {"value": CANARY, "expires_at": soon.isoformat()}, "webhook": "other-canary"}
    )
    envelopes, headers = await sent(sealing, asking)
    assert headers["x-ext-secrets-version"] == "1"
    assert {name: opened(one, asking) for name, one in envelopes.items()} == {
        "api_key": CANARY,
        "webhook": "other-canary",
    }
    one = envelopes["api_key"]
    assert (one.algorithm, one.key_id, one.version) == ("nacl-sealed:v1", KEY.key_id, "1")
    assert (one.hosts, datetime.fromisoformat(one.expires_at or "")) == (("https://api.example.com",), soon)
    await put(sealing, asking, {"webhook": None})
    envelopes, headers = await sent(sealing, asking)
    assert (set(envelopes), headers["x-ext-secrets-version"]) == ({"api_key"}, "2")


async def test_a_change_reaches_gateways_that_know_the_install_already(sealing: Served, asking: Seed) -> None:
    await sent(sealing, asking)
    await put(sealing, asking, {"api_key": CANARY})
    async with asyncio.timeout(INSTALL_CACHE_S - 1):  # by the notice, before what is cached would end
        while True:
            target = f"/api/ext/{asking.install_id}/notes/7"
            assert (await sealing.call("GET", target, authorization=bearer(asking))).status == 200
            if sealing.stub.requests[-1].secret_envelopes:
                return


async def test_without_the_grant_nothing_goes_along_but_what_can_be_injected(
    sealing: Served, shared_database: DatabaseUrls, tenant: str
) -> None:
    for number, (caps, names) in enumerate(
        ((("cap:context.read",), set()), (FETCHES, {"api_key"}), ((*READS, *FETCHES), {"api_key", "webhook"}))
    ):
        install = seed(shared_database, f"{tenant}-{number}", manifest=ASKS, caps=caps)
        await put(sealing, install, {"api_key": CANARY, "webhook": "other-canary"})
        envelopes, _ = await sent(sealing, install)
        assert set(envelopes) == names


async def test_a_secret_whose_grant_was_taken_back_does_not_go_along(
    sealing: Served, shared_database: DatabaseUrls, asking: Seed
) -> None:
    await put(sealing, asking, {"api_key": CANARY})
    with psycopg.connect(shared_database.owner, autocommit=True) as connection:
        granted = connection.execute(
            "select granted_secrets from tenant_extension_install where id = %s", (asking.install_id,)
        ).fetchone()
        assert granted == (["api_key"],)  # setting it granted it
        connection.execute(
            "update tenant_extension_install set granted_secrets = '{}' where id = %s", (asking.install_id,)
        )
    assert await sent(sealing, asking) == ({}, sealing.stub.headers[-1])
    found = (await listed(sealing, asking))["api_key"]
    assert (found["set"], found["granted"]) == (True, False)


async def test_a_version_that_names_no_secrets_gets_those_set_for_it_and_none_from_before(
    sealing: Served, shared_database: DatabaseUrls, asking: Seed
) -> None:
    await put(sealing, asking, {"api_key": CANARY, "webhook": "other-canary"})
    upgraded(shared_database, asking, granted=["webhook"])
    assert set((await sent(sealing, asking))[0]) == {"webhook"}
    await put(sealing, asking, {"free": CANARY})
    assert set((await sent(sealing, asking))[0]) == {"free", "webhook"}
    upgraded(shared_database, asking, granted=[])  # as an upgrade to another such version leaves it
    assert set((await sent(sealing, asking))[0]) == {"free"}
    await put(sealing, asking, {"api_key": CANARY})  # the administrator says so, by name
    assert set((await sent(sealing, asking))[0]) == {"api_key", "free"}


def upgraded(database: DatabaseUrls, install: Seed, *, granted: list[str]) -> None:
    """Move an install to a version whose manifest names no secrets."""
    manifest = msgspec.json.encode(MANIFEST).decode()
    with psycopg.connect(database.owner, autocommit=True) as connection:
        connection.execute(
            "update extension_version set manifest = %s"
            " where id = (select version_id from tenant_extension_install where id = %s)",
            (manifest, install.install_id),
        )
        connection.execute(
            "update tenant_extension_install set granted_secrets = %s where id = %s", (granted, install.install_id)
        )


async def test_t62_a_row_copied_to_another_tenant_opens_to_its_first_owner_only(
    sealing: Served, shared_database: DatabaseUrls, asking: Seed
) -> None:
    thief = seed(shared_database, f"{asking.tenant_id}-thief", manifest=ASKS, caps=READS)
    await put(sealing, asking, {"api_key": CANARY})
    await put(sealing, thief, {"api_key": "something-else"})
    stolen = rows(shared_database, asking)["api_key"]["ciphertext"]
    with psycopg.connect(shared_database.owner, autocommit=True) as connection:
        connection.execute(
            "update tenant_extension_install_secrets set ciphertext = %s where install_id = %s",
            (stolen, thief.install_id),
        )
    envelopes, _ = await sent(sealing, thief)
    with pytest.raises(Exception, match="sealed for another"):
        opened(envelopes["api_key"], thief)
