"""`POST /v1/execute`: who may ask, what is asked, what comes back. Real sandboxes behind a plain ASGI call."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any

import msgspec
import pytest

from shared import wire
from shared.limits import WIRE_MAX_BYTES
from tests.runner.api.door import (
    EXTENSION,
    INSTALL,
    KEY,
    OTHER_KEY,
    SERVICE_TOKEN,
    UI_ONLY,
    VERSION,
    Runner,
    minted,
    request,
)
from tests.runner.sandbox.driving import until


@pytest.mark.parametrize("kind", [wire.JSON, wire.MSGPACK])
async def test_a_guest_answers_in_the_content_type_it_was_asked_in(runner: Runner, kind: str) -> None:
    status, answer = await runner.call(kind=kind, body=bytes(range(256)))
    assert (status, answer.status, answer.error) == (200, 200, None)
    assert answer.body == bytes(range(256))
    assert answer.header_list == (("x-test", "1"),)
    assert answer.usage.cold
    assert answer.usage.cpu_ms > 0


async def test_the_second_call_is_warm_and_loads_nothing(runner: Runner) -> None:
    await runner.call()
    _, answer = await runner.call()
    assert not answer.usage.cold
    assert runner.bundles.loads == 1


async def test_many_first_calls_load_the_code_once(runner: Runner) -> None:
    answers = await asyncio.gather(*(runner.call() for _ in range(20)))
    assert {status for status, _ in answers} == {200}
    assert runner.bundles.loads == 1


@pytest.mark.parametrize(
    ("path", "code", "status"),
    [
        ("/loop", "guest_timeout", 504),
        ("/bomb", "guest_memory_exceeded", 502),
        ("/stack", "guest_trapped", 502),
        ("/trap", "guest_trapped", 502),
        ("/x-status", "guest_response_invalid", 502),
        ("/n-header", "guest_response_invalid", 502),
    ],
)
async def test_each_way_a_guest_can_fail_has_its_code_and_the_next_call_works(
    runner: Runner, path: str, code: str, status: int
) -> None:
    limits = wire.Limits(timeout_ms=500, memory_mb=16)
    got, answer = await runner.call(path, limits=limits)
    assert answer.error is not None
    assert (got, answer.status, answer.error.code, answer.error.blame) == (status, status, code, "guest")
    assert answer.error.started
    assert answer.body is None
    assert (await runner.call())[0] == 200


async def test_a_killed_sandbox_answers_guest_aborted_and_the_next_call_works(runner: Runner) -> None:
    await runner.call()
    running = asyncio.create_task(runner.call("/loop"))
    await until(lambda: any(sandbox._result is not None for sandbox in runner.pool._all))
    (busy,) = [sandbox for sandbox in runner.pool._all if sandbox._result is not None]
    os.kill(busy.pid, signal.SIGKILL)
    status, answer = await running
    assert answer.error is not None
    assert (status, answer.error.code) == (502, "guest_aborted")
    assert (await runner.call())[0] == 200


async def test_the_trap_text_goes_to_the_debug_stream_and_never_into_the_answer(runner: Runner) -> None:
    _, answer = await runner.call("/trap")
    assert answer.error is not None
    assert "unreachable" not in answer.error.message
    assert any("unreachable" in event.message for event in runner.sink.events)


async def test_events_are_numbered_and_carry_the_ids_of_the_call(runner: Runner) -> None:
    await runner.call("/i-log")
    assert [known.seq for known in runner.sink.events] == list(range(1, len(runner.sink.events) + 1))
    (event,) = [known for known in runner.sink.events if known.stream == "log"]
    assert event.message == "one line"
    assert (event.tenant_id, event.install_id, event.request_id) == ("acme", INSTALL, "r-1")


@pytest.mark.parametrize(
    "changes",
    [
        {"key": OTHER_KEY},
        {"aud": "runner:another"},
        {"op": "prepare"},
        {"tenant": "globex"},
        {"extension": INSTALL},
        {"install": EXTENSION},
        {"content_hash": UI_ONLY},
        {"body_sha256": "0" * 64},
        {"exp": int(time.time()) - 300, "iat": int(time.time()) - 330},
    ],
)
async def test_a_token_that_fits_in_all_but_one_thing_is_refused(runner: Runner, changes: dict[str, Any]) -> None:
    key = changes.pop("key", KEY)
    body = wire.encode_execute(request())
    status, answer = await runner.call(token=minted(body, key, **changes))
    assert answer.error is not None
    assert (status, answer.error.code, answer.error.started) == (401, "unauthorized", False)


@pytest.mark.parametrize("token", ["", "x", SERVICE_TOKEN[:-1] + "x", SERVICE_TOKEN + "x"])
async def test_a_wrong_service_token_is_refused_even_when_only_its_last_byte_differs(
    runner: Runner, token: str
) -> None:
    assert (await runner.call(token=token))[0] == 401


async def test_the_service_token_is_accepted_where_it_is_switched_on(runner: Runner) -> None:
    assert (await runner.call(token=SERVICE_TOKEN))[0] == 200


async def test_a_token_addressed_to_this_instance_is_accepted(runner: Runner) -> None:
    body = wire.encode_execute(request())
    assert (await runner.call(token=minted(body, aud="runner:me")))[0] == 200


async def test_a_token_is_good_once(runner: Runner) -> None:
    token = minted(wire.encode_execute(request()))
    assert (await runner.call(token=token))[0] == 200
    status, answer = await runner.call(token=token)
    assert answer.error is not None
    assert (status, answer.error.code) == (401, "unauthorized")


async def test_missing_and_differing_routing_headers_have_their_codes(runner: Runner) -> None:
    status, answer = await runner.call(routing={"x-alga-tenant": ""})
    assert answer.error is not None
    assert (status, answer.error.code) == (400, "missing_routing_headers")
    status, answer = await runner.call(routing={"x-alga-tenant": "globex"})
    assert answer.error is not None
    assert (status, answer.error.code) == (400, "routing_mismatch")


@pytest.mark.parametrize(
    ("changes", "code", "status"),
    [
        ({"providers": ("cap:nothing.known",)}, "unknown_capabilities", 400),
        ({"limits": wire.Limits(fuel=5)}, "invalid_request", 400),
        ({"limits": wire.Limits(timeout_ms=0)}, "invalid_request", 400),
        ({"limits": wire.Limits(memory_mb=-1)}, "invalid_request", 400),
        ({"tenant": "a/b", "routing": {"x-alga-tenant": "a/b"}}, "invalid_request", 400),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused_before_anything_runs(
    runner: Runner, changes: dict[str, Any], code: str, status: int
) -> None:
    got, answer = await runner.call(token=SERVICE_TOKEN, **changes)
    assert answer.error is not None
    assert (got, answer.error.code, answer.error.started) == (status, code, False)


async def test_an_unknown_digest_and_a_bundle_without_a_component_have_their_codes(runner: Runner) -> None:
    _, answer = await runner.call(token=SERVICE_TOKEN, content_hash="sha256:" + "e" * 64)
    assert answer.error is not None
    assert (answer.status, answer.error.code) == (404, "bundle_not_found")
    _, answer = await runner.call(token=SERVICE_TOKEN, content_hash=UI_ONLY)
    assert answer.error is not None
    assert (answer.status, answer.error.code) == (422, "component_invalid")


async def test_what_an_operator_stopped_does_not_run(runner: Runner) -> None:
    runner.feed.revoked.add(VERSION)
    _, answer = await runner.call()
    assert answer.error is not None
    assert (answer.status, answer.error.code, answer.error.started) == (403, "revoked", False)


async def test_a_body_that_is_too_large_is_refused_before_it_is_read(runner: Runner) -> None:
    headers = {"content-type": wire.JSON, "content-length": str(WIRE_MAX_BYTES + 1)}
    status, _, body = await runner.post(b"", headers)
    assert (status, msgspec.json.decode(body)["error"]["code"]) == (413, "payload_too_large")


async def test_a_chunked_body_is_counted_and_cut_at_the_limit(runner: Runner) -> None:
    chunk = b"x" * (WIRE_MAX_BYTES // 4)
    status, _, body = await runner.post(chunk, {"content-type": wire.JSON}, [chunk] * 4)
    assert (status, msgspec.json.decode(body)["error"]["code"]) == (413, "payload_too_large")


async def test_the_deadline_can_be_lowered_and_never_raised(runner: Runner) -> None:
    await runner.call()
    started = time.monotonic()
    await runner.call("/loop", limits=wire.Limits(timeout_ms=60_000), token=SERVICE_TOKEN)
    assert 3.9 < time.monotonic() - started < 4.5
