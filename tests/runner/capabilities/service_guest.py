"""Calls the services of a host application as a guest in its sandbox does."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytest

from runner.capabilities.capability import Call, Capability
from runner.capabilities.host_calls import HostCalls
from runner.debug.recorder import Recorder
from shared.deadline import Deadline
from shared.debug_event import ExtDebugEvent
from shared.keys import PrivateKey
from shared.provider import Providers
from shared.tokens import HostClaims, mint
from shared.wire import Context, ExecuteRequest, Http, User

KEY = PrivateKey(b"p" * 32)
CONTEXT = Context(
    request_id="r-1", tenant_id="acme", extension_id="e-1", install_id="i-1", version_id="v-1", content_hash="sha256:x"
)
ADMIN = User(user_id="u-1", user_email="u@acme.example", user_name="Ursula", user_type="internal")
OF_A_CLIENT = User(
    user_id="u-2",
    user_email="c@initech.example",
    user_name="Carl",
    user_type="client",
    client_name="Initech",
    client_id="c-1",
    additional_fields={"favourite-colour": "blue"},
)
INITECH = ["c-1", "Initech", "company", False, None, None, None, None]
ANYTHING: list[Any] = [None, None, None, None]


def provider_token(name: str, user: User | None) -> str:
    now = int(time.time())
    claims = HostClaims(
        iss="gateway",
        aud=f"provider:{name}",
        jti="0" * 32,
        iat=now,
        exp=now + 30,
        tenant="acme",
        extension="e-1",
        install="i-1",
        request_id="r-1",
        sub=user.user_id if user else "",
        user_type=user.user_type if user else "",
        client_id=(user.client_id or "") if user else "",
    )
    return mint(KEY, claims)


class Guest:
    """Calls the interfaces of one execution as a sandbox does."""

    def __init__(
        self,
        table: Mapping[str, Capability],
        providers: Providers,
        *,
        user: User | None = ADMIN,
        granted: frozenset[str] | None = None,
        tokens: bool = True,
        within_ms: int = 5000,
    ) -> None:
        self.told: list[str] = []
        names = [one.name for one in providers] if tokens else []
        request = ExecuteRequest(
            context=CONTEXT,
            http=Http(method="GET", path="/"),
            user=user,
            provider_tokens={name: provider_token(name, user) for name in names},
            host_token="never-for-a-host-application",
        )
        call = Call(request, Deadline.after_ms(within_ms), Recorder(CONTEXT, self))
        every = frozenset(providers.capabilities)
        self._calls = HostCalls(providers.world, every if granted is None else granted, call, table)

    def emit(self, event: ExtDebugEvent) -> None:
        if event.stream == "system":
            self.told.append(event.message)

    async def call(self, interface: str, function: str, *arguments: Any) -> Any:
        return await self._calls.answer(interface, function, list(arguments))


CALLS = [
    ("clients", "list-clients", ANYTHING),
    ("clients", "get-client", "c-1"),
    ("services", "list-services", [None] * 6),
    ("services", "get-service", "s-1"),
]
each_read = pytest.mark.parametrize(("interface", "function", "argument"), CALLS)
INVOICE = ["c-1", [], None, None, None]


def refusal(error: str) -> list[Any]:
    return [False, None, None, None, None, None, None, error, None]
