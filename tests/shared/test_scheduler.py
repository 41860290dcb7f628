"""The bytes in which a runner asks for schedules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared import capabilities, scheduler

GOLDEN = Path(__file__).parent.parent / "contract" / "golden" / "wire"

ITEM = scheduler.ScheduleItem(
    id="6dd0c1a5-0000-4000-8000-000000000000",
    endpoint_path="/sync",
    endpoint_method="POST",
    name="every morning",
    cron="0 8 * * 1-5",
    timezone="Europe/Berlin",
    enabled=True,
    payload='{"full":true}',
    last_run_at="2027-01-01T07:00:00.000Z",
    last_run_status="failed",
    last_error="the handler answered 500",
    created_at="2026-12-31T12:00:00.000Z",
)
ENDPOINT = scheduler.EndpointItem(id="POST /sync", method="POST", path="/sync", handler="sync", schedulable=True)

MESSAGES: dict[str, Any] = {
    "scheduler_list": scheduler.ScheduleList(timeout_ms=4800),
    "scheduler_get": scheduler.ScheduleGet(id=ITEM.id, timeout_ms=4800),
    "scheduler_create": scheduler.ScheduleCreate(
        endpoint="POST /sync",
        cron="0 8 * * 1-5",
        timezone="Europe/Berlin",
        enabled=True,
        name="every morning",
        payload='{"full":true}',
        timeout_ms=4800,
    ),
    "scheduler_create_least": scheduler.ScheduleCreate(endpoint="/sync", cron="0 8 * * *", timeout_ms=4800),
    "scheduler_update": scheduler.ScheduleUpdate(id=ITEM.id, enabled=False, timeout_ms=4800),
    "scheduler_delete": scheduler.ScheduleDelete(id=ITEM.id, timeout_ms=4800),
    "scheduler_endpoints": scheduler.EndpointList(timeout_ms=4800),
    "scheduler_items": scheduler.ScheduleItems(items=(ITEM,)),
    "scheduler_found": scheduler.ScheduleFound(item=ITEM),
    "scheduler_absent": scheduler.ScheduleFound(item=None),
    "scheduler_changed": scheduler.ScheduleChanged(schedule_id=ITEM.id),
    "scheduler_refused": scheduler.ScheduleChanged(error="validation-failed: cron: no", field_errors={"cron": "no"}),
    "scheduler_endpoint_items": scheduler.EndpointItems(items=(ENDPOINT,)),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_the_bytes_of_each_message_are_pinned_and_read(name: str) -> None:
    golden = (GOLDEN / f"{name}.msgpack").read_bytes()
    assert msgspec.msgpack.encode(MESSAGES[name]) == golden
    assert msgspec.msgpack.decode(golden, type=type(MESSAGES[name])) == MESSAGES[name]


@pytest.mark.parametrize("name", MESSAGES)
def test_members_of_a_later_release_are_ignored(name: str) -> None:
    later = msgspec.to_builtins(MESSAGES[name]) | {"later": [1]}
    assert msgspec.convert(later, type=type(MESSAGES[name])) == MESSAGES[name]


def test_the_capability_is_the_one_that_opens_the_interface() -> None:
    assert capabilities.INTERFACES["scheduler"] == scheduler.CAPABILITY
