"""`POST /v1/execute`: the thin door. Read, authenticate, decode once, execute, encode.

A plain ASGI callable: every layer between the socket and the guest costs more than the guest itself.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, Protocol

import structlog

from runner.api.execution import Executor
from runner.api.presence import CallerGoneError, while_present
from runner.metrics import RunnerMetrics
from shared import ids, wire
from shared.errors import (
    Internal,
    InvalidRequest,
    MissingRoutingHeaders,
    PayloadTooLarge,
    PlatformError,
    RoutingMismatch,
    Unauthorized,
)
from shared.limits import WIRE_MAX_BYTES
from shared.tokens import ExecuteClaims, Verifier, check_body

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_log = structlog.get_logger("execute")


class Replay(Protocol):
    """Remembers used tokens for the whole runner."""

    async def first_use(self, jti: str, expires_s: int) -> bool:
        """Whether this is the first time `jti` is seen."""
        ...


class ExecuteDoor:
    """The ASGI callable for `/v1/execute`."""

    def __init__(
        self,
        executor: Executor,
        verifier: Verifier,
        replay: Replay,
        metrics: RunnerMetrics,
        service_token: str | None = None,
    ) -> None:
        self._executor, self._verifier, self._replay, self._metrics = executor, verifier, replay, metrics
        self._service_token = service_token.encode() if service_token else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        headers: dict[bytes, bytes] = dict(scope["headers"])
        kind = headers.get(b"content-type", b"").decode("latin-1")
        answer_kind = wire.MSGPACK if kind.startswith(wire.MSGPACK) else wire.JSON
        answer: wire.ExecuteResponse | None = None
        code, blame, retry_after = "ok", "none", None
        try:
            body = await read_body(receive, headers)
            with while_present(receive):
                answer = await self._serve(headers, kind, body)
        except CallerGoneError:
            code, blame = "cancelled", "caller"
        except PlatformError as error:
            answer, code, blame = _refusal(error), error.code, str(error.blame)
            retry_after = error.retry_after_s
        except Exception:  # noqa: BLE001 - the caller gets a typed error, the operator the trace
            _log.exception("execute_failed")
            answer, code, blame = _refusal(Internal()), Internal.code, str(Internal.blame)
        elapsed_s = time.perf_counter() - started
        self._metrics.requests.labels(code, blame).inc()
        self._metrics.request_seconds.observe(elapsed_s)
        status = 0 if answer is None else answer.status
        _log.info("call", **_named(headers), code=code, status=status, duration_ms=round(elapsed_s * 1000, 3))
        if answer is not None:
            await _send(send, answer, answer_kind, retry_after)

    async def _serve(self, headers: dict[bytes, bytes], kind: str, body: bytes) -> wire.ExecuteResponse:
        claims = self._authenticate(headers, body)
        replay = None
        if claims is not None:
            replay = asyncio.create_task(self._replay.first_use(claims.jti, claims.exp))
        try:
            request = self._decode(headers, kind, body, claims)
            deadline = self._executor.deadline(request)
            if replay is not None and not await replay:
                raise Unauthorized("this token was used before; every call needs a fresh one")
        finally:
            if replay is not None:
                replay.cancel()
        return await self._executor.execute(request, deadline)

    def _authenticate(self, headers: dict[bytes, bytes], body: bytes) -> ExecuteClaims | None:
        """The claims of the execute token; `None` for the static service token. Raises `Unauthorized`."""
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not token:
            raise Unauthorized("a bearer token is needed")
        if self._service_token is not None and hmac.compare_digest(token, self._service_token):
            return None
        claims = self._verifier.verify(token.decode("latin-1"), ExecuteClaims)
        if claims.op != "execute":
            raise Unauthorized("this token is for another operation")
        check_body(claims, body)
        return claims

    def _decode(
        self, headers: dict[bytes, bytes], kind: str, body: bytes, claims: ExecuteClaims | None
    ) -> wire.ExecuteRequest:
        tenant, extension = headers.get(b"x-alga-tenant"), headers.get(b"x-alga-extension")
        if not tenant or not extension:
            raise MissingRoutingHeaders("send x-alga-tenant and x-alga-extension, equal to the context")
        request = wire.decode_execute(body, kind)
        context = request.context
        _check_ids(context)
        if (tenant.decode("latin-1"), extension.decode("latin-1")) != (context.tenant_id, context.extension_id):
            raise RoutingMismatch("x-alga-tenant and x-alga-extension must equal the context's ids")
        if claims is not None:
            _check_binding(claims, context)
        return request


_NAMES_IN_LOG: Final = {
    "request_id": b"x-request-id",
    "tenant_id": b"x-alga-tenant",
    "extension_id": b"x-alga-extension",
}
_NAME_MAX_CHARS: Final = 128  # of what a caller that was refused claims to be


def _named(headers: dict[bytes, bytes]) -> dict[str, str]:
    """What a call says it is about, for its line in the log; the gateway's line has the same request id."""
    return {
        name: headers.get(header, b"")[:_NAME_MAX_CHARS].decode("latin-1") for name, header in _NAMES_IN_LOG.items()
    }


