"""What a guest is told when a host application fails, or when it asks for what it may not."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from typing import Any

import pytest
import structlog

from runner.capabilities import provider
from runner.capabilities.capability import Capability
from shared.limits import PROVIDER_REQUEST_MAX_BYTES
from shared.provider_files import shipped
from tests.host_application import HostApplication, answering, dropping, waiting
from tests.runner.capabilities.service_guest import ANYTHING, INVOICE, Guest, refusal

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


# ---- what the operator reads --------------------------------------------------------------------------------

FOR_THE_OPERATOR = [(401, True), (500, True), (302, True), (400, False), (403, False), (404, False), (422, False)]


@pytest.mark.parametrize(("status", "logged"), FOR_THE_OPERATOR)
async def test_what_an_operator_could_change_is_one_line_of_the_log(
    guest: Guest, host: HostApplication, monkeypatch: pytest.MonkeyPatch, status: int, logged: bool
) -> None:
    monkeypatch.setattr(provider, "_log", structlog.get_logger())  # one that the capture reaches
    with structlog.testing.capture_logs() as lines:
        for _ in range(2):
            host.acts.append(answering(b"a trace", status))
            await guest.call("clients", "get-client", "c-1")
    line = {"event": "provider_failed", "log_level": "warning", "provider": "clients", "function": "get-client"}
    line |= {"reason": f"it answered {status}", "tenant": "acme", "request_id": "r-1"}
    assert [found for found in lines if found["event"] == "provider_failed"] == ([line] if logged else [])
