"""`ANY /api/ext/{extension}/{path}`: sizes and shapes of requests, CORS, and messages with two readings."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from shared.limits import REQUEST_BODY_MAX_BYTES
from tests.gateway import stub_runner as stubs
from tests.gateway.seeds import Seed
from tests.gateway.serving import ORIGIN, Served, bearer, is_problem

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_body_may_be_as_large_as_the_limit(live: Served, install: Seed) -> None:
    live.stub.acts = [stubs.answering()]
    body = bytes(REQUEST_BODY_MAX_BYTES)
    target = f"/api/ext/{install.install_id}/notes"
    assert (await live.call("POST", target, body, authorization=bearer(install))).status == 200
    assert live.stub.requests[0].http.body == body


@pytest.mark.parametrize(
    "target",
    ["/a%2fb", "/a%5Cb", "/a%00b", "/../x", "/%2e%2e/x", "/a/./b", "/a%0d%0ab", "/a//b", "/%ff", "/%zz", "/a%7f"],
)
async def test_a_path_with_two_readings_is_refused(live: Served, install: Seed, target: str) -> None:
    answer = await live.call("GET", f"/api/ext/{install.install_id}{target}", authorization=bearer(install))
    is_problem(answer, 400, "invalid_path")
    assert live.stub.requests == []


async def test_a_prefix_in_disguise_is_refused(live: Served, install: Seed) -> None:
    answer = await live.call("GET", f"/api/%65xt/{install.install_id}/", authorization=bearer(install))
    is_problem(answer, 400, "invalid_path")


async def test_an_escaped_path_arrives_escaped_once(live: Served, install: Seed) -> None:
    target = f"/api/ext/{install.install_id}/a%20b/%25/c%3fd?q=%3F"
    answer = await live.call("GET", target, authorization=bearer(install))
    assert (answer.json()["path"], answer.json()["query_string"]) == ("/a%20b/%25/c%3Fd", "q=%3F")


# ---- CORS -------------------------------------------------------------------------------------------------------------


PREFLIGHT = {"access_control_request_method": "POST", "access_control_request_headers": "authorization"}


async def test_a_preflight_of_a_listed_origin_is_answered_without_a_credential(live: Served, install: Seed) -> None:
    answer = await live.call("OPTIONS", f"/api/ext/{install.install_id}/", origin=ORIGIN, **PREFLIGHT)
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "authorization" in answer.headers["access-control-allow-headers"]
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "access-control-allow-credentials" not in answer.headers
    assert live.stub.requests == []


@pytest.mark.parametrize(
    "origin", ["https://app.example.com.evil", "http://app.example.com", "https://APP.example.com", "null", "*", ""]
)
async def test_any_other_origin_gets_no_cors_header(live: Served, install: Seed, origin: str) -> None:
    preflight = await live.call("OPTIONS", f"/api/ext/{install.install_id}/", origin=origin, **PREFLIGHT)
    answer = await live.call("GET", f"/api/ext/{install.install_id}/", origin=origin, authorization=bearer(install))
    assert preflight.status == 403
    assert answer.status == 200
    for found in (preflight, answer):
        assert not [name for name in found.headers if name.startswith("access-control-")]


async def test_answers_and_refusals_can_be_read_by_a_listed_origin(live: Served, install: Seed) -> None:
    for credential, status in (({"authorization": bearer(install)}, 200), ({}, 401)):
        answer = await live.call("GET", f"/api/ext/{install.install_id}/", origin=ORIGIN, **credential)
        assert answer.status == status
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert answer.headers["vary"] == "origin"
        assert "access-control-allow-credentials" not in answer.headers


# ---- the server -------------------------------------------------------------------------------------------------------


def _head(install: Seed, *lines: str, method: str = "POST", target: str | None = None) -> bytes:
    target = target or f"/api/ext/{install.install_id}/"
    head = [f"{method} {target} HTTP/1.1", "host: gateway", f"authorization: {bearer(install)}", *lines]
    return "\r\n".join([*head, "", ""]).encode()


@pytest.mark.parametrize(
    ("lines", "rest"),
    [
        (("content-length: 5", "transfer-encoding: chunked"), b"0\r\n\r\nSMUGGLED"),
        (("transfer-encoding: chunked",), b"5\r\nhelloXX0\r\n\r\n"),
        (("content-length: +5",), b"hello"),
        (("content-length: 5", "content-length: 6"), b"hello"),
        (("content-length: 5, 6",), b"hello"),
        (("content-length: 0x5",), b"hello"),
        (("transfer-encoding: xchunked",), b"5\r\nhello\r\n0\r\n\r\n"),
        (("transfer-encoding: chunked, identity",), b"5\r\nhello\r\n0\r\n\r\n"),
        (("transfer-encoding : chunked",), b"0\r\n\r\n"),
        (("content-length: 5", "x: a\x00b"), b"hello"),
    ],
    ids=lambda value: repr(value)[:40] if isinstance(value, tuple) else "",
)
async def test_a_message_with_two_readings_never_becomes_two_requests(
    live: Served, install: Seed, lines: tuple[str, ...], rest: bytes
) -> None:
    smuggled = _head(install, method="GET", target=f"/api/ext/{install.install_id}/smuggled")
    said = await live.raw(_head(install, *lines) + rest + smuggled)
    assert len(re.findall(rb"HTTP/1\.1 \d{3}", said)) <= 1
    assert not said or re.match(rb"HTTP/1\.1 (400|501)", said), said
    assert live.stub.requests == []


async def test_ten_gigabytes_are_refused_before_they_are_sent(live: Served, install: Seed) -> None:
    for more in ((), ("expect: 100-continue",)):
        said = await live.raw(_head(install, f"content-length: {10**10}", *more))
        assert re.match(rb"(HTTP/1\.1 100 \r\n(.+\r\n)*\r\n)?HTTP/1\.1 413 ", said), said
        assert b"payload_too_large" in said


async def test_chunks_without_end_are_cut_at_the_limit(live: Served, install: Seed) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
    writer.write(_head(install, "transfer-encoding: chunked"))
    chunk = b"10000\r\n" + bytes(1 << 16) + b"\r\n"
    sent = 0

    async def flood() -> None:
        nonlocal sent
        while True:
            writer.write(chunk)
            await writer.drain()
            sent += 1 << 16

    flooding = asyncio.create_task(flood())
    try:
        async with asyncio.timeout(20):
            assert (await reader.readline()).startswith(b"HTTP/1.1 413")
    finally:
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)
        writer.close()
    assert sent < REQUEST_BODY_MAX_BYTES * 2
    assert live.stub.requests == []


@pytest.mark.parametrize("target", ["@evil.example/api/ext/x/", "http://evil.example/api/ext/x/", "*"])
async def test_a_strange_target_changes_no_decision(live: Served, install: Seed, target: str) -> None:
    said = await live.raw(_head(install, "connection: close", method="GET", target=target))
    assert re.match(rb"HTTP/1\.1 40[04]", said)


async def test_the_host_header_changes_no_decision(live: Served, install: Seed) -> None:
    head = _head(install, "connection: close", method="GET").replace(b"host: gateway", b"host: a/?x=")
    said = await live.raw(head.replace(b"authorization", b"x-other"))
    assert re.match(rb"HTTP/1\.1 40[01]", said)


async def test_a_header_block_above_the_limit_is_refused(live: Served, install: Seed) -> None:
    fits = await live.call("GET", f"/api/ext/{install.install_id}/", authorization=bearer(install), x_filler="a" * 7000)
    assert fits.status == 200
    lines: list[Any] = [f"x-filler-{number}: {'a' * 4000}" for number in range(9)]
    said = await live.raw(_head(install, "connection: close", *lines, method="GET"))
    assert said.startswith(b"HTTP/1.1 431")
