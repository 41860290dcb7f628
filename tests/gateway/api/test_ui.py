"""The gateway's side of extension UIs: the gate, and what a host page is given to open an iframe."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

import pytest
import pytest_asyncio

from gateway.console.theme import LIGHT
from tests.gateway.seeds import MANIFEST, Seed, seed
from tests.gateway.services import DatabaseUrls
from tests.gateway.serving import ORIGIN, PUBLIC_BASE, Served, bearer, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

HASH = "sha256:" + "ab" * 32
UUID = "00000000-0000-4000-8000-000000000001"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def compatible(shared_database: DatabaseUrls) -> AsyncIterator[Served]:
    """A gateway that leads older pages to the runner."""
    async with serving(shared_database, REDIRECT_COMPAT="1") as found:
        yield found


async def test_the_gate_serves_nothing(live: Served) -> None:
    answer = await live.call("GET", f"/ext-ui/{UUID}/{HASH}/index.html")
    assert (answer.status, answer.json()["code"], answer.headers["cache-control"]) == (404, "not_found", "no-store")


@pytest.mark.parametrize("digest", [HASH, HASH.replace(":", "%3A"), HASH.removeprefix("sha256:")])
async def test_the_gate_leads_to_the_runner_when_asked_to(compatible: Served, digest: str) -> None:
    answer = await compatible.call("GET", f"/ext-ui/{UUID}/{digest}/a%20b/index.html?path=%2F&x=1")
    assert answer.status == 308
    assert answer.headers["location"] == f"{PUBLIC_BASE}/ext-ui/{UUID}/{HASH}/a%20b/index.html?path=%2F&x=1"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "target",
    [f"/ext-ui/{UUID}/sha256:ab/index.html", f"/ext-ui/x/{HASH}/index.html", f"/ext-ui/{UUID}%2F..%2F/{HASH}/a"],
)
async def test_the_gate_leads_nowhere_for_what_no_ui_can_be(compatible: Served, target: str) -> None:
    answer = await compatible.call("GET", target)
    assert (answer.status, answer.json()["code"]) == (404, "not_found")
    assert "location" not in answer.headers


async def test_a_strange_path_never_leads_to_another_host(compatible: Served) -> None:
    for tail in ("//evil.example/", "%5c%5cevil.example", "@evil.example", "..%2f..%2f"):
        answer = await compatible.call("GET", f"/ext-ui/{UUID}/{HASH}/{tail}")
        assert answer.headers["location"].startswith(f"{PUBLIC_BASE}/ext-ui/{UUID}/{HASH}/")


async def test_a_host_page_gets_source_session_and_theme(live: Served, install: Seed) -> None:
    answer = await live.call("GET", f"/api/ext-ui/bootstrap/{install.name}", authorization=bearer(install))
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")
    found = answer.json()
    session = found.pop("session")
    assert found == {
        "src": (
            f"{PUBLIC_BASE}/ext-ui/{install.extension_id}/{install.content_hash.replace(':', '%3A')}/index.html"
            f"?path=%2F&extensionId={install.extension_id}"
        ),
        "contentHash": install.content_hash,
        "allowedOrigin": PUBLIC_BASE,
        "themeTokens": LIGHT,
        "initialPath": "/",
    }
    assert parse_qs(urlsplit(found["src"]).query)["path"] == ["/"]
    assert set(session) == {"token", "expiresAt"}
    assert 0 < session["expiresAt"] / 1000 - time.time() <= 600


async def test_a_page_of_a_listed_origin_may_read_it(live: Served, install: Seed) -> None:
    target = f"/api/ext-ui/bootstrap/{install.name}"
    answer = await live.call("GET", target, authorization=bearer(install), origin=ORIGIN)
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    other = await live.call("GET", target, authorization=bearer(install), origin="https://evil.example")
    assert "access-control-allow-origin" not in other.headers


async def test_an_extension_without_a_ui_has_no_bootstrap(
    live: Served, shared_database: DatabaseUrls, tenant: str
) -> None:
    bare = seed(shared_database, tenant, manifest={**MANIFEST, "ui": None})
    answer = await live.call("GET", f"/api/ext-ui/bootstrap/{bare.install_id}", authorization=bearer(bare))
    assert (answer.status, answer.json()["code"]) == (404, "not_found")


async def test_who_may_not_read_gets_no_session(live: Served, shared_database: DatabaseUrls, install: Seed) -> None:
    target = f"/api/ext-ui/bootstrap/{install.install_id}"
    theirs = seed(shared_database, f"{install.tenant_id}-other")
    off = seed(shared_database, install.tenant_id, status="disabled")
    for asked, credential, status, code in (
        (target, {}, 401, "unauthenticated"),
        (target, {"authorization": bearer(install, "extension:write")}, 403, "forbidden"),
        (target, {"authorization": bearer(install, user_type="client", client_id="c1")}, 403, "forbidden"),
        (target, {"authorization": bearer(theirs)}, 404, "not_installed"),
        (f"/api/ext-ui/bootstrap/{off.install_id}", {"authorization": bearer(off)}, 404, "extension_disabled"),
    ):
        answer = await live.call("GET", asked, **credential)
        assert (answer.status, answer.json()["code"]) == (status, code)


async def test_the_session_never_outlives_the_credential_it_came_from(live: Served, install: Seed) -> None:
    ends_s = int(time.time()) + 60
    target = f"/api/ext-ui/bootstrap/{install.install_id}"
    answer = await live.call("GET", target, authorization=bearer(install, exp=ends_s))
    assert answer.json()["session"]["expiresAt"] == ends_s * 1000
