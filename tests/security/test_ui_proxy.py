"""A guest that asks the UI proxy for what is not its own, from its sandbox, at a real host application. Row T53."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runner.capabilities import ui_proxy
from runner.capabilities.capability import Call
from runner.capabilities.host_calls import HostCalls
from runner.capabilities.table import with_services
from runner.capabilities.ui_routes import parse_api_paths
from runner.clients.http import open_session
from runner.clients.ui_proxy import UiProxyClient
from runner.debug.recorder import Recorder
from shared.deadline import Deadline
from shared.debug_event import ExtDebugEvent
from shared.keys import PrivateKey
from shared.tokens import HostClaims, mint
from shared.wire import Context, ExecuteRequest, Http
from shared.wit_parser import load_world
from tests.host_application import HostApplication, answering, host_application
from tests.runner.conftest import store_settings

KEY = PrivateKey(b"p" * 32)
OWN = "0b9f2c3e-0000-4000-8000-000000000001"
OTHER = "0b9f2c3e-0000-4000-8000-000000000002"
CONTEXT = Context(
    request_id="r-1", tenant_id="acme", extension_id=OWN, install_id="i-1", version_id="v", content_hash="sha256:x"
)


@pytest.fixture
async def host() -> AsyncIterator[HostApplication]:
    async with host_application(KEY.public) as served:
        yield served


class Attacker:
    """Everything is granted to it; `told` is what its author reads."""

    def __init__(self, client: UiProxyClient, base_url: str, listed: str) -> None:
        self.told: list[ExtDebugEvent] = []
        now = int(time.time())
        claims = HostClaims(
            iss="gateway", aud="ui-proxy", jti="0" * 32, iat=now, exp=now + 30, tenant="acme", extension=OWN,
            install="i-1", request_id="r-1",
        )  # fmt: skip
        request = ExecuteRequest(
            context=CONTEXT, http=Http(method="GET", path="/"), provider_tokens={"ui-proxy": mint(KEY, claims)}
        )
        call = Call(request, Deadline.after_ms(30_000), Recorder(CONTEXT, self))
        way = ui_proxy.Way(base_url, parse_api_paths(listed))
        table = with_services(ui_proxy.capability(way, client))
        self._calls = HostCalls(load_world(), frozenset({"cap:ui.proxy"}), call, table)

    def emit(self, event: ExtDebugEvent) -> None:
        self.told.append(event)

    async def call(self, route: str) -> tuple[bool, bytes | str]:
        answer: tuple[bool, bytes | str] = await self._calls.answer("ui-proxy", "call-route", [route, b"{}"])
        return answer


ELSEWHERE = [
    "/internal/execute",
    "/internal/storage/get",
    f"/ui-proxy/{OTHER}/status",
    f"../{OTHER}/status",
    f"x/../../{OTHER}/status",
    f"..%2f{OTHER}%2fstatus",
    f"%2e%2e/{OTHER}/status",
    f"..;/{OTHER}/status",
    f"..\\{OTHER}\\status",
    f"%c0%ae%c0%ae/{OTHER}/status",
    f"%252e%252e/{OTHER}/status",
    "../../internal/execute",
    "http://127.0.0.1:1/internal/execute",
    "https://evil.example/steal",
    "//evil.example/steal",
    "/\\evil.example/steal",
    "\\\\evil.example\\steal",
    "@evil.example/\r\nx-alga-tenant: globex",
    "a?tenant=globex",
    "a#b",
    "/api/v1/tickets/../users",
    "/api/v1/tickets/%2e%2e/users",
    "/api/v1/tickets//users",
]


async def test_t53_a_guest_reaches_nothing_but_its_own_routes_and_what_the_operator_listed(
    host: HostApplication, tmp_path: Path
) -> None:
    async with open_session(store_settings(tmp_path, "http://127.0.0.1:1")) as session:
        guest = Attacker(UiProxyClient(session), host.ui_proxy, "/api/v1/tickets/*")
        for route in ELSEWHERE:
            assert await guest.call(route) == (False, "bad-request"), route
        assert host.headers == []  # nothing was on the wire
        assert (await guest.call("status"))[0]
        assert (await guest.call("/api/v1/tickets/7"))[0]
        assert (await guest.call(f"{OTHER}/status"))[0]  # below its own prefix, whatever it is called
        host.acts.append(answering(b"", 307, location=f"{host.base}/internal/execute"))
        assert await guest.call("status") == (False, "internal")
    own = f"/ui-proxy/{OWN}"
    assert [path for path, _, _ in host.routed] == [
        f"{own}/status",
        "/api/v1/tickets/7",
        f"{own}/{OTHER}/status",
        f"{own}/status",
    ]
    assert all(headers["x-alga-tenant"] == "acme" for headers in host.headers)
    assert "evil" not in repr(guest.told)
