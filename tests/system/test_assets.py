"""UI assets: verified bytes from the runner's public listener, with the rules that make them harmless."""

from __future__ import annotations

import pytest

from deploy.local.record import Extension, Stack
from tests.system.acting import Visitor


@pytest.fixture
def extension(stack: Stack) -> Extension:
    """One installed sample."""
    return stack.extension("hello-python", "acme")


def at(extension: Extension, path: str) -> str:
    return f"/ext-ui/{extension.id}/{extension.content_hash}/{path}"


async def test_the_entry_document_is_boxed_in_and_never_stale(
    nobody: Visitor, stack: Stack, extension: Extension
) -> None:
    answer = await nobody.get(at(extension, "index.html"), base=stack.runner_public_base)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.headers["cache-control"] == "no-cache"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts allow-forms; default-src 'none'")
    assert "allow-same-origin" not in policy
    assert f"frame-ancestors {stack.gateway_url}" in policy
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_other_files_never_change_under_their_digest(nobody: Visitor, stack: Stack, extension: Extension) -> None:
    base = stack.runner_public_base
    answer = await nobody.get(at(extension, "style.css"), base=base)
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    again = await nobody.get(at(extension, "style.css"), base=base, headers={"if-none-match": answer.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


async def test_a_navigation_falls_back_to_the_entry_and_a_missing_script_does_not(
    nobody: Visitor, stack: Stack, extension: Extension
) -> None:
    base = stack.runner_public_base
    page = await nobody.get(at(extension, "settings/profile"), base=base, headers={"sec-fetch-dest": "iframe"})
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert (await nobody.get(at(extension, "missing.js"), base=base)).status == 404


async def test_a_digest_under_another_extensions_id_is_not_served(nobody: Visitor, stack: Stack) -> None:
    python, quickjs = (stack.extension(f"hello-{name}", "acme") for name in ("python", "quickjs"))
    path = f"/ext-ui/{python.id}/{quickjs.content_hash}/index.html"
    assert (await nobody.get(path, base=stack.runner_public_base)).status == 404


@pytest.mark.parametrize("path", ["..%2f..%2fetc/passwd", "%252e%252e/x", "%c0%ae", "%00", "a%5cb", "../manifest.json"])
async def test_nothing_outside_the_ui_can_be_reached(
    nobody: Visitor, stack: Stack, extension: Extension, path: str
) -> None:
    answer = await nobody.get(at(extension, path), base=stack.runner_public_base)
    assert answer.status in (400, 404)
    assert b"root:" not in answer.body
    assert b"publisher" not in answer.body


async def test_the_gateway_serves_no_assets_itself(nobody: Visitor, extension: Extension) -> None:
    answer = await nobody.get(at(extension, "index.html"))
    assert (answer.status, answer.headers["cache-control"]) == (404, "no-store")


async def test_the_bootstrap_answer_has_what_a_host_page_needs(
    admin: Visitor, stack: Stack, extension: Extension
) -> None:
    found = (await admin.get("/api/ext-ui/bootstrap/alga.samples.hello-python")).json()
    assert found["contentHash"] == extension.content_hash
    assert found["allowedOrigin"] == stack.runner_public_base
    assert found["src"].startswith(f"{stack.runner_public_base}/ext-ui/{extension.id}/")
    frame = admin.with_token(found["session"]["token"])
    assert (await frame.get("/api/ext/alga.samples.hello-python/hello")).json()["tenant"] == "acme"


async def test_an_iframes_session_is_good_for_its_own_extension_only(admin: Visitor) -> None:
    found = (await admin.get("/api/ext-ui/bootstrap/alga.samples.hello-python")).json()
    frame = admin.with_token(found["session"]["token"])
    assert (await frame.get("/api/ext/alga.samples.hello-quickjs/hello")).status == 401
    assert (await frame.get("/api/installs")).status == 401
