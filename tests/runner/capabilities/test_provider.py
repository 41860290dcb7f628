"""Services of a host application towards a guest, against a real one: granted, denied, declared by an operator."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from runner.capabilities import provider as capability
from runner.capabilities.capability import Call, Capability
from runner.capabilities.table import BY_INTERFACE, check_digests, granted_capabilities, with_services
from runner.clients.provider import ProviderClient
from runner.debug.recorder import Recorder
from shared.deadline import Deadline
from shared.errors import ProviderMismatch, UnknownCapabilities
from shared.provider_files import read_providers, shipped
from shared.wire import ExecuteRequest, Http
from tests.host_application import HostApplication, answering
from tests.runner.capabilities.service_guest import (
    ADMIN,
    ANYTHING,
    CONTEXT,
    INITECH,
    INVOICE,
    OF_A_CLIENT,
    Guest,
    each_read,
    provider_token,
    refusal,
)
from tests.shared.provider_sources import provider_files

# ---- granted ------------------------------------------------------------------------------------------------


async def test_clients_are_listed_and_found(guest: Guest, host: HostApplication) -> None:
    good, (items, count, page, size) = await guest.call("clients", "list-clients", ANYTHING)
    assert (good, items[0], [one[0] for one in items], count, page, size) == (
        True,
        INITECH,
        ["c-1", "c-2", "acme-client-1"],
        3,
        1,
        25,
    )
    assert await guest.call("clients", "get-client", "c-1") == (True, INITECH)
    assert await guest.call("clients", "get-client", "c-9") == (True, None)
    good, (items, *_) = await guest.call("clients", "list-clients", ["van", True, 1, 10])
    assert [one[1] for one in items] == ["Vandelay"]
    assert guest.told == []
    assert len(host.peers) == 1


async def test_services_are_listed_and_found(guest: Guest) -> None:
    _, (items, *_) = await guest.call("services", "list-services", [None, "product", False, "fixed", None, None])
    assert items == [["s-2", "Router", "product", "fixed", "t-1", "Hardware", 80.0, "piece", False, "R-1"]]
    good, found = await guest.call("services", "get-service", "s-1")
    assert (good, found[6], found[9]) == (True, 120.5, None)


async def test_an_invoice_is_created(guest: Guest, host: HostApplication) -> None:
    item = ["s-1", 2.0, "Support", 100.0, None, None, None, None]
    discount = ["s-1", 1.0, "Discount", 10.0, True, "percentage", "i-0", None]
    answer = await guest.call(
        "invoicing", "create-manual-invoice", ["c-1", [item, discount], "2026-01-31", None, "PO 1"]
    )
    assert answer == [True, "i-1", "2026-1", "draft", 200.0, 50.0, 250.0, None, None]
    assert host.asked[0][1]["input"] == {
        "clientId": "c-1",
        "items": [
            {"serviceId": "s-1", "quantity": 2.0, "description": "Support", "rate": 100.0},
            {
                "serviceId": "s-1",
                "quantity": 1.0,
                "description": "Discount",
                "rate": 10.0,
                "isDiscount": True,
                "discountType": "percentage",
                "appliesToItemId": "i-0",
            },
        ],
        "invoiceDate": "2026-01-31",
        "poNumber": "PO 1",
    }


async def test_the_bytes_of_a_question_are_pinned(table: Mapping[str, Capability], host: HostApplication) -> None:
    await Guest(table, shipped(), user=OF_A_CLIENT).call("clients", "get-client", "c-1")
    assert host.bodies == [
        (
            b'{"operation":"getClient","input":{"clientId":"c-1"},'
            b'"user":{"userId":"u-2","userEmail":"c@initech.example","userName":"Carl","userType":"client",'
            b'"clientName":"Initech","clientId":"c-1","additionalFields":{"favourite-colour":"blue"}},'
            b'"context":{"requestId":"r-1","tenantId":"acme","extensionId":"e-1","installId":"i-1","versionId":"v-1"}}'
        )
    ]


async def test_a_user_of_a_client_is_shown_its_own_client(table: Mapping[str, Capability]) -> None:
    guest = Guest(table, shipped(), user=OF_A_CLIENT)
    _, (items, count, *_) = await guest.call("clients", "list-clients", ["", True, None, None])
    assert ([one[0] for one in items], count) == (["c-1"], 1)
    assert await guest.call("clients", "get-client", "c-2") == (True, None)


async def test_a_call_that_nobody_stands_behind_says_so(table: Mapping[str, Capability], host: HostApplication) -> None:
    good, _ = await Guest(table, shipped(), user=None).call("clients", "get-client", "c-1")
    assert good
    assert host.asked[0][1]["user"] is None


async def test_the_host_token_never_leaves_for_there(guest: Guest, host: HostApplication) -> None:
    await guest.call("clients", "get-client", "c-1")
    await guest.call("services", "get-service", "s-1")
    assert "never-for-a-host-application" not in json.dumps([host.headers, [body for _, body, _ in host.asked]])
    assert [claims.aud for *_, claims in host.asked] == ["provider:clients", "provider:services"]


async def test_a_user_that_is_not_the_tokens_is_refused_by_the_host_application(
    table: Mapping[str, Capability],
) -> None:
    guest = Guest(table, shipped(), user=OF_A_CLIENT)
    guest._calls._call.request.provider_tokens["clients"] = provider_token("clients", ADMIN)
    assert await guest.call("clients", "get-client", "c-1") == (False, "not-allowed")


# ---- denied -------------------------------------------------------------------------------------------------


@each_read
async def test_without_the_grant_it_is_denied_before_anybody_is_asked(
    table: Mapping[str, Capability], host: HostApplication, interface: str, function: str, argument: Any
) -> None:
    guest = Guest(table, shipped(), granted=frozenset({"cap:context.read"}))
    assert await guest.call(interface, function, argument) == (False, "not-allowed")
    assert host.asked == []


async def test_a_denied_invoice_names_the_missing_capability(
    table: Mapping[str, Capability], host: HostApplication
) -> None:
    guest = Guest(table, shipped(), granted=frozenset({"cap:client.read"}))
    answer = await guest.call("invoicing", "create-manual-invoice", INVOICE)
    assert answer == refusal("cap:invoice.manual.create is not granted to this install")
    assert host.asked == []


async def test_a_call_that_did_not_come_through_the_gateway_is_denied_and_told_why(
    table: Mapping[str, Capability], host: HostApplication
) -> None:
    guest = Guest(table, shipped(), tokens=False)
    assert await guest.call("clients", "get-client", "c-1") == (False, "not-allowed")
    answer = await guest.call("invoicing", "create-manual-invoice", INVOICE)
    assert answer[0] is False
    assert "no token" in answer[7]
    assert host.asked == []
    assert guest.told == [
        f"{name}: this call carries no token for it, as it did not come through the gateway"
        for name in ("clients.get-client", "invoicing.create-manual-invoice")
    ]


async def test_a_service_without_an_address_fails_and_the_debug_stream_names_the_setting(
    client: ProviderClient,
) -> None:
    guest = Guest(with_services(*(capability.capability(one, None, client) for one in shipped())), shipped())
    assert await guest.call("clients", "get-client", "c-1") == (False, "internal")
    assert await guest.call("invoicing", "create-manual-invoice", INVOICE) == refusal(
        "invoicing: it is not configured here"
    )
    assert guest.told[0] == "clients.get-client: RUNNER_PROVIDER_ENDPOINTS has no address for clients"


# ---- a provider of the operator's ---------------------------------------------------------------------------


async def test_a_declared_service_is_like_a_shipped_one_in_its_own_case_and_errors(
    tmp_path: Path, host: HostApplication, client: ProviderClient
) -> None:
    providers = read_providers(str(provider_files(tmp_path / "providers")))
    table = with_services(*(capability.capability(one, host.url(one.name), client) for one in providers))
    guest = Guest(table, providers)
    body = b'[{"contact_id":"k-1","display_name":"Kim","score":"18446744073709551615","tags":["a"]}]'
    host.acts.append(answering(body))
    found = await guest.call("crm", "find-contacts", "ki", 10)
    assert found == (True, [["k-1", "Kim", 2**64 - 1, ["a"]]])
    _, said, claims = host.asked[0]
    assert claims.aud == "provider:crm"
    assert (said["operation"], said["input"]) == ("find_contacts", {"text": "ki", "at_most": 10})
    assert said["user"]["user_id"] == "u-1"
    assert said["context"]["tenant_id"] == "acme"
    for status, case in ((404, "not-found"), (409, "conflict"), (400, "internal"), (403, "not-allowed")):
        host.acts.append(answering(b"", status))
        assert await guest.call("crm", "get-contact", "k-1") == (False, case)
    host.acts.append(answering(b"", 204))
    assert await guest.call("crm", "forget", "k-1") == (True, None)


def test_the_table_has_shipped_services_and_the_platforms_own(table: Mapping[str, Capability]) -> None:
    assert set(table) == {*BY_INTERFACE, "clients", "invoicing", "services"}
    assert granted_capabilities(tuple(sorted(shipped().capabilities)), table) == shipped().capabilities
    with pytest.raises(UnknownCapabilities, match=r"cap:crm\.read; known are .*cap:client\.read"):
        granted_capabilities(("cap:crm.read",), table)


def test_the_functions_answered_are_those_of_the_wit(table: Mapping[str, Capability]) -> None:
    request = ExecuteRequest(context=CONTEXT, http=Http(method="GET", path="/"))
    call = Call(request, Deadline.after_ms(1), Recorder(CONTEXT, None))
    for one in shipped():
        opened = table[one.name].open
        assert opened is not None
        assert set(vars(opened(call))) == {function.name.replace("-", "_") for function in one.interface.functions}


def test_a_service_that_the_caller_knows_otherwise_is_not_run(table: Mapping[str, Capability]) -> None:
    check_digests({}, table)
    check_digests(dict(shipped().digests), table)
    with pytest.raises(ProviderMismatch, match="provider clients is described otherwise"):
        check_digests({"clients": "0" * 16}, table)
    with pytest.raises(ProviderMismatch, match="provider crm is not known"):
        check_digests({"crm": "0" * 16}, table)
    with pytest.raises(ProviderMismatch):
        check_digests({"http": "0" * 16}, table)  # an interface of the platform's is nobody's service
