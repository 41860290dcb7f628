"""Services of a host application towards a guest, against a real one: granted, denied, and everything that goes wrong."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from runner.capabilities import provider as capability
from runner.capabilities.capability import Call, Capability
from runner.capabilities.host_calls import HostCalls
from runner.capabilities.table import BY_INTERFACE, check_digests, granted_capabilities, with_services
from runner.clients.http import open_session
from runner.clients.provider import ProviderClient
from runner.debug.recorder import Recorder
from shared.deadline import Deadline
from shared.debug_event import ExtDebugEvent
from shared.errors import ProviderMismatch, UnknownCapabilities
from shared.keys import PrivateKey
from shared.limits import PROVIDER_REQUEST_MAX_BYTES
from shared.provider import Providers
from shared.provider_files import read_providers, shipped
from shared.tokens import HostClaims, mint
from shared.wire import Context, ExecuteRequest, Http, User
from tests.host_application import HostApplication, answering, dropping, host_application, waiting
from tests.runner.conftest import store_settings
from tests.shared.provider_sources import provider_files

KEY = PrivateKey(b"p" * 32)
CONTEXT = Context(
    request_id="r-1", tenant_id="acme", extension_id="e-1", install_id="i-1", version_id="v-1", content_hash="sha256:x"
)
ADMIN = User(user_id="u-1", user_email="u@acme.example", user_name="Ursula", user_type="internal")
OF_A_CLIENT = User(
    user_id="u-2",
    user_email="c@initech.example",
    user_name="Carl",
    user_type="client",
    client_name="Initech",
    client_id="c-1",
    additional_fields={"favourite-colour": "blue"},
)
INITECH = ["c-1", "Initech", "company", False, None, None, None, None]
ANYTHING: list[Any] = [None, None, None, None]


def provider_token(name: str, user: User | None) -> str:
    now = int(time.time())
    claims = HostClaims(
        iss="gateway",
        aud=f"provider:{name}",
        jti="0" * 32,
        iat=now,
        exp=now + 30,
        tenant="acme",
        extension="e-1",
        install="i-1",
        request_id="r-1",
        sub=user.user_id if user else "",
        user_type=user.user_type if user else "",
        client_id=(user.client_id or "") if user else "",
    )
    return mint(KEY, claims)


class Guest:
    """Calls the interfaces of one execution as a sandbox does."""

    def __init__(
        self,
        table: Mapping[str, Capability],
        providers: Providers,
        *,
        user: User | None = ADMIN,
        granted: frozenset[str] | None = None,
        tokens: bool = True,
        within_ms: int = 5000,
    ) -> None:
        self.told: list[str] = []
        names = [one.name for one in providers] if tokens else []
        request = ExecuteRequest(
            context=CONTEXT,
            http=Http(method="GET", path="/"),
            user=user,
            provider_tokens={name: provider_token(name, user) for name in names},
            host_token="never-for-a-host-application",
        )
        call = Call(request, Deadline.after_ms(within_ms), Recorder(CONTEXT, self))
        every = frozenset(providers.capabilities)
        self._calls = HostCalls(providers.world, every if granted is None else granted, call, table)

    def emit(self, event: ExtDebugEvent) -> None:
        if event.stream == "system":
            self.told.append(event.message)

    async def call(self, interface: str, function: str, *arguments: Any) -> Any:
        return await self._calls.answer(interface, function, list(arguments))


@pytest.fixture
async def host() -> AsyncIterator[HostApplication]:
    async with host_application(KEY.public) as served:
        yield served


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[ProviderClient]:
    async with open_session(store_settings(tmp_path, "http://127.0.0.1:1")) as session:
        yield ProviderClient(session)


@pytest.fixture
def table(host: HostApplication, client: ProviderClient) -> Mapping[str, Capability]:
    return with_services(*(capability.capability(one, host.url(one.name), client) for one in shipped()))


@pytest.fixture
def guest(table: Mapping[str, Capability]) -> Guest:
    return Guest(table, shipped())


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

CALLS = [
    ("clients", "list-clients", ANYTHING),
    ("clients", "get-client", "c-1"),
    ("services", "list-services", [None] * 6),
    ("services", "get-service", "s-1"),
]
each_read = pytest.mark.parametrize(("interface", "function", "argument"), CALLS)
INVOICE = ["c-1", [], None, None, None]


def refusal(error: str) -> list[Any]:
    return [False, None, None, None, None, None, None, error, None]


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


# ---- what goes wrong out there ------------------------------------------------------------------------------

STATUSES = [
    (400, "invalid-input"),
    (422, "invalid-input"),
    (401, "not-allowed"),
    (403, "not-allowed"),
    (404, "internal"),  # these errors have no `not-found`
    (409, "internal"),
    (429, "internal"),
    (500, "internal"),
    (503, "internal"),
    (302, "internal"),
    (307, "internal"),
]


@pytest.mark.parametrize(("status", "case"), STATUSES)
async def test_each_status_is_a_case_of_the_error(guest: Guest, host: HostApplication, status: int, case: str) -> None:
    host.acts.append(answering(b'{"error":"secrets of the host application"}', status, location=host.url("services")))
    assert await guest.call("clients", "list-clients", ANYTHING) == (False, case)
    assert len(host.asked) == 1
    assert guest.told == [f"clients.list-clients: it answered {status}"]


@pytest.mark.parametrize("status", [400, 401, 403, 422, 500, 302])
async def test_an_invoice_says_success_false_and_why(guest: Guest, host: HostApplication, status: int) -> None:
    host.acts.append(answering(b'{"detail":"a trace"}', status))
    answer = await guest.call("invoicing", "create-manual-invoice", INVOICE)
    assert answer == refusal(f"invoicing: it answered {status}")


async def test_a_refusal_that_is_the_functions_own_record_reaches_the_guest_as_it_is(guest: Guest) -> None:
    answer = await guest.call("invoicing", "create-manual-invoice", ["c-9", [], None, None, None])
    assert answer == [False, *[None] * 6, "no such client", '{"clientId":"unknown"}']
    assert guest.told == []


@pytest.mark.parametrize("status", [422, 500])
async def test_a_failure_that_claims_success_is_one_all_the_same(
    guest: Guest, host: HostApplication, status: int
) -> None:
    host.acts.append(answering(b'{"success":true,"invoiceId":"i-1"}', status))
    answer = await guest.call("invoicing", "create-manual-invoice", INVOICE)
    assert answer == refusal(f"invoicing: it answered {status}")


UNUSABLE = [
    (b"", "$: not JSON"),
    (b"<html>", "$: not JSON"),
    (b"null", "$: Expected `object`, got `null`"),
    (b'{"items":[],"totalCount":0,"page":1}', "pageSize"),
    (b'{"items":[{"clientId":"c"}],"totalCount":0,"page":1,"pageSize":1}', "$.items[0]: "),
    (b'{"items":[],"totalCount":-1,"page":1,"pageSize":1}', "$.totalCount: must be from 0 to 4294967295"),
    (b'{"items":[],"totalCount":4294967296,"page":1,"pageSize":1}', "$.totalCount: must be from 0"),
    (b'{"items":[],"total_count":0,"page":1,"pageSize":1}', "totalCount"),
    (b"[" * 100_000, "$: "),
]


@pytest.mark.parametrize(("body", "says"), UNUSABLE, ids=range(len(UNUSABLE)))
async def test_an_answer_of_another_type_is_internal_and_explained_with_its_place(
    guest: Guest, host: HostApplication, body: bytes, says: str
) -> None:
    host.acts.append(answering(body))
    assert await guest.call("clients", "list-clients", ANYTHING) == (False, "internal")
    (told,) = guest.told
    assert told.startswith("clients.list-clients: its answer is not of the function's type: $")
    assert says in told


async def test_an_unusable_answer_to_an_invoice_is_no_success(guest: Guest, host: HostApplication) -> None:
    host.acts.append(answering(b'{"success":"yes"}'))
    answer = await guest.call("invoicing", "create-manual-invoice", INVOICE)
    assert answer == refusal("invoicing: it gave no usable answer")


async def test_a_connection_that_breaks_is_internal_and_nothing_is_repeated(
    guest: Guest, host: HostApplication
) -> None:
    host.acts.append(dropping)
    assert (await guest.call("invoicing", "create-manual-invoice", INVOICE))[7] == "invoicing: it gave no answer"
    assert len(host.asked) == 1


async def test_a_slow_host_application_costs_the_call_its_own_time_and_no_more(
    table: Mapping[str, Capability], host: HostApplication
) -> None:
    gate = asyncio.Event()
    host.acts.append(waiting(gate))
    began = time.monotonic()
    answer = await Guest(table, shipped(), within_ms=150).call("clients", "get-client", "c-1")
    assert answer == (False, "internal")
    assert time.monotonic() - began < 3
    gate.set()


async def test_each_reason_is_told_once(guest: Guest, host: HostApplication) -> None:
    for _ in range(3):
        host.acts.append(answering(b"", 500))
        await guest.call("clients", "get-client", "c-1")
    assert guest.told == ["clients.get-client: it answered 500"]


# ---- what a sandbox may say ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "arguments", "says"),
    [
        ("list-clients", [[None, None, None, 2**32]], "$.pageSize: must be a whole number from 0 to 4294967295"),
        ("list-clients", [[None, None, None]], "$: must be 4 values"),
        ("list-clients", ["x"], "$: must be 4 values"),
        ("list-clients", [], "$: must be 1 values"),
        ("list-clients", [ANYTHING, ANYTHING], "$: must be 1 values"),
        ("get-client", [7], "$.clientId: must be a string"),
        ("get-client", [], "$: must be 1 values"),
        ("get-client", [{"clientId": "c-1"}], "$.clientId: must be a string"),
        ("get-client", ["a" * PROVIDER_REQUEST_MAX_BYTES], f"$: more than {PROVIDER_REQUEST_MAX_BYTES} bytes"),
    ],
)
async def test_arguments_of_another_type_are_invalid_and_not_sent(
    guest: Guest, host: HostApplication, function: str, arguments: list[Any], says: str
) -> None:
    assert await guest.call("clients", function, *arguments) == (False, "invalid-input")
    assert host.asked == []
    (told,) = guest.told
    assert told.startswith(f"clients.{function}: the arguments cannot be sent: {says}")


async def test_a_number_that_is_none_is_not_billed(guest: Guest, host: HostApplication) -> None:
    item = ["s-1", 1.0, "Support", math.nan, None, None, None, None]
    answer = await guest.call("invoicing", "create-manual-invoice", ["c-1", [item], None, None, None])
    assert answer == refusal("invoicing: $.items[0].rate: must be finite: JSON has no form for NaN and infinities")
    assert host.asked == []


@pytest.mark.parametrize("surplus", [-1, 0, 1])
async def test_a_question_has_so_many_bytes_and_no_more(guest: Guest, host: HostApplication, surplus: int) -> None:
    host.acts.append(answering(b"null"))
    await guest.call("clients", "get-client", "")
    around = int(host.headers[0]["content-length"])
    host.acts.append(answering(b"null"))
    answer = await guest.call("clients", "get-client", "a" * (PROVIDER_REQUEST_MAX_BYTES - around + surplus))
    assert answer == ((True, None) if surplus <= 0 else (False, "invalid-input"))


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
