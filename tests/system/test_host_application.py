"""Services of a host application through both services: three toolchains, granted and denied, shipped and declared.

The host application is a real server. It verifies what it is shown, so that these tests see what it would refuse, too.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from deploy.local.record import Extension, Stack
from tests.host_application import answering
from tests.shared.provider_sources import CRM_WIT, provider_files
from tests.system.acting import Answer, Visitor, visiting
from tests.system.gateways import another_gateway
from tests.system.provider_keepers import (
    DENIED,
    GRANTED,
    Platform,
    component,
    installed,
    offer_to_everyone,
    platform_with_host_application,
    publish,
)
from tests.system.runners import execute_body
from tests.system.watching import watching

ENGINES = ("quickjs", "starlingmonkey", "python")
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.guests, pytest.mark.timeout(300, func_only=True)]
each_guest = pytest.mark.parametrize("engine", ENGINES)
INVOICE = {
    "clientId": "c-1",
    "items": [
        {"serviceId": "s-1", "quantity": 2, "description": "Support", "rate": 100.25},
        {
            "serviceId": "s-2",
            "quantity": 1,
            "description": "Less",
            "rate": 5,
            "isDiscount": True,
            "discountType": "percentage",
        },
    ],
    "poNumber": "PO 1",
}


class Guest(msgspec.Struct, frozen=True):
    """One install of a guest, and whoever calls it."""

    visitor: Visitor
    install_id: str

    async def call(self, method: str, path: str, body: Any = None, visitor: Visitor | None = None) -> Answer:
        data = None if body is None else msgspec.json.encode(body)
        headers = {"content-type": "application/json"}
        return await (visitor or self.visitor).call(
            method, f"/api/ext/{self.install_id}{path}", data=data, headers=headers
        )

    async def json(self, path: str, method: str = "GET", body: Any = None, visitor: Visitor | None = None) -> Any:
        answer = await self.call(method, path, body, visitor)
        assert answer.status == 200, answer.body
        return answer.json()

    async def value(self, path: str, method: str = "GET", body: Any = None, visitor: Visitor | None = None) -> Any:
        found = await self.json(path, method, body, visitor)
        assert "value" in found, found
        return found["value"]


Versions = dict[tuple[str, str], dict[str, Any]]
"""What the registry said of each guest, by what its install is granted and its engine."""

Install = Callable[..., Awaitable[Guest]]


def extension_of(version: dict[str, Any], guest: Guest) -> Extension:
    """The install as `stack.json` would describe it."""
    return Extension(
        id=version["extension_id"],
        name=version["name"],
        version=version["version"],
        content_hash=version["content_hash"],
        install_id=guest.install_id,
        tenant_id="acme",
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def platform(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    async with platform_with_host_application(stack, tmp_path_factory.mktemp("platform")) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def people(platform: Platform) -> AsyncIterator[dict[str, Visitor]]:
    """Callers of this platform, by name."""
    async with contextlib.AsyncExitStack() as into:
        acme, globex = platform.stack.tenant("acme"), platform.stack.tenant("globex")
        yield {
            "admin": await platform.visitor(into, acme.admin_token),
            "client": await platform.visitor(into, acme.client_token),
            "key": await platform.visitor(into, acme.api_key),
            "globex": await platform.visitor(into, globex.admin_token),
        }


@pytest.fixture(scope="module")
def components(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The guests, each built with its toolchain for the world of its manifest."""
    folder = tmp_path_factory.mktemp("built")
    before = os.environ.get("EXT_PROVIDERS_DIR")
    os.environ["EXT_PROVIDERS_DIR"] = str(platform.providers)
    try:
        return {engine: component(folder, engine) for engine in ENGINES}
    finally:
        del os.environ["EXT_PROVIDERS_DIR"]
        if before is not None:
            os.environ["EXT_PROVIDERS_DIR"] = before


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def versions(
    people: dict[str, Visitor],
    components: dict[str, bytes],
    stack: Stack,
    tmp_path_factory: pytest.TempPathFactory,
) -> Versions:
    """Each guest in the registry, twice, published through a gateway and a compiler that know the services."""
    folder = tmp_path_factory.mktemp("published")
    found: Versions = {}
    for engine, wasm in components.items():
        for kind in (GRANTED, DENIED):
            answer = await publish(people["admin"], folder, kind, engine, wasm)
            assert answer.status == 200, answer.body
            found[kind, engine] = answer.json()
            assert answer.json()["state"] == "ready", answer.body
    await offer_to_everyone(stack)
    return found


@pytest.fixture
def installs(people: dict[str, Visitor], versions: Versions) -> Install:
    """Installs a guest and calls it."""

    async def install(engine: str, who: str = "admin", *, kind: str = GRANTED) -> Guest:
        visitor = people[who]
        return Guest(visitor, await installed(visitor, versions[kind, engine]["extension_id"], kind))

    return install


# ---- granted ------------------------------------------------------------------------------------------------


