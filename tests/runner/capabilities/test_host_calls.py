"""Host calls as the debug stream tells them: what was called, how it went, how long it took, never what was said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from runner.capabilities.capability import Call, Capability
from runner.capabilities.host_calls import HostCalls
from runner.debug.recorder import Recorder
from shared.deadline import Deadline
from shared.debug_event import ExtDebugEvent
from shared.limits import DEBUG_HOST_EVENTS_MAX
from shared.wire import Context, ExecuteRequest, Http
from shared.wit_parser import load_world
from tests.debug_events import EXTENSION

WORLD = load_world()
CONTEXT = Context(
    request_id="r-1", tenant_id="acme", extension_id=EXTENSION, install_id="i", version_id="v", content_hash="sha256:x"
)
REQUEST = ExecuteRequest(context=CONTEXT, http=Http(method="GET", path="/"))


class Kept:
    def __init__(self) -> None:
        self.events: list[ExtDebugEvent] = []

    def emit(self, event: ExtDebugEvent) -> None:
        self.events.append(event)


class Secrets:
    """Answers by the name it is asked for."""

    async def get(self, name: str) -> Any:
        if name == "broken":
            raise RuntimeError("a fault of ours")
        return (True, "canary-value") if name == "known" else (False, "missing")


def calls(granted: frozenset[str] = frozenset({"cap:secrets.get"}), *, offered: bool = True, silent: bool = False):
    kept = Kept()
    recorder = Recorder(CONTEXT, None if silent else kept)
    table: Mapping[str, Capability] = {
        "secrets": Capability(
            name="cap:secrets.get", interface="secrets", open=(lambda call: Secrets()) if offered else None
        )
    }
    return HostCalls(WORLD, granted, Call(REQUEST, Deadline.after_ms(1000), recorder), table), kept


@pytest.mark.parametrize(("name", "outcome"), [("known", "ok"), ("other", "missing"), ("broken", "failed")])
async def test_a_host_call_is_told_with_its_outcome_and_its_time(name: str, outcome: str) -> None:
    host, kept = calls()
    await host.answer("secrets", "get", [name])
    (event,) = kept.events
    assert (event.level, event.stream) == ("debug", "host")
    assert event.data is not None
    took_us = event.data.pop("took_us")
    assert int(took_us) >= 0
    assert event.data == {"kind": "host.call", "interface": "secrets", "function": "get", "outcome": outcome}
    assert event.message == f"secrets.get: {outcome} in {took_us} µs"


async def test_what_was_asked_and_answered_is_not_told() -> None:
    host, kept = calls()
    await host.answer("secrets", "get", ["known"])
    assert "known" not in repr(kept.events)
    assert "canary" not in repr(kept.events)


@pytest.mark.parametrize(
    ("host_and_kept", "reason"), [(calls(frozenset()), "not granted"), (calls(offered=False), "not offered")]
)
async def test_a_denial_is_told_with_what_would_allow_it(host_and_kept: Any, reason: str) -> None:
    host, kept = host_and_kept
    assert (await host.answer("secrets", "get", ["known"]))[0] is False
    warning, told = kept.events
    assert (warning.level, warning.stream) == ("warn", "system")
    assert f"cap:secrets.get is {reason}" in warning.message
    assert told.data["outcome"] == "denied"


async def test_nobody_asked_and_nothing_is_told() -> None:
    host, kept = calls(silent=True)
    assert await host.answer("secrets", "get", ["known"]) == (True, "canary-value")
    assert kept.events == []


@pytest.mark.parametrize("more", [-1, 0, 1, 100])
async def test_a_guest_of_many_calls_does_not_fill_the_stream(more: int) -> None:
    host, kept = calls()
    for _ in range(DEBUG_HOST_EVENTS_MAX + more):
        await host.answer("secrets", "get", ["known"])
    told = [event for event in kept.events if event.stream == "host"]
    assert len(told) == min(DEBUG_HOST_EVENTS_MAX + more, DEBUG_HOST_EVENTS_MAX)
    marks = [event.message for event in kept.events if event.stream == "system"]
    assert marks == (
        [] if more < 0 else [f"this execution made {DEBUG_HOST_EVENTS_MAX} host calls; further ones are not shown"]
    )
