"""What makes a call be debugged: the platform for all of them, or the switch of one install."""

from __future__ import annotations

import asyncio
import uuid

import msgspec
import pytest

from tests.gateway.api.open_stream import DEBUG, WAIT_MAX_S, audit
from tests.gateway.seeds import Seed, seed
from tests.gateway.services import DatabaseUrls
from tests.gateway.serving import Served, bearer, is_problem, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_install_is_switched_on_by_its_administrator_and_calls_say_so(
    shared_database: DatabaseUrls, install: Seed
) -> None:
    target = f"/api/installs/{install.install_id}/debug"
    admin, call = bearer(install, "extension:admin", DEBUG), bearer(install)
    async with serving(shared_database, EXT_DEBUG_ENABLED="0") as own:
        for enabled in (False, True, False):
            body = msgspec.json.encode({"enabled": enabled})
            changed = await own.call("PUT", target, body, authorization=admin, content_type="application/json")
            assert (changed.status, changed.json()) == (200, {"enabled": enabled})
            assert (await own.call("GET", target, authorization=admin)).json() == {"enabled": enabled}
            await _calls_say(own, install, call, debug=enabled)
    actions = [(row["action"], row["detail"]) for row in audit(shared_database, install.tenant_id)]
    assert actions == [("install.debug", {"enabled": True}), ("install.debug", {"enabled": False})]


async def _calls_say(own: Served, install: Seed, credential: str, *, debug: bool) -> None:
    async with asyncio.timeout(WAIT_MAX_S):
        while True:
            await own.call("GET", f"/api/ext/{install.install_id}/notes/7", authorization=credential)
            if own.stub.requests[-1].debug is debug:
                return


async def test_the_platform_may_debug_every_install(shared_database: DatabaseUrls, install: Seed) -> None:
    async with serving(shared_database, EXT_DEBUG_ENABLED="1") as own:
        await own.call("GET", f"/api/ext/{install.install_id}/notes/7", authorization=bearer(install))
        assert own.stub.requests[-1].debug


async def test_the_switch_is_the_administrators_and_its_tenants(
    watched: Served, shared_database: DatabaseUrls, install: Seed
) -> None:
    theirs = seed(shared_database, f"{install.tenant_id}-switch")
    body = b'{"enabled":true}'
    own, foreign = (f"/api/installs/{one.install_id}/debug" for one in (install, theirs))
    kind = {"content_type": "application/json"}
    answer = await watched.call("PUT", own, body, authorization=bearer(install, DEBUG), **kind)
    is_problem(answer, 403, "forbidden")
    admin = bearer(install, "extension:admin", DEBUG)
    for target in (foreign, "/api/installs/none/debug", f"/api/installs/{uuid.uuid4()}/debug"):
        is_problem(await watched.call("PUT", target, body, authorization=admin, **kind), 404, "not_installed")
        is_problem(await watched.call("GET", target, authorization=admin), 404, "not_installed")
    for wrong in (b"{}", b'{"enabled":1}', b'{"enabled":true,"x":1}'):
        is_problem(await watched.call("PUT", own, wrong, authorization=admin, **kind), 400, "invalid_request")