@each_guest
async def test_a_guest_uses_every_shipped_service(installs: Install, platform: Platform, engine: str) -> None:
    guest = await installs(engine)
    platform.host.asked.clear()
    listed = await guest.value("/clients?search=o")
    assert [one["clientId"] for one in listed["items"]] == ["c-2"]
    assert (listed["totalCount"], listed["page"], listed["pageSize"]) == (1, 1, 25)
    found = await guest.value("/clients/c-1")
    assert found == {
        "clientId": "c-1",
        "clientName": "Initech",
        "clientType": "company",
        "isInactive": False,
        "defaultCurrencyCode": None,
        "accountManagerId": None,
        "accountManagerName": None,
        "billingEmail": None,
    }
    assert await guest.value("/clients/nobody") is None
    (service,) = (await guest.value("/services?kind=product"))["items"]
    assert (service["itemKind"], service["billingMethod"], service["sku"], service["defaultRate"]) == (
        "product",
        "fixed",
        "R-1",
        80,
    )
    assert (await guest.value("/services/s-1"))["serviceTypeId"] is None
    made = await guest.value("/invoices", "POST", INVOICE)
    assert (made["success"], made["invoiceId"], made["subtotal"], made["error"]) == (True, "i-1", 200.5, None)
    name, said, _ = platform.host.asked[-1]
    assert (name, said["operation"], said["input"]) == ("invoicing", "createManualInvoice", INVOICE)


@each_guest
async def test_a_guest_uses_a_service_that_the_operator_declared(
    installs: Install, platform: Platform, engine: str
) -> None:
    guest = await installs(engine)
    platform.host.acts.append(answering(b'[{"contact_id":"k-1","display_name":"Kim","tags":["a","b"]}]'))
    (found,) = await guest.value("/contacts?search=ki")
    assert (found["contactId"], found["displayName"], found["score"], found["tags"]) == ("k-1", "Kim", None, ["a", "b"])
    name, said, claims = platform.host.asked[-1]
    assert (name, said["operation"], said["input"]) == ("crm", "find_contacts", {"text": "ki", "at_most": 10})
    assert (claims.aud, claims.caps) == ("provider:crm", ("cap:crm.read",))
    platform.host.acts.append(answering(b"null"))
    assert await guest.value("/contacts/k-9") is None
    platform.host.acts.append(answering(b"", 204))
    assert await guest.value("/contacts/k-1", "DELETE") == "forgotten"
    platform.host.acts.append(answering(b"{}", 404))
    assert await guest.json("/contacts/k-1", "DELETE") == {"interface": "crm", "error": "not-found"}


async def test_the_host_application_is_told_who_asks_by_the_gateway_and_the_body_says_the_same(
    installs: Install, platform: Platform, people: dict[str, Visitor]
) -> None:
    guest = await installs("quickjs")
    platform.host.asked.clear()
    for who in ("admin", "client", "key"):
        await guest.value("/services", visitor=people[who])
    (_, admin, of_admin), (_, client, of_client), (_, key, of_key) = platform.host.asked
    assert (of_admin.sub, of_admin.user_type, of_admin.client_id) == (admin["user"]["userId"], "internal", "")
    assert (of_client.sub, of_client.user_type) == (client["user"]["userId"], "client")
    assert of_client.client_id == client["user"]["clientId"] == "acme-client-1"
    assert (key["user"], of_key.sub) == (None, "")
    for said, claims in ((admin, of_admin), (client, of_client), (key, of_key)):
        context = said["context"]
        assert (context["tenantId"], context["installId"]) == ("acme", guest.install_id)
        assert (claims.tenant, claims.install, claims.extension) == ("acme", guest.install_id, context["extensionId"])
        assert context["requestId"] == claims.request_id


@each_guest
async def test_a_user_of_a_client_is_shown_its_own_client(
    installs: Install, people: dict[str, Visitor], engine: str
) -> None:
    guest = await installs(engine)
    listed = await guest.value("/clients?all", visitor=people["client"])
    assert [one["clientName"] for one in listed["items"]] == ["Pied Piper"]
    assert await guest.value("/clients/c-1", visitor=people["client"]) is None
    assert len((await guest.value("/clients?all"))["items"]) == 4


async def test_tenants_see_their_own_clients(installs: Install) -> None:
    acme, globex = await installs("quickjs"), await installs("quickjs", "globex")
    assert {one["clientId"] for one in (await globex.value("/clients"))["items"]} == {"g-1"}
    assert "g-1" not in {one["clientId"] for one in (await acme.value("/clients"))["items"]}


