"""ui-proxy towards a guest and towards a real host application: its own routes, with the call's token, bounded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import structlog

from runner.capabilities import ui_proxy
from runner.capabilities.capability import Call
from runner.capabilities.host_calls import HostCalls
from runner.capabilities.table import BY_INTERFACE, CAPABILITIES, with_services
from runner.capabilities.ui_proxy import Way
from runner.capabilities.ui_routes import parse_api_paths
from runner.clients.provider import ProviderClient
from runner.clients.ui_proxy import UiProxyClient
from runner.debug.recorder import Recorder
from shared.deadline import Deadline
from shared.debug_event import ExtDebugEvent
from shared.limits import UI_PROXY_ANSWER_MAX_BYTES, UI_PROXY_REQUEST_MAX_BYTES
from shared.tokens import HostClaims, mint
from shared.wire import Context, ExecuteRequest, Http
from shared.wit_parser import load_world
from tests.host_application import HostApplication, answering, dropping, waiting
from tests.runner.capabilities.service_guest import KEY

WORLD = load_world()
OWN = "0b9f2c3e-0000-4000-8000-000000000001"
CONTEXT = Context(
    request_id="r-1", tenant_id="acme", extension_id=OWN, install_id="i-1", version_id="v", content_hash="sha256:x"
)


def token(audience: str = "ui-proxy") -> str:
    now = int(time.time())
    claims = HostClaims(
        iss="gateway", aud=audience, jti="0" * 32, iat=now, exp=now + 30, tenant="acme", extension=OWN,
        install="i-1", request_id="r-1", sub="u-1",
    )  # fmt: skip
    return mint(KEY, claims)


class Guest:
    """Calls the interface as a sandbox does."""

    def __init__(
        self,
        client: UiProxyClient,
        way: Way,
        *,
        tokens: dict[str, str] | None = None,
        granted: bool = True,
        within_ms: int = 5000,
    ) -> None:
        self.told: list[str] = []
        request = ExecuteRequest(
            context=CONTEXT,
            http=Http(method="GET", path="/"),
            provider_tokens={"ui-proxy": token(), "clients": "never-for-the-ui-proxy"} if tokens is None else tokens,
            host_token="never-for-a-host-application",
        )
        call = Call(request, Deadline.after_ms(within_ms), Recorder(CONTEXT, self))
        grants = frozenset({ui_proxy.CAPABILITY.name} if granted else ())
        self._calls = HostCalls(WORLD, grants, call, with_services(ui_proxy.capability(way, client)))

    def emit(self, event: ExtDebugEvent) -> None:
        if event.stream == "system":
            self.told.append(event.message)

    async def call(self, route: str = "tickets/list", payload: bytes | None = None) -> Any:
        return await self._calls.answer("ui-proxy", "call-route", [route, payload])


@pytest.fixture
def asks(client: ProviderClient) -> UiProxyClient:
    return UiProxyClient(client._session)


@pytest.fixture
def way(host: HostApplication) -> Way:
    return Way(host.ui_proxy, parse_api_paths("/api/v1/tickets"))


@pytest.fixture
def guest(asks: UiProxyClient, way: Way) -> Guest:
    return Guest(asks, way)


async def test_a_route_is_asked_below_the_extensions_own_prefix_with_its_payload_and_only_the_body_returns(
    guest: Guest, host: HostApplication
) -> None:
    host.acts.append(answering(b"\x00\xffwhole", 201, **{"x-secret": "never seen", "set-cookie": "a=b"}))
    assert await guest.call("tickets/Z%C3%BCrich:list", b'{"page":1}') == (True, b"\x00\xffwhole")
    (path, payload, claims), headers = host.routed[0], host.headers[0]
    assert (path, payload) == (f"/ui-proxy/{OWN}/tickets/Z%C3%BCrich:list", b'{"page":1}')
    assert (claims.aud, claims.tenant, claims.extension, claims.sub) == ("ui-proxy", "acme", OWN, "u-1")
    assert (headers["x-alga-tenant"], headers["x-alga-extension"], headers["x-request-id"]) == ("acme", OWN, "r-1")
    assert headers["content-type"] == "application/json"
    assert "x-runner-auth" not in headers
    assert "cookie" not in headers
    assert "never" not in repr(host.headers)
    assert guest.told == []


async def test_no_payload_is_an_empty_one(guest: Guest, host: HostApplication) -> None:
    host.acts.append(answering(b"", 204))
    assert await guest.call(payload=None) == (True, b"")
    assert host.routed[0][1] == b""
    assert host.headers[0]["content-length"] == "0"


async def test_a_listed_path_of_its_api_is_asked_at_the_origin(guest: Guest, host: HostApplication) -> None:
    ok, _ = await guest.call("/api/v1/tickets")
    assert ok
    assert host.routed[0][0] == "/api/v1/tickets"


async def test_the_runner_says_who_it_is_when_it_has_a_key(
    client: ProviderClient, way: Way, host: HostApplication
) -> None:
    guest = Guest(UiProxyClient(client._session, "runner-key"), way)
    assert (await guest.call())[0]
    assert host.headers[0]["x-runner-auth"] == "runner-key"
    unsigned = Guest(UiProxyClient(client._session, "runner-key"), way, tokens={"ui-proxy": "x.y.z"})
    assert await unsigned.call() == (False, "denied")  # the key alone is worth nothing


@pytest.mark.parametrize(
    ("status", "case"),
    [(s, "denied") for s in (401, 403, 429)]
    + [(404, "route-not-found")]
    + [(s, "bad-request") for s in (400, 405, 409, 413, 415, 422)]
    + [(s, "internal") for s in (301, 302, 307, 308, 304, 500, 502, 503)],
)
async def test_each_refusal_has_its_case_and_nothing_of_its_body_returns(
    guest: Guest, host: HostApplication, status: int, case: str
) -> None:
    for _ in range(2):
        host.acts.append(answering(b"canary", status, location=host.url("services")))
        assert await guest.call() == (False, case)
    assert len(host.headers) == 2  # no redirect was followed
    assert guest.told == [f"ui-proxy.call-route: {case}: the host application answered {status}"]


@pytest.mark.parametrize("status", [401, 500])
async def test_what_the_operator_could_change_is_a_line_of_the_log(
    guest: Guest, host: HostApplication, status: int
) -> None:
    with structlog.testing.capture_logs() as lines:
        for _ in range(2):
            host.acts.append(answering(b"canary", status))
            await guest.call()
    (line,) = [line for line in lines if line["event"] == "ui_proxy_failed"]
    assert (line["reason"], line["tenant"], line["request_id"]) == (
        f"the host application answered {status}",
        "acme",
        "r-1",
    )


async def test_without_an_address_it_fails_and_one_event_names_the_setting(asks: UiProxyClient) -> None:
    guest = Guest(asks, Way(None))
    for _ in range(3):
        assert await guest.call() == (False, "internal")
    (told,) = guest.told
    assert "UI_PROXY_BASE_URL is not set" in told


async def test_without_the_grant_nobody_is_asked(asks: UiProxyClient, way: Way, host: HostApplication) -> None:
    guest = Guest(asks, way, granted=False)
    assert await guest.call() == (False, "denied")
    assert host.headers == []
    assert "cap:ui.proxy is not granted" in guest.told[0]


async def test_without_a_token_for_it_nobody_is_asked(asks: UiProxyClient, way: Way, host: HostApplication) -> None:
    guest = Guest(asks, way, tokens={"clients": token("provider:clients")})
    assert await guest.call() == (False, "denied")
    assert host.headers == []
    assert "carries no token" in guest.told[0]


@pytest.mark.parametrize("audience", ["provider:clients", "gateway", "runner"])
async def test_a_token_for_something_else_is_refused_there(
    asks: UiProxyClient, way: Way, host: HostApplication, audience: str
) -> None:
    assert await Guest(asks, way, tokens={"ui-proxy": token(audience)}).call() == (False, "denied")
    assert host.routed == []


@pytest.mark.parametrize("route", ["../other", "/internal/execute", "a?b=c", ""])
async def test_what_is_no_route_is_a_bad_request_and_nobody_is_asked(
    guest: Guest, host: HostApplication, route: str
) -> None:
    for _ in range(2):
        assert await guest.call(route) == (False, "bad-request")
    assert host.headers == []
    assert len(guest.told) == 1


@pytest.mark.parametrize("extra", [-1, 0, 1])
async def test_a_payload_below_at_and_above_the_limit(guest: Guest, host: HostApplication, extra: int) -> None:
    size = UI_PROXY_REQUEST_MAX_BYTES + extra
    ok, value = await guest.call(payload=b"x" * size)
    assert ok is (extra <= 0)
    assert len(host.routed) == int(ok)
    if not ok:
        assert value == "bad-request"
        assert str(UI_PROXY_REQUEST_MAX_BYTES) in guest.told[0]


@pytest.mark.parametrize("extra", [-1, 0, 1])
async def test_an_answer_below_at_and_above_the_limit(guest: Guest, host: HostApplication, extra: int) -> None:
    body = b"x" * (UI_PROXY_ANSWER_MAX_BYTES + extra)
    host.acts.append(answering(body))
    if extra <= 0:
        assert await guest.call() == (True, body)
    else:
        assert await guest.call() == (False, "internal")
        assert str(UI_PROXY_ANSWER_MAX_BYTES) in guest.told[0]


async def test_a_connection_that_breaks_is_internal_and_nothing_is_repeated(
    guest: Guest, host: HostApplication
) -> None:
    await guest.call()
    host.acts.append(dropping)
    assert await guest.call() == (False, "internal")
    assert len(host.routed) == 2


@pytest.mark.parametrize("make", [lambda way: (way, 150), lambda way: (Way(way.base_url, way.listed, 150), 30_000)])
async def test_it_ends_with_the_call_or_with_its_own_time(
    asks: UiProxyClient, way: Way, host: HostApplication, make: Callable[[Way], tuple[Way, int]]
) -> None:
    bounded, within_ms = make(way)
    gate = asyncio.Event()
    host.acts.append(waiting(gate))
    guest = Guest(asks, bounded, within_ms=within_ms)
    began = time.perf_counter()
    assert await guest.call() == (False, "internal")
    assert time.perf_counter() - began < 5
    gate.set()


async def test_a_cancelled_call_closes_its_connection(guest: Guest, host: HostApplication) -> None:
    gate, started = asyncio.Event(), asyncio.Event()

    async def act(request: Any) -> Any:
        started.set()
        then: Callable[[Any], Awaitable[Any]] = waiting(gate)
        return await then(request)

    host.acts.append(act)
    asking = asyncio.create_task(guest.call())
    await started.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    gate.set()
    assert (await guest.call())[0]
    assert len(host.peers) == 2


def test_the_coroutines_are_the_functions_of_the_wit() -> None:
    functions = {function.name.replace("-", "_") for function in WORLD.interfaces["ui-proxy"].functions}
    assert functions == {name for name in vars(ui_proxy.UiProxy) if not name.startswith("_")}


def test_the_list_has_it_and_without_a_client_nobody_answers() -> None:
    assert ui_proxy.CAPABILITY in CAPABILITIES
    assert BY_INTERFACE["ui-proxy"].open is None
