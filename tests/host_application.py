"""A host application: a real HTTP server with invoices, clients and services of two tenants, and nothing it trusts.

It checks what a host application must: that the token was signed by the gateway for this service and has not ended, and
that the user in the body is the one the gateway minted it for. A client user is shown its own client. What tests want to
see go wrong, they put into `acts`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aiohttp import web

from shared.errors import Unauthorized
from shared.keys import PublicKey
from shared.provider import AUDIENCE_PREFIX
from shared.tokens import HostClaims, Verifier

CLIENTS: dict[str, list[dict[str, Any]]] = {
    "acme": [
        {"clientId": "c-1", "clientName": "Initech", "clientType": "company", "isInactive": False, "secret": "x" * 20},
        {"clientId": "c-2", "clientName": "Hooli", "isInactive": False, "billingEmail": None},
        {"clientId": "acme-client-1", "clientName": "Pied Piper", "isInactive": False},
        {"clientId": "c-3", "clientName": "Vandelay", "isInactive": True, "defaultCurrencyCode": "EUR"},
    ],
    "globex": [{"clientId": "g-1", "clientName": "Globex Client", "isInactive": False}],
}
SERVICES: list[dict[str, Any]] = [
    {
        "serviceId": "s-1",
        "serviceName": "Support",
        "itemKind": "service",
        "billingMethod": "hourly",
        "defaultRate": 120.5,
        "unitOfMeasure": "hour",
        "isActive": True,
    },
    {
        "serviceId": "s-2",
        "serviceName": "Router",
        "itemKind": "product",
        "billingMethod": "fixed",
        "serviceTypeId": "t-1",
        "serviceTypeName": "Hardware",
        "defaultRate": 80,
        "unitOfMeasure": "piece",
        "isActive": False,
        "sku": "R-1",
    },
]

UI_PROXY = "ui-proxy"
"""The audience of its tokens."""

Act = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class HostApplication:
    """One server. `url(name)` is a provider's address.

    Attributes:
        asked: every body it was sent, with the provider's name and the claims beside it.
        headers, bodies: of each request, asked by whomever.
        peers: the connections it was asked over.
        routed: what the UI proxy was asked: the path as it was sent, the payload, the claims.
        acts: answers that come before its own, first in, first out.
    """

    def __init__(self, keys: list[PublicKey]) -> None:
        self._keys = keys
        self.base = ""
        self.asked: list[tuple[str, dict[str, Any], HostClaims]] = []
        self.routed: list[tuple[str, bytes, HostClaims]] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.peers: set[object] = set()
        self.acts: deque[Act] = deque()

    def url(self, provider: str) -> str:
        return f"{self.base}/extensions/{provider}"

    @property
    def ui_proxy(self) -> str:
        """The value of `UI_PROXY_BASE_URL`."""
        return f"{self.base}/ui-proxy"

    def endpoints(self, *providers: str) -> str:
        """The value of `RUNNER_PROVIDER_ENDPOINTS`."""
        return ",".join(f"{name}={self.url(name)}" for name in providers or ("clients", "invoicing", "services"))

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        self.peers.add(request.transport.get_extra_info("peername"))
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        name, body = request.path.rpartition("/")[2], await request.content.read()
        self.bodies.append(body)
        is_route = not request.path.startswith("/extensions/")
        try:
            claims = Verifier(self._keys, {UI_PROXY if is_route else AUDIENCE_PREFIX + name}).verify(
                request.headers.get("authorization", "").removeprefix("Bearer "), HostClaims
            )
        except Unauthorized:
            return answer({"error": "who are you?"}, 401)
        if is_route:
            self.routed.append((request.raw_path, body, claims))
            if self.acts:
                return await self.acts.popleft()(request)
            return answer({"route": request.raw_path, "tenant": claims.tenant, "user": claims.sub})
        said = json.loads(body)
        self.asked.append((name, said, claims))
        if self.acts:
            return await self.acts.popleft()(request)
        user = said["user"]
        if ((user or {}).get("userId", ""), said["context"]["tenantId"]) != (claims.sub, claims.tenant):
            return answer({"error": "that is not whom the token was minted for"}, 403)
        operations = {
            "listClients": self._list_clients,
            "getClient": self._get_client,
            "listServices": self._list_services,
            "getService": self._get_service,
            "createManualInvoice": self._create_invoice,
        }
        found = operations.get(said["operation"])
        return answer({"error": "no such operation"}, 404) if found is None else found(claims, said["input"])

    def _visible(self, claims: HostClaims) -> list[dict[str, Any]]:
        every = CLIENTS.get(claims.tenant, [])
        if claims.user_type == "client":
            return [one for one in every if one["clientId"] == claims.client_id]
        return every

    def _list_clients(self, claims: HostClaims, asked: dict[str, Any]) -> web.Response:
        if asked.get("page") == 0:
            return answer({"error": "pages are counted from 1"}, 422)
        found = [
            one
            for one in self._visible(claims)
            if (asked.get("includeInactive") or not one["isInactive"])
            and asked.get("search", "").lower() in one["clientName"].lower()
        ]
        page, size = asked.get("page", 1), asked.get("pageSize", 25)
        items = found[(page - 1) * size : page * size]
        return answer({"items": items, "totalCount": len(found), "page": page, "pageSize": size, "tookMs": 1.5})

    def _get_client(self, claims: HostClaims, asked: dict[str, Any]) -> web.Response:
        return answer(next((one for one in self._visible(claims) if one["clientId"] == asked["clientId"]), None))

    def _list_services(self, _claims: HostClaims, asked: dict[str, Any]) -> web.Response:
        fields = [name for name in ("itemKind", "billingMethod", "isActive") if name in asked]
        found = [one for one in SERVICES if all(one[name] == asked[name] for name in fields)]
        return answer({"items": found, "totalCount": len(found), "page": 1, "pageSize": 25})

    def _get_service(self, _claims: HostClaims, asked: dict[str, Any]) -> web.Response:
        return answer(next((one for one in SERVICES if one["serviceId"] == asked["serviceId"]), None))

    def _create_invoice(self, claims: HostClaims, asked: dict[str, Any]) -> web.Response:
        if asked["clientId"] not in {one["clientId"] for one in self._visible(claims)}:
            refused = {"success": False, "error": "no such client", "fieldErrors": '{"clientId":"unknown"}'}
            return answer(refused, 422)
        subtotal = sum(item["quantity"] * item["rate"] for item in asked["items"] if not item.get("isDiscount"))
        total = {"subtotal": subtotal, "tax": subtotal * 0.25, "total": subtotal * 1.25}
        return answer({"success": True, "invoiceId": "i-1", "invoiceNumber": "2026-1", "status": "draft", **total})


def answer(document: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, text=json.dumps(document), content_type="application/json")


def answering(body: bytes, status: int = 200, **headers: str) -> Act:
    """An act: exactly these bytes."""

    async def act(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers=headers)

    return act


async def dropping(request: web.BaseRequest) -> web.StreamResponse:
    """An act: the connection breaks before a byte of the answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def waiting(gate: asyncio.Event) -> Act:
    """An act: nothing happens until `gate` is set."""

    async def act(_request: web.BaseRequest) -> web.StreamResponse:
        await gate.wait()
        return answer(None)

    return act


@contextlib.asynccontextmanager
async def host_application(*keys: PublicKey) -> AsyncIterator[HostApplication]:
    """A host application on a free port, for the length of the block.

    Args:
        keys: of gateways, whose tokens count.
    """
    served = HostApplication(list(keys))
    runner = web.ServerRunner(web.Server(served), shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    served.base = site.name.rstrip("/")
    try:
        yield served
    finally:
        await runner.cleanup()
