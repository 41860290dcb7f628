"""scheduler towards a guest: results in the shape of the WIT, denials as it has them, each explained once."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from runner.capabilities import scheduler as capability
from runner.capabilities.table import BY_INTERFACE, CAPABILITIES, with_services
from shared import errors
from shared.errors import PlatformError
from shared.scheduler import (
    EndpointItem,
    EndpointItems,
    ScheduleChanged,
    ScheduleCreate,
    ScheduleFound,
    ScheduleItem,
    ScheduleItems,
    ScheduleUpdate,
)
from shared.wit_types import Record
from tests.runner.capabilities.gateway_guest import TOKEN, WORLD, Gateway, GatewayGuest

ITEM = ScheduleItem(
    id="s",
    endpoint_path="/notes",
    endpoint_method="POST",
    name=None,
    cron="0 8 * * *",
    timezone="UTC",
    enabled=True,
    payload="{}",
    last_run_at="2027-01-01T08:00:00.000Z",
    last_run_status="failed",
    last_error="the handler answered 500",
    created_at="2026-12-31T00:00:00.000Z",
)
INFO = (
    *("s", "/notes", "POST", None, "0 8 * * *", "UTC", True, "{}"),
    *("2027-01-01T08:00:00.000Z", "failed", "the handler answered 500", "2026-12-31T00:00:00.000Z"),
)
ENDPOINT = EndpointItem(id="POST /notes", method="POST", path="/notes", handler="notes", schedulable=True)
INPUT = ("/notes", "0 8 * * *", "Europe/Berlin", True, "n", "{}")
NOTHING = (None,) * 6


class Guest(GatewayGuest):
    """Calls the interface as a sandbox does."""

    offer = staticmethod(capability.capability)


READS: dict[str, tuple[Any, ...]] = {"list-schedules": (), "get-schedule": ("s",), "get-endpoints": ()}
CHANGES: dict[str, tuple[Any, ...]] = {
    "create-schedule": (INPUT,),
    "update-schedule": ("s", NOTHING),
    "delete-schedule": ("s",),
}
every_function = pytest.mark.parametrize(("function", "arguments"), (READS | CHANGES).items())
every_change = pytest.mark.parametrize(("function", "arguments"), CHANGES.items())


def error_of(function: str, value: Any) -> str:
    """The words of a change's result, which says that nothing was done."""
    names = {"create-schedule": 2, "update-schedule": 1, "delete-schedule": 1}
    assert value[0] is False
    return str(value[names[function]])


async def test_each_function_is_one_question_with_the_calls_own_token() -> None:
    guest = Guest(
        ScheduleItems(items=(ITEM, ITEM)),
        ScheduleFound(item=ITEM),
        ScheduleFound(item=None),
        ScheduleChanged(schedule_id="s"),
        ScheduleChanged(schedule_id="s"),
        ScheduleChanged(schedule_id="s"),
        EndpointItems(items=(ENDPOINT,)),
    )
    assert await guest.call("list-schedules") == (True, [INFO, INFO])
    assert await guest.call("get-schedule", "s") == (True, INFO)
    assert await guest.call("get-schedule", "t") == (True, None)
    assert await guest.call("create-schedule", INPUT) == (True, "s", None, None)
    assert await guest.call("update-schedule", "s", (None, "1 * * * *", None, False, None, None)) == (True, None, None)
    assert await guest.call("delete-schedule", "s") == (True, None)
    assert await guest.call("get-endpoints") == (True, [("POST /notes", "POST", "/notes", "notes", True)])
    create, update = guest.gateway.asked[3][1], guest.gateway.asked[4][1]
    left = {"timeout_ms": create.timeout_ms}
    names = ("endpoint", "cron", "timezone", "enabled", "name", "payload")
    assert create == ScheduleCreate(**dict(zip(names, INPUT, strict=True)), **left)
    assert update == ScheduleUpdate(id="s", cron="1 * * * *", enabled=False, timeout_ms=update.timeout_ms)
    for path, message, _, about in guest.gateway.asked:
        assert path.startswith("/internal/scheduler/")
        assert (about["host_token"], about["request_id"]) == (TOKEN, "r-1")
        assert 4000 < message.timeout_ms <= 5000
    assert guest.events == []


def test_the_coroutines_are_the_functions_of_the_wit() -> None:
    functions = {function.name.replace("-", "_") for function in WORLD.interfaces["scheduler"].functions}
    assert functions == {name for name in vars(capability.Scheduler) if not name.startswith("_")}


