"""The way to a host application: one POST with the call's own token, bounded in time and size, never repeated."""

from __future__ import annotations

import asyncio
import socket
import time
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from runner.clients.http import open_session
from runner.clients.provider import ProviderClient
from shared.errors import Internal
from shared.keys import PrivateKey
from shared.limits import PROVIDER_ANSWER_MAX_BYTES
from shared.tokens import HostClaims, mint
from tests.host_application import HostApplication, answering, dropping, host_application, waiting
from tests.runner.conftest import store_settings

KEY = PrivateKey(b"p" * 32)
BODY = b'{"operation":"x","input":{},"user":null,"context":{"tenantId":"acme"}}'


def token(audience: str = "provider:clients") -> str:
    now = int(time.time())
    claims = HostClaims(
        iss="gateway",
        aud=audience,
        jti="0" * 32,
        iat=now,
        exp=now + 30,
        tenant="acme",
        extension="e",
        install="i",
        request_id="r-1",
        caps=("cap:client.read",),
    )
    return mint(KEY, claims)


@pytest.fixture
async def host() -> AsyncIterator[HostApplication]:
    async with host_application(KEY.public) as served:
        yield served


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[ProviderClient]:
    async with open_session(store_settings(tmp_path, "http://127.0.0.1:1")) as session:
        yield ProviderClient(session)


async def ask(
    client: ProviderClient, url: str, *, token_: str | None = None, timeout_s: float = 5.0
) -> tuple[int, bytes]:
    return await client.ask(url, BODY, token=token_ or token(), request_id="r-1", timeout_s=timeout_s)


async def test_a_question_goes_out_as_json_with_the_calls_token_and_nothing_else(
    client: ProviderClient, host: HostApplication
) -> None:
    host.acts.append(answering(b"null"))
    assert await ask(client, host.url("clients")) == (200, b"null")
    (name, said, claims), headers = host.asked[0], host.headers[0]
    assert (name, said["operation"], claims.aud) == ("clients", "x", "provider:clients")
    assert headers["content-type"] == headers["accept"] == "application/json"
    assert headers["x-request-id"] == "r-1"
    assert set(headers) == {
        *("host", "authorization", "content-type", "accept", "accept-encoding", "x-request-id", "user-agent"),
        "content-length",
    }


async def test_connections_are_kept(client: ProviderClient, host: HostApplication) -> None:
    for _ in range(5):
        host.acts.append(answering(b"null"))
        await ask(client, host.url("clients"))
    assert len(host.peers) == 1


async def test_a_status_is_an_answer_whatever_it_is(client: ProviderClient, host: HostApplication) -> None:
    for status in (201, 400, 401, 422, 500, 503):
        host.acts.append(answering(b"{}", status))
        assert await ask(client, host.url("clients")) == (status, b"{}")


async def test_a_redirect_is_not_followed_and_takes_no_token_along(
    client: ProviderClient, host: HostApplication
) -> None:
    host.acts.append(answering(b"", 307, location=host.url("services")))
    assert (await ask(client, host.url("clients")))[0] == 307
    assert len(host.headers) == 1


async def test_cookies_are_not_kept(client: ProviderClient, host: HostApplication) -> None:
    for _ in range(2):
        host.acts.append(answering(b"null", 200, **{"set-cookie": "a=b; Path=/"}))
        await ask(client, host.url("clients"))
    assert "cookie" not in host.headers[1]


async def test_a_token_for_another_service_is_refused_there(client: ProviderClient, host: HostApplication) -> None:
    assert (await ask(client, host.url("clients"), token_=token("provider:services")))[0] == 401
    assert (await ask(client, host.url("clients"), token_=token("gateway")))[0] == 401


@pytest.mark.parametrize("surplus", [-1, 0, 1])
async def test_an_answer_has_so_many_bytes_and_no_more(
    client: ProviderClient, host: HostApplication, surplus: int
) -> None:
    body = b'"' + b"a" * (PROVIDER_ANSWER_MAX_BYTES + surplus - 2) + b'"'
    host.acts.append(answering(body))
    if surplus <= 0:
        assert await ask(client, host.url("clients")) == (200, body)
    else:
        with pytest.raises(Internal, match=f"more than {PROVIDER_ANSWER_MAX_BYTES} bytes"):
            await ask(client, host.url("clients"))


async def test_an_answer_that_inflates_counts_as_what_it_becomes(client: ProviderClient, host: HostApplication) -> None:
    packed = zlib.compress(b"a" * (PROVIDER_ANSWER_MAX_BYTES + 1))
    host.acts.append(answering(packed, 200, **{"content-encoding": "deflate"}))
    with pytest.raises(Internal, match="more than"):
        await ask(client, host.url("clients"))


async def test_an_answer_that_does_not_come_in_time_is_none(client: ProviderClient, host: HostApplication) -> None:
    gate = asyncio.Event()
    host.acts.append(waiting(gate))
    with pytest.raises(Internal, match="in time"):
        await ask(client, host.url("clients"), timeout_s=0.05)
    gate.set()


async def test_a_connection_that_breaks_is_no_answer_and_nothing_is_repeated(
    client: ProviderClient, host: HostApplication
) -> None:
    host.acts.append(answering(b"null"))
    await ask(client, host.url("clients"))
    host.acts.append(dropping)  # on the kept connection
    with pytest.raises(Internal, match="cannot be reached"):
        await ask(client, host.url("clients"))
    assert len(host.asked) == 2


async def test_nobody_listening_is_no_answer(client: ProviderClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(Internal, match="cannot be reached"):
        await ask(client, f"http://127.0.0.1:{port}/clients")


async def test_a_cancelled_question_closes_its_connection(client: ProviderClient, host: HostApplication) -> None:
    gate = asyncio.Event()
    started = asyncio.Event()

    async def act(request: aiohttp.web.BaseRequest) -> aiohttp.web.StreamResponse:
        started.set()
        return await waiting(gate)(request)

    host.acts.append(act)
    asking = asyncio.create_task(ask(client, host.url("clients")))
    await started.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    gate.set()
    host.acts.append(answering(b"null"))
    await ask(client, host.url("clients"))
    assert len(host.peers) == 2
