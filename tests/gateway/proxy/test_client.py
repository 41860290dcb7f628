"""The hop to a runner, against a real HTTP server on loopback: what is retried, what is passed on, what is refused."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import time
from collections.abc import AsyncIterator

import aiohttp
import msgspec
import pytest
from prometheus_client import CollectorRegistry, Counter

from gateway.proxy.client import RunnerClient
from gateway.proxy.runners import Fleet, system_lookup
from gateway.proxy.tokens import TokenMint
from shared import errors
from shared.deadline import Deadline
from shared.keys import PrivateKey
from shared.limits import RESPONSE_BODY_MAX_BYTES, WIRE_MAX_BYTES
from shared.tokens import HostClaims, Verifier
from shared.wire import MSGPACK, Context, ErrorBody, ExecuteRequest, ExecuteResponse, Http, encode_answer
from tests.gateway import stub_runner as stubs
from tests.gateway.stub_runner import StubRunner, stub_runner

KEY = PrivateKey(b"g" * 32)
CONTEXT = Context(
    request_id="req-1",
    tenant_id="acme",
    extension_id="00000000-0000-4000-8000-000000000001",
    install_id="00000000-0000-4000-8000-000000000002",
    version_id="00000000-0000-4000-8000-000000000003",
    content_hash="sha256:" + "ab" * 32,
)
REQUEST = ExecuteRequest(
    context=CONTEXT, http=Http(method="POST", path="/sync", body=b"\x00\xff"), providers=("cap:context.read",)
)
ROUTING = {"x-request-id": "req-1", "x-alga-tenant": "acme", "x-alga-extension": CONTEXT.extension_id}


@contextlib.asynccontextmanager
async def client_of(*urls: str) -> AsyncIterator[tuple[RunnerClient, Counter]]:
    retries = Counter("retries", "retries", registry=CollectorRegistry())
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, sock_connect=1)) as session:
        fleet = Fleet(urls, time.monotonic, system_lookup)
        yield RunnerClient(session, fleet, TokenMint(KEY, time.time), retries), retries


@pytest.fixture
async def runner() -> AsyncIterator[StubRunner]:
    async with stub_runner(KEY.public) as stub:
        yield stub


@pytest.fixture
async def other() -> AsyncIterator[StubRunner]:
    async with stub_runner(KEY.public) as stub:
        yield stub


def _closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def _soon() -> Deadline:
    return Deadline.after_ms(5000)


def _count(retries: Counter) -> float:
    return next(iter(retries.collect())).samples[0].value


async def test_a_call_carries_envelope_routing_headers_and_a_token_for_exactly_its_bytes(runner: StubRunner) -> None:
    async with client_of(runner.url) as (client, retries):
        reply = await client.execute(REQUEST, ROUTING, _soon())
    assert reply.answer.status == 200
    assert reply.answer.usage == stubs.USAGE
    (asked,), (claims,), (sent,) = runner.requests, runner.claims, runner.headers
    assert asked.http.body == b"\x00\xff"
    assert asked.context == CONTEXT
    assert asked.limits.timeout_ms is not None
    assert 4000 < asked.limits.timeout_ms <= 5000
    assert (claims.aud, claims.op, claims.tenant, claims.install) == ("runner", "execute", "acme", CONTEXT.install_id)
    assert (claims.content_hash, claims.caps) == (CONTEXT.content_hash, ("cap:context.read",))
    assert 0 < claims.exp - claims.iat <= 60
    assert {name: sent[name] for name in ROUTING} == ROUTING
    assert sent["content-type"] == MSGPACK
    assert runner.targets == ["POST /v1/execute"]
    assert _count(retries) == 0


async def test_a_refusal_that_says_not_started_is_repeated_once_on_another_runner(
    runner: StubRunner, other: StubRunner
) -> None:
    for stub in (runner, other):
        stub.acts = [stubs.refusing(errors.Overloaded("full"))]
    async with client_of(runner.url, other.url) as (client, retries):
        reply = await client.execute(REQUEST, ROUTING, _soon())
    assert reply.answer.error is not None
    assert reply.answer.error.code == "overloaded"
    assert len(runner.requests) == len(other.requests) == 1
    assert runner.claims[0].jti != other.claims[0].jti
    assert _count(retries) == 1


async def test_the_second_answer_counts_when_the_first_did_not_start(runner: StubRunner) -> None:
    runner.acts = [stubs.refusing(errors.CacheFull("full"))]
    async with client_of(runner.url) as (client, retries):
        reply = await client.execute(REQUEST, ROUTING, _soon())
    assert reply.answer.status == 200
    assert _count(retries) == 1
    first, second = runner.requests
    assert first.limits.timeout_ms is not None
    assert second.limits.timeout_ms is not None
    assert second.limits.timeout_ms <= first.limits.timeout_ms


@pytest.mark.parametrize(
    "error",
    [
        errors.Overloaded("full", started=True),
        errors.GuestTrapped("trap"),
        errors.GuestTimeout("late"),
        errors.ComponentInvalid("not ours"),
        errors.BundleUntrusted("digest"),
        errors.TenantOverConcurrency("share"),
        errors.SecretUnavailable("key"),
        errors.Revoked("gone"),
        errors.InvalidRequest("broken"),
    ],
    ids=lambda error: f"{error.code}-started-{error.started}",
)
async def test_what_started_or_what_another_runner_cannot_cure_is_not_repeated(
    runner: StubRunner, other: StubRunner, error: errors.PlatformError
) -> None:
    for stub in (runner, other):
        stub.acts = [stubs.refusing(error)]
    async with client_of(runner.url, other.url) as (client, _):
        reply = await client.execute(REQUEST, ROUTING, _soon())
    assert reply.answer.error is not None
    assert (reply.answer.error.code, reply.answer.error.started) == (error.code, error.started)
    assert reply.answer.usage == stubs.USAGE
    assert len(runner.requests) + len(other.requests) == 1


async def test_a_runner_that_does_not_accept_is_passed_over_and_then_asked_last(runner: StubRunner) -> None:
    async with client_of(_closed_port(), runner.url) as (client, _):
        for _ in range(4):
            assert (await client.execute(REQUEST, ROUTING, _soon())).answer.status == 200
    assert len(runner.requests) == 4


async def test_no_runner_at_all_is_a_bad_gateway_that_started_nothing() -> None:
    async with client_of(_closed_port()) as (client, _):
        with pytest.raises(errors.BadGateway) as caught:
            await client.execute(REQUEST, ROUTING, _soon())
    assert not caught.value.started
    assert caught.value.retry_after_s == 1


async def test_a_connection_that_breaks_after_the_bytes_left_is_never_repeated(
    runner: StubRunner, other: StubRunner
) -> None:
    for stub in (runner, other):
        stub.acts = [stubs.drop]
    async with client_of(runner.url, other.url) as (client, _):
        with pytest.raises(errors.BadGateway) as caught:
            await client.execute(REQUEST, ROUTING, _soon())
    assert caught.value.started
    assert len(runner.requests) + len(other.requests) == 1


async def test_retries_are_a_share_of_calls_so_that_a_fault_is_not_amplified(runner: StubRunner) -> None:
    runner.acts = [stubs.refusing(errors.Overloaded("full"))] * 200
    async with client_of(runner.url) as (client, retries):
        for _ in range(100):
            await client.execute(REQUEST, ROUTING, _soon())
        assert _count(retries) <= 10 + 100 * 0.1
    assert len(runner.requests) <= 100 + 20


async def test_the_gateway_waits_half_a_second_longer_than_the_guest_may_take(runner: StubRunner) -> None:
    runner.acts = [stubs.hang]
    async with client_of(runner.url) as (client, _):
        began_s = time.monotonic()
        with pytest.raises(errors.GatewayTimeout):
            await client.execute(REQUEST, ROUTING, Deadline.after_ms(50))
        assert 0.5 < time.monotonic() - began_s < 1.5
        async with asyncio.timeout(2):
            await runner.cancelled.wait()


async def test_no_time_left_asks_nobody(runner: StubRunner) -> None:
    async with client_of(runner.url) as (client, _):
        with pytest.raises(errors.GatewayTimeout) as caught:
            await client.execute(REQUEST, ROUTING, Deadline.after_ms(0))
    assert not caught.value.started
    assert runner.requests == []


async def test_cancelling_the_call_cancels_it_at_the_runner(runner: StubRunner) -> None:
    runner.acts = [stubs.hang]
    async with client_of(runner.url) as (client, _):
        call = asyncio.create_task(client.execute(REQUEST, ROUTING, _soon()))
        await runner.arrived.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        async with asyncio.timeout(2):
            await runner.cancelled.wait()


@pytest.mark.parametrize(
    "act",
    [
        stubs.raw(b"\xc1 not msgpack"),
        stubs.raw(b"", status=500),
        stubs.raw(b'{"status": 200}', content_type="application/json"),
        stubs.raw(b"<html>", status=502, content_type="text/html"),
        stubs.raw(encode_answer(ExecuteResponse(status=200), MSGPACK), status=503),
        stubs.raw(
            encode_answer(
                ExecuteResponse(
                    status=503, error=ErrorBody(code="overloaded", message="", blame="host", started=False)
                ),
                MSGPACK,
            ),
            status=200,
        ),
        stubs.raw(msgspec.msgpack.encode({"status": "200"})),
    ],
    ids=["garbage", "empty", "json", "html", "answer-with-503", "error-with-200", "wrong-type"],
)
async def test_an_answer_that_is_none_is_a_bad_gateway(runner: StubRunner, act: stubs.Act) -> None:
    runner.acts = [act]
    async with client_of(runner.url) as (client, _):
        with pytest.raises(errors.BadGateway):
            await client.execute(REQUEST, ROUTING, _soon())


async def test_a_redirect_is_not_followed(runner: StubRunner, other: StubRunner) -> None:
    runner.acts = [stubs.raw(b"", status=307)]
    async with client_of(runner.url) as (client, _):
        with pytest.raises(errors.BadGateway):
            await client.execute(REQUEST, ROUTING, _soon())


async def test_a_guests_body_may_be_as_large_as_the_limit(runner: StubRunner) -> None:
    runner.acts = [stubs.answering(body=bytes(RESPONSE_BODY_MAX_BYTES))]
    async with client_of(runner.url) as (client, _):
        reply = await client.execute(REQUEST, ROUTING, _soon())
    assert len(reply.answer.body or b"") == RESPONSE_BODY_MAX_BYTES


@pytest.mark.parametrize("size", [RESPONSE_BODY_MAX_BYTES + 1, WIRE_MAX_BYTES + 1])
async def test_a_guests_body_above_the_limit_is_the_guests_fault(runner: StubRunner, size: int) -> None:
    runner.acts = [stubs.answering(body=bytes(size))]
    async with client_of(runner.url) as (client, _):
        with pytest.raises(errors.GuestResponseInvalid):
            await client.execute(REQUEST, ROUTING, _soon())


async def test_retry_after_is_read_when_it_is_a_number(runner: StubRunner) -> None:
    async with client_of(runner.url) as (client, _):
        for text, seconds in (("7", 7), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("-1", None), ("1e9", None)):
            runner.acts = [stubs.refusing(errors.TenantOverConcurrency("share"), **{"retry-after": text})]
            assert (await client.execute(REQUEST, ROUTING, _soon())).retry_after_s == seconds


def test_the_host_token_ends_five_seconds_after_the_deadline_and_names_its_grants() -> None:
    mint = TokenMint(KEY, lambda: 1000.5)
    token = mint.host(CONTEXT, ("cap:storage.kv",), timeout_ms=30_000, generation=3, hops=0)
    claims = Verifier([KEY.public], {"gateway"}, lambda: 1000.0).verify(token, HostClaims)
    assert (claims.iat, claims.exp) == (1000, 1036)
    assert (claims.tenant, claims.install, claims.generation, claims.caps) == (
        "acme",
        CONTEXT.install_id,
        3,
        ("cap:storage.kv",),
    )


def test_a_provider_gets_a_token_only_when_granted_and_only_for_itself() -> None:
    mint = TokenMint(KEY, lambda: 1000.0)
    tokens = mint.providers(CONTEXT, ("cap:client.read", "cap:http.fetch"), timeout_ms=5000, generation=1)
    assert set(tokens) == {"clients"}
    claims = Verifier([KEY.public], {"provider:clients"}, lambda: 1000.0).verify(tokens["clients"], HostClaims)
    assert claims.caps == ("cap:client.read",)
    with pytest.raises(errors.Unauthorized):
        Verifier([KEY.public], {"gateway"}, lambda: 1000.0).verify(tokens["clients"], HostClaims)


def test_every_execute_token_is_new() -> None:
    mint = TokenMint(KEY, lambda: 1000.0)
    assert mint.execute(REQUEST, b"body") != mint.execute(REQUEST, b"body")


def test_the_bytes_of_an_execute_token_are_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.proxy.tokens.new_jti", lambda: "0" * 32)
    token = TokenMint(KEY, lambda: 1000.0).execute(REQUEST, b"body")
    head, payload, _ = (base64.urlsafe_b64decode(part + "==") for part in token.split("."))
    assert head == b'{"alg":"EdDSA","kid":"%s","typ":"alga-execute+jwt"}' % KEY.key_id.encode()
    assert payload == (
        b'{"iss":"gateway","aud":"runner","op":"execute","jti":"00000000000000000000000000000000","iat":1000,"exp":1010,'
        b'"body_sha256":"230d8358dc8e8890b4c58deeb62912ee2f20357ae92a5cc861b98e68fe31acb5","tenant":"acme",'
        b'"extension":"00000000-0000-4000-8000-000000000001","install":"00000000-0000-4000-8000-000000000002",'
        b'"content_hash":"sha256:%s","caps":["cap:context.read"]}' % (b"ab" * 32)
    )