def test_records_have_the_fields_of_the_wit_in_their_order() -> None:
    described = {name: found for name, found in WORLD.interfaces["types"].types.items() if isinstance(found, Record)}

    def fields(name: str) -> tuple[str, ...]:
        return tuple(field.replace("-", "_") for field, _ in described[name].fields)

    assert fields("schedule-info") == ScheduleItem.__struct_fields__
    assert fields("endpoint-info") == EndpointItem.__struct_fields__
    assert fields("create-schedule-input") == ScheduleCreate.__struct_fields__[:-1]
    assert fields("update-schedule-input") == ScheduleUpdate.__struct_fields__[1:-1]


def test_the_list_has_it_and_a_runner_without_a_gateway_does_not_answer() -> None:
    assert capability.CAPABILITY in CAPABILITIES
    assert BY_INTERFACE["scheduler"].open is None
    assert with_services(capability.capability(Gateway()))["scheduler"].open is not None


async def test_what_is_wrong_with_a_schedule_is_said_in_the_result_and_by_field() -> None:
    told = ScheduleChanged(error="validation-failed: cron: no", field_errors={"cron": "no"})
    guest = Guest(told, told, ScheduleChanged(error="not-found: no such schedule"))
    created = await guest.call("create-schedule", INPUT)
    assert created[:3] == (False, None, "validation-failed: cron: no")
    assert msgspec.json.decode(created[3]) == {"cron": "no"}
    updated = await guest.call("update-schedule", "s", NOTHING)
    assert (updated[:2], msgspec.json.decode(updated[2])) == ((False, "validation-failed: cron: no"), {"cron": "no"})
    assert await guest.call("delete-schedule", "s") == (False, "not-found: no such schedule")
    assert guest.events == []


@every_function
@pytest.mark.parametrize(
    ("error", "case"),
    [
        (errors.Forbidden("the install was changed"), "denied"),
        (errors.Unauthorized("a valid token is needed"), "denied"),
        (errors.RateLimited("too many"), "denied"),
        (errors.InvalidRequest("the body is not valid"), "internal"),
        (errors.NotInstalled(), "internal"),
        (errors.AccessPolicyUnavailable(), "internal"),
        (errors.Internal("the gateway gives no usable answer"), "internal"),
    ],
    ids=lambda value: getattr(value, "code", value),
)
async def test_each_refusal_has_its_case_and_the_debug_stream_the_words(
    function: str, arguments: tuple[Any, ...], error: PlatformError, case: str
) -> None:
    guest = Guest(error)
    value = await guest.call(function, *arguments)
    if function in READS:
        assert value == (False, case)
    else:
        assert error_of(function, value).startswith(f"{case}: ")
        assert (error.detail in error_of(function, value)) == (case == "denied")
    assert [event.message for event in guest.events] == [f"scheduler.{function}: {case}: {error.detail}"]


@every_function
async def test_without_the_grant_it_is_denied_as_the_wit_says_and_nobody_is_asked(
    function: str, arguments: tuple[Any, ...]
) -> None:
    guest = Guest(granted=False)
    value = await guest.call(function, *arguments)
    if function in READS:
        assert value == (False, "denied")
    else:
        assert error_of(function, value) == "cap:scheduler.manage is not granted to this install"
    assert guest.gateway.asked == []
    assert "cap:scheduler.manage is not granted" in guest.events[0].message


@every_function
async def test_without_a_host_token_it_is_denied_and_says_why(function: str, arguments: tuple[Any, ...]) -> None:
    guest = Guest(token=None)
    value = await guest.call(function, *arguments)
    assert value == (False, "denied") if function in READS else "carries no host token" in error_of(function, value)
    assert guest.gateway.asked == []
    assert "service token" in guest.events[0].message


async def test_the_same_reason_is_told_once() -> None:
    guest = Guest(*(errors.RateLimited("too many") for _ in range(4)))
    for _ in range(4):
        await guest.call("list-schedules")
    assert len(guest.events) == 1


@every_change
async def test_arguments_no_honest_sandbox_sends_are_a_failure_and_nothing_leaves(
    function: str, arguments: tuple[Any, ...]
) -> None:
    guest = Guest()
    value = await guest.call(function, *arguments, "more")
    assert error_of(function, value) == "the platform could not do this"
    assert guest.gateway.asked == []
