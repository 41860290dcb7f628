"""A host that a guest wanted and was not granted, seen by the administrator: through both services, by tenant."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from deploy.local.record import Stack
from tests.system.acting import Visitor, visiting
from tests.system.fetchers import Fetcher, Place, fetcher, let_out

pytestmark = pytest.mark.asyncio(loop_scope="module")

ELSEWHERE = "https://elsewhere.example.org"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def admin(stack: Stack) -> AsyncIterator[Visitor]:
    """The administrator of the tenant `acme`, for all tests of this file."""
    async with visiting(stack, stack.tenant("acme").admin_token) as visitor:
        yield visitor


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    """Both services, with a way out for those who were granted one."""
    async with let_out(stack, tmp_path_factory.mktemp("out")) as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def confined(admin: Visitor, place: Place, tmp_path_factory: pytest.TempPathFactory) -> Fetcher:
    """A guest that may fetch from one host of its manifest's."""
    return await fetcher(admin, place, "hello-quickjs", tmp_path_factory.mktemp("wanting"), kind="wanting")


async def denied(visitor: Visitor, guest: Fetcher, method: str = "GET") -> Any:
    """What the visitor is answered."""
    path = f"/api/installs/{guest.extension.install_id}/denied"
    return await visitor.call(method, path, base=guest.place.base)


async def counted(admin: Visitor, guest: Fetcher, times: int) -> dict[str, Any]:
    """The one target, once it was counted so often: that happens behind the answers."""
    async with asyncio.timeout(10):
        while True:
            items = (await denied(admin, guest)).json()["items"]
            if sum(item["count"] for item in items) >= times:
                (found,) = items
                return dict(found)
            await asyncio.sleep(0.05)


async def test_a_host_that_was_asked_for_twice_is_listed_with_the_entry_that_would_allow_it(
    stack: Stack, admin: Visitor, confined: Fetcher
) -> None:
    for path in ("/first?secret=1", "/second"):
        assert (await confined.fetch(ELSEWHERE + path))["error"] == "not-allowed"
    found = await counted(admin, confined, 2)
    assert found.pop("first_seen") <= found.pop("last_seen")
    assert found == {
        "target": ELSEWHERE,
        "host": "elsewhere.example.org",
        "port": 443,
        "reason": "not-granted",
        "verdict": "denied",
        "count": 2,
        "would_allow": {"entry": ELSEWHERE, "where": "manifest"},
    }
    async with visiting(stack, stack.tenant("globex").admin_token) as stranger:
        for method in ("GET", "DELETE"):
            refused = await denied(stranger, confined, method)
            assert (refused.status, refused.code) == (404, "not_installed")
    async with visiting(stack, stack.tenant("acme").user_token) as user:
        assert (await denied(user, confined)).code == "forbidden"
    assert (await denied(admin, confined)).json()["items"][0]["count"] == 2
    assert (await denied(admin, confined, "DELETE")).json() == {"items": []}
    assert (await denied(admin, confined)).json() == {"items": []}
