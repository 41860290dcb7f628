"""scheduler: a guest arranges when the platform calls its install's endpoints. WIT: shared/wit/scheduler.wit.

The gateway keeps the schedules and makes the calls; it takes the call's host token and nothing else, so that a runner can
touch only what the running call may. What is wrong with a schedule is said by the gateway, in the result itself.

    list-schedules, get-schedule, get-endpoints            denied, or internal when the platform failed
    create-schedule, update-schedule, delete-schedule      `success: false`; `error` begins with what would be the case
                                                           (validation-failed, quota-exceeded, not-found, denied,
                                                           internal), `field-errors` is a JSON object

`denied` and `internal` without words of their own are explained in the debug stream, once for each reason.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, TypeVar

import msgspec

from runner.capabilities.capability import Call, Capability
from runner.capabilities.storage import Gateway
from shared import scheduler
from shared.errors import Forbidden, PlatformError, RateLimited, Unauthorized
from shared.scheduler import (
    EndpointItem,
    EndpointItems,
    EndpointList,
    ScheduleChanged,
    ScheduleCreate,
    ScheduleDelete,
    ScheduleFound,
    ScheduleGet,
    ScheduleItem,
    ScheduleItems,
    ScheduleList,
    ScheduleUpdate,
)
from shared.wire import Message

M = TypeVar("M", bound=Message)
T = TypeVar("T")

Fields = tuple[Any, ...]
"""A record of the WIT, its fields in their order: `schedule-info`, `endpoint-info`, and the inputs."""

CAPABILITY: Final = Capability(name=scheduler.CAPABILITY, interface="scheduler")

_NO_TOKEN: Final = (
    "this call carries no host token, because it was made with the runner's service token; "
    "a call through the gateway carries one"
)


class Scheduler:
    """The schedules one call may arrange.

    Args:
        gateway: has them.
        call: whose they are.
    """

    def __init__(self, gateway: Gateway, call: Call) -> None:
        self._gateway, self._call = gateway, call
        self._explained: set[str] = set()

    async def list_schedules(self) -> tuple[bool, list[Fields] | str]:
        """Every schedule of the install."""

        async def read() -> list[Fields]:
            asked = ScheduleList(timeout_ms=self._left_ms())
            return [_schedule(one) for one in (await self._ask(scheduler.LIST_PATH, asked, ScheduleItems)).items]

        return await self._attempt("list-schedules", read)

    async def get_schedule(self, schedule_id: str) -> tuple[bool, Fields | str | None]:
        """One schedule; none when there is no such."""

        async def read() -> Fields | None:
            asked = ScheduleGet(id=schedule_id, timeout_ms=self._left_ms())
            found = (await self._ask(scheduler.GET_PATH, asked, ScheduleFound)).item
            return None if found is None else _schedule(found)

        return await self._attempt("get-schedule", read)

    async def create_schedule(self, wanted: Fields) -> Fields:
        """Make a schedule: (success, schedule-id, error, field-errors)."""
        endpoint, cron, timezone, enabled, name, payload = wanted
        asked = ScheduleCreate(
            endpoint=endpoint,
            cron=cron,
            timezone=timezone,
            enabled=enabled,
            name=name,
            payload=payload,
            timeout_ms=self._left_ms(),
        )
        changed = await self._change("create-schedule", scheduler.CREATE_PATH, asked)
        return changed.error is None, changed.schedule_id, changed.error, _field_errors(changed)

    async def update_schedule(self, schedule_id: str, wanted: Fields) -> Fields:
        """Change a schedule: (success, error, field-errors)."""
        endpoint, cron, timezone, enabled, name, payload = wanted
        asked = ScheduleUpdate(
            id=schedule_id,
            endpoint=endpoint,
            cron=cron,
            timezone=timezone,
            enabled=enabled,
            name=name,
            payload=payload,
            timeout_ms=self._left_ms(),
        )
        changed = await self._change("update-schedule", scheduler.UPDATE_PATH, asked)
        return changed.error is None, changed.error, _field_errors(changed)

    async def delete_schedule(self, schedule_id: str) -> Fields:
        """Remove a schedule: (success, error)."""
        asked = ScheduleDelete(id=schedule_id, timeout_ms=self._left_ms())
        changed = await self._change("delete-schedule", scheduler.DELETE_PATH, asked)
        return changed.error is None, changed.error

    async def get_endpoints(self) -> tuple[bool, list[Fields] | str]:
        """Every endpoint of the installed version, and which of them may be scheduled."""

        async def read() -> list[Fields]:
            asked = EndpointList(timeout_ms=self._left_ms())
            return [_endpoint(one) for one in (await self._ask(scheduler.ENDPOINTS_PATH, asked, EndpointItems)).items]

        return await self._attempt("get-endpoints", read)

    async def _attempt(self, function: str, work: Callable[[], Coroutine[Any, Any, T]]) -> tuple[bool, T | str]:
        """The WIT result of `work`."""
        try:
            return True, await work()
        except PlatformError as error:
            return False, self._explained_case(function, error)

    async def _change(self, function: str, path: str, asked: Message) -> ScheduleChanged:
        try:
            return await self._ask(path, asked, ScheduleChanged)
        except PlatformError as error:
            case = self._explained_case(function, error)
            words = error.detail if case == "denied" else "the platform could not do this"
            return ScheduleChanged(error=f"{case}: {words}")

    async def _ask(self, path: str, message: Message, kind: type[M]) -> M:
        request = self._call.request
        if request.host_token is None:
            raise Forbidden(_NO_TOKEN)
        return await self._gateway.ask(
            path,
            message,
            kind,
            host_token=request.host_token,
            request_id=request.context.request_id,
            deadline=self._call.deadline,
        )

    def _explained_case(self, function: str, error: PlatformError) -> str:
        case = "denied" if isinstance(error, Forbidden | Unauthorized | RateLimited) else "internal"
        reason = f"scheduler.{function}: {case}: {error.detail}"
        if reason not in self._explained:
            self._explained.add(reason)
            self._call.recorder.record("warn", "system", reason)
        return case

    def _left_ms(self) -> int:
        return max(1, self._call.deadline.remaining_ms())


def capability(gateway: Gateway) -> Capability:
    """The capability, answered by a `Scheduler` for each call."""
    return Capability(name=CAPABILITY.name, interface=CAPABILITY.interface, open=partial(Scheduler, gateway))


def _schedule(item: ScheduleItem) -> Fields:
    return (
        item.id,
        item.endpoint_path,
        item.endpoint_method,
        item.name,
        item.cron,
        item.timezone,
        item.enabled,
        item.payload,
        item.last_run_at,
        item.last_run_status,
        item.last_error,
        item.created_at,
    )


def _endpoint(item: EndpointItem) -> Fields:
    return item.id, item.method, item.path, item.handler, item.schedulable


def _field_errors(changed: ScheduleChanged) -> str | None:
    return msgspec.json.encode(changed.field_errors).decode() if changed.field_errors else None
