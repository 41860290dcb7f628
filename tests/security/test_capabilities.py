"""Host calls: one tenant's failure is never another's news, and what was not granted is a typed refusal. Rows T13, T23."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from runner.capabilities.capability import Call, Capability
from runner.capabilities.host_calls import HostCalls
from runner.capabilities.table import BY_INTERFACE, with_services
from runner.debug.recorder import Recorder
from runner.sandbox.pool import SandboxPool
from shared.capabilities import INTERFACES
from shared.deadline import Deadline
from shared.limits import MIB
from shared.wire import Context, ExecuteRequest, Http
from shared.wit_answers import denied_answer
from shared.wit_parser import load_world
from shared.wit_types import Function
from tests.runner.api.door import EXTENSION, SERVICE_TOKEN, Events, Runner
from tests.runner.sandbox.driving import Recorded
from tests.security.guests import image, native, raw, words
from tests.security.processes import Guest

WORLD = load_world()
CANARY = "A-canary-5c1f"
ITERATIONS = 1000


class Broken:
    """A capability that fails in the worst way: it quotes what it was working on."""

    def __init__(self, call: Call) -> None:
        self._tenant = call.request.context.tenant_id

    async def get(self, namespace: str, key: str) -> Any:
        raise ValueError(f"{CANARY} of {self._tenant} at {namespace}/{key}")


STORAGE = with_services(Capability(name="cap:storage.kv", interface="storage", open=Broken))


async def test_t13_what_fails_for_one_tenant_is_never_heard_by_another_that_traps_at_the_same_time(
    pool: SandboxPool, behaviours: bytes
) -> None:
    a, b = (Runner(pool, behaviours, {**BY_INTERFACE, **STORAGE}) for _ in range(2))
    answers: list[bytes] = []

    async def failing() -> None:
        for _ in range(ITERATIONS):
            status, answer = await a.call("/host", providers=("cap:storage.kv",))
            assert (status, answer.status) == (200, 299)  # the guest has its typed failure and goes on

    async def trapping() -> None:
        for _ in range(ITERATIONS):
            status, answer = await b.call(
                "/trap", tenant="globex", token=SERVICE_TOKEN, routing={"x-alga-tenant": "globex"}
            )
            assert answer.error is not None
            assert (status, answer.error.code) == (502, "guest_trapped")
            answers.append(msgspec.json.encode(answer))

    with capture_logs() as logged:
        await asyncio.gather(failing(), trapping())
    assert [line["event"] for line in logged].count("host_call_failed") == ITERATIONS  # the operator has it
    failures = [event for event in a.sink.events if event.message.startswith("storage.get: failed")]
    assert len(failures) == ITERATIONS
    told = b"".join(answers) + msgspec.json.encode(b.sink.events)
    assert CANARY.encode() not in told
    assert b"acme" not in told
    assert CANARY.encode() not in msgspec.json.encode(a.sink.events)  # nor is the guest told how we failed


async def test_t23_a_call_that_was_not_granted_is_answered_denied_and_names_the_grant(
    pool: SandboxPool, behaviours: bytes
) -> None:
    runner = Runner(pool, behaviours, {**BY_INTERFACE, **STORAGE})
    status, answer = await runner.call("/host", providers=())
    assert (status, answer.status) == (200, 299)
    (told,) = [event for event in runner.sink.events if event.level == "warn"]
    assert told.stream == "system"
    assert told.message == "storage.get: denied; granting cap:storage.kv to this install would allow it"
    assert (told.tenant_id, told.extension_id, told.request_id) == ("acme", EXTENSION, "r-1")


def functions() -> list[tuple[str, Function]]:
    """Every function a guest can import."""
    return [(name, function) for name in WORLD.imports for function in WORLD.interfaces[name].functions]


@pytest.mark.parametrize(("interface", "function"), functions(), ids=lambda part: getattr(part, "name", part))
async def test_t23_a_process_that_asks_without_the_grant_is_refused_by_the_runner_too(
    interface: str, function: Function
) -> None:
    sink = Events()
    context = Context(
        request_id="r-1",
        tenant_id="acme",
        extension_id=EXTENSION,
        install_id="i",
        version_id="v",
        content_hash="sha256:x",
    )
    request = ExecuteRequest(context=context, http=Http(method="GET", path="/"))
    call = Call(request, Deadline.after_ms(1000), Recorder(context, sink))
    table = {name: Capability(name=one.name, interface=name, open=Broken) for name, one in BY_INTERFACE.items()}
    hosted = HostCalls(WORLD, frozenset(), call, table)
    capability = INTERFACES[interface]
    assert await hosted.answer(interface, function.name, []) == denied_answer(function, capability)
    assert any(f"{capability} is not granted" in event.message for event in sink.events)
    assert CANARY not in msgspec.json.encode(sink.events).decode()


async def test_t23_a_call_that_was_not_granted_is_denied_however_much_it_carries(
    guest_of: Callable[[bytes], Guest],
) -> None:
    calls = Recorded()
    too_much = image(grow_pages=1700, call=3, arguments=words(MIB, 100 * MIB, 0, 0, MIB, 0))
    await guest_of(native(raw())).done(body=too_much, memory_mb=256, grants=(), calls=calls)
    assert calls.asked == []
    assert calls.lines == [
        ("info", "system", "metrics.counter: denied; granting cap:metrics.emit to this install would allow it")
    ]