def _check_ids(context: wire.Context) -> None:
    """Every id once, at the door. Raises `InvalidRequest`."""
    ids.tenant_id(context.tenant_id)
    ids.extension_id(context.extension_id)
    ids.install_id(context.install_id)
    ids.version_id(context.version_id)
    if ids.content_hash(context.content_hash) != context.content_hash:
        raise InvalidRequest("context.content_hash must be written as sha256:<64 hex>")
    if ids.request_id(context.request_id) != context.request_id:
        raise InvalidRequest("context.request_id must be 1-128 characters of A-Z a-z 0-9 . _ : -")


def _check_binding(claims: ExecuteClaims, context: wire.Context) -> None:
    bound = (claims.tenant, claims.extension, claims.install, claims.content_hash)
    if bound != (context.tenant_id, context.extension_id, context.install_id, context.content_hash):
        raise Unauthorized("this token is bound to another tenant, extension, install or digest")


async def read_body(receive: Receive, headers: dict[bytes, bytes], max_bytes: int = WIRE_MAX_BYTES) -> bytes:
    """The whole request body. Raises `PayloadTooLarge` before reading more than `max_bytes`."""
    announced = headers.get(b"content-length", b"0")
    if announced.isdigit() and int(announced) > max_bytes:
        raise PayloadTooLarge(f"the request is larger than {max_bytes} bytes")
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        return body
    parts, size = [body], len(body)
    while message.get("more_body"):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise InvalidRequest("the request ended early")
        size += len(message.get("body", b""))
        if size > max_bytes:
            raise PayloadTooLarge(f"the request is larger than {max_bytes} bytes")
        parts.append(message.get("body", b""))
    return b"".join(parts)


def _refusal(error: PlatformError) -> wire.ExecuteResponse:
    usage, denied = error.extra.get("usage"), error.extra.get("denied_targets")
    return wire.ExecuteResponse(
        status=error.status,
        error=wire.ErrorBody(code=error.code, message=error.detail, blame=error.blame.value, started=error.started),
        usage=usage if isinstance(usage, wire.Usage) else wire.Usage(),
        denied_targets=denied if isinstance(denied, tuple) else (),
    )


_KINDS: Final = {wire.JSON: wire.JSON.encode(), wire.MSGPACK: wire.MSGPACK.encode()}


async def _send(send: Send, answer: wire.ExecuteResponse, kind: str, retry_after: int | None) -> None:
    body = wire.encode_answer(answer, kind)
    headers = [(b"content-type", _KINDS[kind]), (b"content-length", b"%d" % len(body))]
    if retry_after is not None:
        headers.append((b"retry-after", b"%d" % retry_after))
    status = 200 if answer.error is None else answer.status
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