@each_guest
async def test_what_the_host_application_refuses_reaches_the_guest_as_its_own_error(
    installs: Install, platform: Platform, engine: str
) -> None:
    guest = await installs(engine)
    assert await guest.json("/clients?page=0") == {"interface": "clients", "error": "invalid-input"}
    for status, code in ((403, "not-allowed"), (500, "internal"), (302, "internal")):
        platform.host.acts.append(answering(b"a trace", status, location=platform.host.url("services")))
        assert await guest.json("/clients/c-1") == {"interface": "clients", "error": code}
    platform.host.acts.append(answering(b'{"clientId":1}'))
    assert await guest.json("/clients/c-1") == {"interface": "clients", "error": "internal"}
    refused = await guest.value("/invoices", "POST", {**INVOICE, "clientId": "c-9"})
    assert (refused["success"], refused["error"]) == (False, "no such client")
    assert json.loads(refused["fieldErrors"]) == {"clientId": "unknown"}


# ---- denied -------------------------------------------------------------------------------------------------


@each_guest
async def test_without_the_grants_every_call_is_refused_and_nobody_is_asked(
    installs: Install, platform: Platform, engine: str
) -> None:
    guest = await installs(engine, kind=DENIED)
    platform.host.asked.clear()
    before = len(platform.host.headers)
    for path in ("/clients", "/clients/c-1", "/services", "/services/s-1", "/contacts?search=x", "/contacts/k-1"):
        answer = await guest.json(path)
        assert answer["error"] == "not-allowed", (path, answer)
    refused = await guest.value("/invoices", "POST", INVOICE)
    assert refused["success"] is False
    assert refused["error"] == "cap:invoice.manual.create is not granted to this install"
    assert (platform.host.asked, len(platform.host.headers)) == ([], before)


async def test_a_call_at_the_runner_without_the_gateway_is_refused_and_explained(
    installs: Install, platform: Platform, versions: Versions
) -> None:
    guest = await installs("quickjs")
    extension = extension_of(versions[GRANTED, "quickjs"], guest)
    before = len(platform.host.headers)
    body = execute_body(extension, "/clients/c-1", providers=("cap:context.read", "cap:client.read"))
    headers = {"content-type": "application/json", "x-alga-tenant": "acme", "x-alga-extension": extension.id}
    caller = guest.visitor.with_token(platform.stack.runner_service_token)
    answer = await caller.call("POST", "/v1/execute", data=body, headers=headers, base=platform.runner.url)
    assert answer.status == 200, answer.body
    assert json.loads(base64.b64decode(answer.json()["body_b64"]))["error"] == "not-allowed"
    assert len(platform.host.headers) == before


async def test_the_debug_stream_tells_the_author_why(installs: Install, platform: Platform, versions: Versions) -> None:
    guest = await installs("quickjs")
    platform.host.acts.append(answering(b'{"clientId":"c-1","clientName":7,"isInactive":false}'))
    token = platform.stack.tenant("acme").admin_token
    async with watching(platform.stack, extension_of(versions[GRANTED, "quickjs"], guest), token) as stream:
        await guest.json("/clients/c-1")
        why = "clients.get-client: its answer is not of the function's type: $.clientName: Expected `str`, got `int`"
        await stream.until(lambda stream: why in stream.messages)


# ---- when gateway, compiler and runner have not read the same -----------------------------------------------


async def test_a_platform_without_a_service_rejects_who_asks_for_it_and_says_why(
    stack: Stack, components: dict[str, bytes], tmp_path: Path
) -> None:
    async with visiting(stack, stack.tenant("acme").admin_token) as somebody:  # by way of the stack's own compiler
        answer = await publish(somebody, tmp_path, GRANTED, "quickjs", components["quickjs"], "1.0.1")
    assert answer.status == 200, answer.body
    assert answer.json()["state"] == "rejected"
    reason = answer.json()["reason"]
    assert (reason["code"], reason["violations"][0]["code"]) == ("manifest_invalid", "capability_unknown")


async def test_a_runner_that_lacks_a_granted_service_says_so(stack: Stack, installs: Install) -> None:
    guest = await installs("quickjs")
    async with visiting(stack, stack.tenant("acme").admin_token) as elsewhere:  # same database, other processes
        answer = await guest.call("GET", "/clients/c-1", visitor=elsewhere)
    assert (answer.status, answer.code) == (502, "bad_gateway")


async def test_a_gateway_that_knows_a_service_otherwise_is_told_and_nothing_runs(
    stack: Stack, platform: Platform, installs: Install, tmp_path: Path
) -> None:
    guest = await installs("quickjs")
    other = provider_files(tmp_path / "other", wit=CRM_WIT.replace("at-most: u32", "at-most: u64"))
    changes = {"EXT_PROVIDERS_DIR": str(other), "RUNNER_BASE_URL": platform.runner.url}
    before = len(platform.host.headers)
    async with another_gateway(stack, **changes) as gateway:
        beside = msgspec.structs.replace(stack, gateway_url=gateway.url)
        async with visiting(beside, stack.tenant("acme").admin_token) as visitor:
            answer = await guest.call("GET", "/clients/c-1", visitor=visitor)
    assert (answer.status, answer.code) == (503, "provider_mismatch")
    assert "crm" in answer.json()["detail"]
    assert len(platform.host.headers) == before
