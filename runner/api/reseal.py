"""`POST /v1/reseal`: the same secrets in boxes of another key, so that a key can be rotated without typing secrets anew.

Only boxes go in and only boxes come out. What cannot be opened stays as it is and is told by its place; the others are
sealed anew all the same, so that one broken row does not stop a rotation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import msgspec
import structlog

from runner.api.execute import Receive, Replay, Scope, Send, read_body
from runner.secrets.keyring import Keyring
from shared.errors import InvalidRequest, PlatformError, SecretUnavailable, Unauthorized
from shared.limits import RESEAL_BATCH_MAX_COUNT, RESEAL_BODY_MAX_BYTES, RESEAL_CALL_MAX_S
from shared.tokens import ExecuteClaims, Verifier, check_body
from shared.wire import JSON, ResealFailure, ResealRequest, ResealResponse, SecretEnvelope

OP: Final = "reseal"

_decode: Final = msgspec.json.Decoder(ResealRequest).decode
_log = structlog.get_logger("reseal")


class ResealDoor:
    """The ASGI callable for `/v1/reseal`. Raises `PlatformError`; its caller turns that into an answer.

    Args:
        keyring: what this runner can open and seal.
        verifier: of the gateway's tokens; the static service token opens nothing here.
        replay: used tokens.
    """

    def __init__(self, keyring: Keyring, verifier: Verifier, replay: Replay) -> None:
        self._keyring, self._verifier, self._replay = keyring, verifier, replay

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        body = await read_body(receive, headers, RESEAL_BODY_MAX_BYTES)
        await self._authenticate(headers, body)
        request = _request(headers, body)
        self._keyring.holder_of(request.to_key_id)
        try:
            async with asyncio.timeout(RESEAL_CALL_MAX_S):
                answer = await self._reseal(request)
        except TimeoutError as error:
            raise SecretUnavailable("the boxes were not all opened in time; send fewer", retry_after_s=1) from error
        _log.info("resealed", count=len(request.envelopes), failed=len(answer.failures), to_key=request.to_key_id)
        data = msgspec.json.encode(answer)
        sent = [
            (b"content-type", JSON.encode()),
            (b"content-length", b"%d" % len(data)),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": sent})
        await send({"type": "http.response.body", "body": data})

    async def _authenticate(self, headers: Mapping[bytes, bytes], body: bytes) -> None:
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not token:
            raise Unauthorized("a bearer token is needed")
        claims = self._verifier.verify(token.decode("latin-1"), ExecuteClaims)
        if claims.op != OP:
            raise Unauthorized("this token is for another operation")
        check_body(claims, body)
        if not await self._replay.first_use(claims.jti, claims.exp):
            raise Unauthorized("this token was used before; every call needs a fresh one")

    async def _reseal(self, request: ResealRequest) -> ResealResponse:
        envelopes: list[SecretEnvelope | None] = []
        failures: list[ResealFailure] = []
        for index, envelope in enumerate(request.envelopes):
            await asyncio.sleep(0)  # opening and sealing is computing; others wait for this process
            try:
                envelopes.append(await self._keyring.reseal(envelope, request.to_key_id))
            except PlatformError as error:
                envelopes.append(None)
                failures.append(ResealFailure(index=index, code=error.code, message=error.detail))
        return ResealResponse(envelopes=tuple(envelopes), failures=tuple(failures))


def _request(headers: Mapping[bytes, bytes], body: bytes) -> ResealRequest:
    kind = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
    if kind != JSON:
        raise InvalidRequest(f"content-type must be {JSON}")
    try:
        request = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the request is not decodable: {error}") from error
    if len(request.envelopes) > RESEAL_BATCH_MAX_COUNT:
        raise InvalidRequest(f"at most {RESEAL_BATCH_MAX_COUNT} envelopes are taken at once")
    return request
