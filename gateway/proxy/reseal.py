"""Asks a runner to seal boxes anew for another of its keys: `POST /v1/reseal`. The gateway sees boxes only."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import msgspec

from gateway.proxy.runners import Fleet, system_lookup
from gateway.proxy.tokens import ISSUER, RUNNER
from gateway.proxy.transport import TRANSPORT_ERRORS
from gateway.settings import GatewaySettings
from shared.digest import sha256_hex
from shared.errors import BadGateway, by_code
from shared.keys import PrivateKey
from shared.limits import RESEAL_BODY_MAX_BYTES, RESEAL_CALL_MAX_S, RUNNER_CONNECT_MAX_MS, TOKEN_LIFETIME_MAX_S
from shared.tokens import Clock, ExecuteClaims, mint, new_jti
from shared.wire import JSON, ResealRequest, ResealResponse, SecretEnvelope

RESEAL_PATH: Final = "/v1/reseal"
_ANSWER_MAX_BYTES: Final = 2 * RESEAL_BODY_MAX_BYTES  # the same boxes, perhaps in a longer form
_GRACE_S: Final = 5  # the runner's own limit ends first


class _Problem(msgspec.Struct, frozen=True):
    code: str = "bad_gateway"
    detail: str = ""


class ResealClient:
    """Asks any of the runners.

    Args:
        session: open while this object is used.
        fleet: the runners there are; each holds the same sealing keys.
        key: the gateway's; runners hold its public half.
        clock: seconds since the epoch.
    """

    def __init__(self, session: aiohttp.ClientSession, fleet: Fleet, key: PrivateKey, clock: Clock = time.time) -> None:
        self._session, self._fleet, self._key, self._clock = session, fleet, key, clock

    async def reseal(self, envelopes: Sequence[SecretEnvelope], to_key_id: str) -> ResealResponse:
        """The boxes for `to_key_id`, in the same order.

        Raises:
            PlatformError: the runner's refusal, by its code; `secret_unavailable` when it lacks that key.
            BadGateway: no runner could be reached, or its answer is not one.
        """
        body = msgspec.json.encode(ResealRequest(envelopes=tuple(envelopes), to_key_id=to_key_id))
        headers = {"authorization": f"Bearer {self._token(body)}", "content-type": JSON}
        runner = self._fleet.choose(RESEAL_PATH)
        tls_name = None
        if runner.server_name is not None:
            headers["host"] = runner.server_name
            tls_name = urlsplit(f"//{runner.server_name}").hostname
        try:
            async with self._session.post(
                runner.base_url + RESEAL_PATH,
                data=body,
                headers=headers,
                server_hostname=tls_name,
                allow_redirects=False,
            ) as answer:
                status, data = answer.status, await answer.content.read(_ANSWER_MAX_BYTES + 1)
                while len(data) <= _ANSWER_MAX_BYTES and (more := await answer.content.read(_ANSWER_MAX_BYTES)):
                    data += more
        except TRANSPORT_ERRORS as error:
            self._fleet.refused(runner)
            raise BadGateway(f"the runner at {runner.base_url} cannot be asked: {type(error).__name__}") from error
        return _answer(status, data, len(envelopes))

    def _token(self, body: bytes) -> str:
        now = int(self._clock())
        claims = ExecuteClaims(
            iss=ISSUER,
            aud=RUNNER,
            op="reseal",
            jti=new_jti(),
            iat=now,
            exp=now + TOKEN_LIFETIME_MAX_S,
            body_sha256=sha256_hex(body),
        )
        return mint(self._key, claims)


@asynccontextmanager
async def open_resealing(settings: GatewaySettings) -> AsyncIterator[ResealClient]:
    """A client with its own connections, open for the length of the block."""
    fleet = Fleet(settings.runner_base_url, time.monotonic, system_lookup)
    await fleet.refresh()
    timeout = aiohttp.ClientTimeout(total=RESEAL_CALL_MAX_S + _GRACE_S, sock_connect=RUNNER_CONNECT_MAX_MS / 1000)
    async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield ResealClient(session, fleet, settings.signing_key)


def _answer(status: int, data: bytes, count: int) -> ResealResponse:
    try:
        if status != 200:
            told = msgspec.json.decode(data, type=_Problem)
            raise by_code(told.code)(told.detail)
        found = msgspec.json.decode(data, type=ResealResponse)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadGateway(f"the runner's answer with status {status} is not one") from error
    missing = {index for index, envelope in enumerate(found.envelopes) if envelope is None}
    if len(found.envelopes) != count or missing != {failure.index for failure in found.failures}:
        raise BadGateway("the runner's answer does not fit what it was asked")
    return found
