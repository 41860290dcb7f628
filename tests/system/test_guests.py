"""Three guests, built by three toolchains, through both services: what each answers and how each fails."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from deploy.local.record import Stack
from tests.system.acting import Visitor
from tests.system.keepers import keeper

GUESTS = {
    "hello-python": "python",
    "hello-quickjs": "javascript (quickjs)",
    "hello-starling": "javascript (starlingmonkey)",
}

every_guest = pytest.mark.parametrize("name", GUESTS)


def at(name: str, path: str) -> str:
    return f"/api/ext/alga.samples.{name}{path}"


@every_guest
async def test_hello_names_tenant_extension_and_language(admin: Visitor, stack: Stack, name: str) -> None:
    answer = await admin.get(at(name, "/hello?x=1"))
    assert answer.status == 200
    extension = stack.extension(name, "acme")
    assert answer.json() == {
        "message": "hello",
        "tenant": "acme",
        "extension": extension.id,
        "language": GUESTS[name],
        "path": "/hello?x=1",
    }


@every_guest
async def test_echo_returns_the_very_bytes_and_their_type(admin: Visitor, name: str) -> None:
    body = bytes(range(256)) * 256
    answer = await admin.call("POST", at(name, "/echo"), data=body, headers={"content-type": "image/png"})
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, "image/png", body)


@every_guest
async def test_every_answer_of_a_guest_is_boxed_in(admin: Visitor, name: str) -> None:
    headers = (await admin.get(at(name, "/hello"))).headers
    assert headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    assert "x-request-id" in headers


@every_guest
async def test_a_guest_reads_context_user_and_config(admin: Visitor, stack: Stack, name: str) -> None:
    found = (await admin.get(at(name, "/context"))).json()
    extension = stack.extension(name, "acme")
    assert found["context"]["tenant_id"] == "acme"
    assert found["context"]["install_id"] == extension.install_id
    assert found["user"]["tenant_id"] == "acme"
    assert found["user"]["user_type"] == "internal"
    assert found["user_v2"]["user_id"] == found["user"]["user_id"]


@every_guest
async def test_what_is_not_granted_answers_its_typed_refusal(admin: Visitor, name: str, tmp_path: Path) -> None:
    bare, _ = await keeper(admin, name, tmp_path, granted=False)  # the samples themselves are granted what they ask for
    found = (await admin.get(f"/api/ext/{bare.install_id}/denied")).json()
    assert found["secrets"] == "denied"
    assert found["http"] == "not-allowed"
    assert found["storage"] == "denied"
    assert found["ui-proxy"] == "denied"
    assert found["scheduler"] == "denied"
    assert "cap:events.publish" in found["events"]


@every_guest
async def test_a_guest_never_sees_credentials_and_only_the_listed_headers(admin: Visitor, name: str) -> None:
    sent = {"cookie": "session=1", "x-custom": "1", "accept-language": "de"}
    answer = await admin.get(at(name, "/headers"), headers=sent)
    seen = {header.lower(): value for header, value in answer.json()}
    assert seen["accept-language"] == "de"
    assert seen["x-alga-tenant"] == "acme"
    assert not {"authorization", "cookie", "x-custom"} & set(seen)


@every_guest
async def test_randomness_differs_between_calls(admin: Visitor, name: str) -> None:
    drawn = {(await admin.get(at(name, "/random"))).json()["random"] for _ in range(5)}
    assert len(drawn) == 5


@every_guest
@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/loop", 504, "guest_timeout"),
        ("/bomb", 502, "guest_memory_exceeded"),
        ("/stack", 502, "guest_trapped"),
        ("/trap", 502, "guest_trapped"),
    ],
)
async def test_a_guest_that_fails_has_its_code_and_the_next_request_works(
    admin: Visitor, name: str, path: str, status: int, code: str
) -> None:
    answer = await admin.get(at(name, path))
    assert (answer.status, answer.code) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await admin.get(at(name, "/hello"))).status == 200


async def test_both_tenants_are_served_at_once_and_never_mixed_up(admin: Visitor, stack: Stack) -> None:
    other = admin.with_token(stack.tenant("globex").admin_token)
    calls = [visitor.get(at(name, "/hello")) for _ in range(10) for name in GUESTS for visitor in (admin, other)]
    tenants = [answer.json()["tenant"] for answer in await asyncio.gather(*calls)]
    assert tenants == ["acme", "globex"] * (len(calls) // 2)


@pytest.mark.parametrize("form", ["install", "registry", "publisher.name", "name"])
async def test_an_extension_is_found_under_each_of_its_names(admin: Visitor, stack: Stack, form: str) -> None:
    extension = stack.extension("hello-quickjs", "acme")
    named = {
        "install": extension.install_id,
        "registry": extension.id,
        "publisher.name": "alga.samples.hello-quickjs",
        "name": "samples.hello-quickjs",
    }[form]
    assert (await admin.get(f"/api/ext/{named}/hello")).json()["extension"] == extension.id


async def test_head_answers_like_get_without_a_body(admin: Visitor) -> None:
    answer = await admin.call("HEAD", at("hello-quickjs", "/hello"))
    assert (answer.status, answer.body) == (200, b"")
