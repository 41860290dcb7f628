"""ui-proxy: a guest calls routes that the host application offers to its extension. WIT: shared/wit/ui-proxy.wit.

A call is a POST of the payload to `{UI_PROXY_BASE_URL}/{extension_id}/{route}`, with the token the gateway minted for it;
what a route may be is in `runner.capabilities.ui_routes`. Only the body of a 2xx answer returns:

    401, 403, 429     `denied`
    404               `route-not-found`
    other 4xx         `bad-request`, like a route or a payload that is none
    any other, a redirect, no answer in time, too long a one: `internal`

Why, the debug stream says, once for each reason; what the operator could change is a line of the log as well.
"""

from __future__ import annotations

from functools import partial
from typing import Final, Literal, Protocol
from urllib.parse import urlsplit

import msgspec
import structlog

from runner.capabilities.capability import Call, Capability
from runner.capabilities.ui_routes import ApiPaths, RouteError, resolve
from shared.errors import Internal
from shared.limits import TIMEOUT_DEFAULT_MS, UI_PROXY_REQUEST_MAX_BYTES
from shared.wire import Context

BASE_URL: Final = "UI_PROXY_BASE_URL"
TOKEN: Final = "ui-proxy"  # the entry of `provider_tokens`

ProxyError = Literal["route-not-found", "denied", "bad-request", "internal"]

CAPABILITY: Final = Capability(name="cap:ui.proxy", interface="ui-proxy")

_log = structlog.get_logger("ui_proxy")


class Client(Protocol):
    """Asks the host application."""

    async def ask(
        self, url: str, payload: bytes, *, token: str, context: Context, timeout_s: float
    ) -> tuple[int, bytes]:
        """Status and body of the answer to one POST. Raises `Internal` when there is none."""
        ...


class Way(msgspec.Struct, frozen=True):
    """What the operator decided.

    Attributes:
        base_url: without a slash at its end; without one every call fails, and the debug stream says what is missing.
        listed: paths of the host application's own API.
        timeout_ms: of one call; less when the execution has less left.
    """

    base_url: str | None
    listed: ApiPaths = ApiPaths()
    timeout_ms: int = TIMEOUT_DEFAULT_MS


class UiProxy:
    """The calls of one execution."""

    def __init__(self, way: Way, client: Client, call: Call) -> None:
        self._way, self._client, self._call = way, client, call
        self._explained: set[str] = set()

    async def call_route(self, route: str, payload: bytes | None) -> tuple[bool, bytes | ProxyError]:
        """The body of the route's answer, or the case of `proxy-error`."""
        context, token = self._call.request.context, self._call.request.provider_tokens.get(TOKEN)
        if self._way.base_url is None:
            return self._failed(f"{BASE_URL} is not set, so that no host application is asked")
        if token is None:
            reason = "this call carries no token for it, as it did not come through the gateway"
            return self._refused("denied", reason)
        sent = payload or b""
        if len(sent) > UI_PROXY_REQUEST_MAX_BYTES:
            return self._refused("bad-request", f"a payload has at most {UI_PROXY_REQUEST_MAX_BYTES} bytes")
        base = urlsplit(self._way.base_url)
        try:
            path = resolve(route, base_path=base.path, extension_id=context.extension_id, listed=self._way.listed)
        except RouteError as error:
            return self._refused("bad-request", str(error))
        timeout_s = min(self._way.timeout_ms / 1000, self._call.deadline.remaining_s())
        try:
            status, body = await self._client.ask(
                f"{base.scheme}://{base.netloc}{path}", sent, token=token, context=context, timeout_s=timeout_s
            )
        except Internal as error:
            return self._failed(error.detail)
        return self._taken(status, body)

    def _taken(self, status: int, body: bytes) -> tuple[bool, bytes | ProxyError]:
        if 200 <= status <= 299:
            return True, body
        answered = f"the host application answered {status}"
        if status == 401:  # which no guest can bring about: the token is not its own
            self._log(answered)
        if status in (401, 403, 429):
            return self._refused("denied", answered)
        if status == 404:
            return self._refused("route-not-found", answered)
        if 400 <= status <= 499:
            return self._refused("bad-request", answered)
        return self._failed(answered)

    def _failed(self, reason: str) -> tuple[bool, ProxyError]:
        """What is not the guest's fault."""
        self._log(reason)
        return self._refused("internal", reason)

    def _log(self, reason: str) -> None:
        """A line for the operator."""
        if reason not in self._explained:
            context = self._call.request.context
            _log.warning("ui_proxy_failed", reason=reason, tenant=context.tenant_id, request_id=context.request_id)

    def _refused(self, case: ProxyError, reason: str) -> tuple[bool, ProxyError]:
        if reason not in self._explained:
            self._explained.add(reason)
            self._call.recorder.record("warn", "system", f"ui-proxy.call-route: {case}: {reason}")
        return False, case


def capability(way: Way, client: Client) -> Capability:
    """The capability, answered by a `UiProxy` for each call."""
    return Capability(name=CAPABILITY.name, interface=CAPABILITY.interface, open=partial(UiProxy, way, client))
