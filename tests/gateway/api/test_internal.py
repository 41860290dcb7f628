"""What runners ask, on the internal listener only, and who else is refused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import pytest

from gateway.store import feed
from gateway.store.platform import feed as platform_feed
from gateway.store.pool import Database
from shared.keys import PrivateKey
from shared.limits import STATE_FEED_PAGE_MAX
from shared.tokens import HostClaims, IdentityClaims, mint, new_jti
from tests.gateway.asgi import Client
from tests.gateway.bundles import bundle
from tests.gateway.people import Host
from tests.gateway.registry_flow import install, publish, refused
from tests.gateway.services import DatabaseUrls, owner
from tests.gateway.stub_compiler import StubCompiler

NOBODY = "11111111-1111-4111-8111-111111111111"


def identity(key: PrivateKey, **changes: Any) -> Mapping[str, str]:
    now = int(time.time())
    fields: dict[str, Any] = {"iss": key.key_id, "aud": "gateway", "jti": new_jti(), "iat": now, "exp": now + 60}
    return {"authorization": f"Bearer {mint(key, IdentityClaims(**(fields | changes)))}"}


async def test_the_feed_is_read_from_where_the_reader_stopped(
    internal: Client, store: Database, runner_key: PrivateKey
) -> None:
    for subject in ("a", "b", "c"):
        async with store.platform() as tx:
            await feed.append(tx, "revoked_key", subject)
    first = (await internal.get("/internal/state", **identity(runner_key))).json()
    assert [entry["subject"] for entry in first["entries"]] == ["a", "b", "c"]
    assert first["last"] == first["entries"][-1]["seq"]
    after = first["entries"][0]["seq"]
    second = (await internal.get(f"/internal/state?after={after}", **identity(runner_key))).json()
    assert [entry["subject"] for entry in second["entries"]] == ["b", "c"]
    last = first["last"]
    third = (await internal.get(f"/internal/state?after={last}", **identity(runner_key))).json()
    assert third == {"entries": [], "last": last}


async def test_a_long_feed_comes_in_pages(internal: Client, database: DatabaseUrls, runner_key: PrivateKey) -> None:
    async with owner(database.owner) as connection:
        await connection.execute(
            "insert into state_feed (kind, subject) select 'brake', n::text from generate_series(1, %s) n",
            (STATE_FEED_PAGE_MAX + 1,),
        )
    first = (await internal.get("/internal/state?after=0", **identity(runner_key))).json()
    assert len(first["entries"]) == STATE_FEED_PAGE_MAX
    second = (await internal.get(f"/internal/state?after={first['last']}", **identity(runner_key))).json()
    assert len(second["entries"]) == 1


async def test_entries_become_visible_in_the_order_of_their_numbers(store: Database) -> None:
    seen: list[int] = []
    stop = asyncio.Event()

    async def read() -> None:
        while not stop.is_set():
            async with store.platform() as tx:
                seen.extend(entry.seq for entry in await platform_feed.after(tx, max(seen, default=0), 1000))

    async def append(number: int) -> None:
        async with store.platform() as tx:
            await feed.append(tx, "brake", str(number))
            await tx.execute("select pg_sleep(random() * 0.01)")

    reader = asyncio.create_task(read())
    await asyncio.gather(*(append(number) for number in range(40)))
    stop.set()
    await reader
    async with store.platform() as tx:
        every = [entry.seq for entry in await platform_feed.after(tx, 0, 1000)]
    async with store.platform() as tx:
        seen.extend(entry.seq for entry in await platform_feed.after(tx, max(seen, default=0), 1000))
    assert len(every) == 40
    assert seen == every


@pytest.mark.parametrize("after", ["-1", "x", "1.0", "", "9" * 19, "%D9%A1"])
async def test_a_place_that_is_none_is_refused(internal: Client, runner_key: PrivateKey, after: str) -> None:
    refused(await internal.get(f"/internal/state?after={after}", **identity(runner_key)), 400, "invalid_request")


async def test_a_ui_is_live_while_somebody_has_it_enabled(
    internal: Client, public: Client, compiler: StubCompiler, publisher_key: PrivateKey, runner_key: PrivateKey
) -> None:
    one = bundle()
    version = await publish(public, compiler, one, publisher_key)
    path = f"/internal/ui/{version['extension_id']}/{one.digest}"
    refused(await internal.get(path, **identity(runner_key)), 404, "not_found")
    mine = (await install(public, "acme.crm")).json()
    answer = await internal.get(path, **identity(runner_key))
    assert (answer.status, answer.json()) == (200, {"live": True})
    refused(await internal.get(f"/internal/ui/{NOBODY}/{one.digest}", **identity(runner_key)), 404, "not_found")
    await public.post(f"/api/installs/{mine['install_id']}/disable")
    refused(await internal.get(path, **identity(runner_key)), 404, "not_found")


@pytest.mark.parametrize("path", [f"/internal/ui/x/sha256:{'0' * 64}", f"/internal/ui/{NOBODY}/sha256:0"])
async def test_a_look_up_that_names_nothing_is_refused(internal: Client, runner_key: PrivateKey, path: str) -> None:
    refused(await internal.get(path, **identity(runner_key)), 400, "invalid_request")


@pytest.mark.security
@pytest.mark.parametrize("path", ["/internal/state", f"/internal/ui/{NOBODY}/sha256:{'0' * 64}"])
async def test_only_a_runner_is_answered(
    internal: Client, host: Host, runner_key: PrivateKey, gateway_key: PrivateKey, path: str
) -> None:
    now = int(time.time())
    host_token = mint(
        runner_key,
        HostClaims(
            iss="x",
            aud="gateway",
            jti="j",
            iat=now,
            exp=now + 5,
            tenant="t",
            extension="e",
            install="i",
            request_id="r",
        ),
    )
    good = identity(runner_key)["authorization"]
    for headers in (
        {},
        {"authorization": "Basic eDp5"},
        {"authorization": good.replace("Bearer ", "Bearer")},
        host.headers(),
        identity(gateway_key),
        identity(runner_key, aud="compiler"),
        identity(runner_key, iat=now - 600, exp=now - 540),
        {"authorization": f"Bearer {host_token}"},
    ):
        refused(await internal.get(path, **headers), 401, "unauthorized")
    twice = [(b"authorization", good.encode())] * 2
    refused(await internal.request("GET", path, headers=twice), 401, "unauthorized")


@pytest.mark.security
@pytest.mark.parametrize("path", ["/internal/state", f"/internal/ui/{NOBODY}/sha256:{'0' * 64}", "/metrics"])
async def test_the_public_listener_has_nothing_internal(public: Client, runner_key: PrivateKey, path: str) -> None:
    refused(await public.get(path, **identity(runner_key)), 404, "not_found")


async def test_the_internal_listener_has_nothing_public(internal: Client, host: Host) -> None:
    for path in ("/api/installs", "/api/registry/extensions", "/api/ext/acme.crm/x"):
        refused(await internal.get(path, **host.headers()), 404, "not_found")
