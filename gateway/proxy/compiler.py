"""The way to the compiler role: `POST /v1/prepare`, which unpacks, checks and compiles one digest.

The gateway never opens an archive itself: what is in it, the compiler says. The call is idempotent, so a caller that
does not know whether it succeeded simply asks again.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
import msgspec

from gateway.proxy.transport import TRANSPORT_ERRORS
from gateway.settings import GatewaySettings
from shared.digest import sha256_hex
from shared.errors import ArtefactUnavailable, PlatformError, by_code
from shared.ids import ContentHash
from shared.keys import PrivateKey
from shared.limits import MIB, PREPARE_MAX_S, TOKEN_LIFETIME_MAX_S
from shared.tokens import Clock, ExecuteClaims, mint, new_jti
from shared.wire import JSON, PrepareRequest, PrepareResponse

PREPARE_PATH: Final = "/v1/prepare"
AUDIENCE: Final = "compiler"
ISSUER: Final = "gateway"
_ANSWER_MAX_BYTES: Final = 12 * MIB  # a manifest of 1 MiB in base64, an SBOM of 8 MiB, the component's imports
_CONNECT_MAX_S: Final = 2
_GRACE_S: Final = 5  # the compiler's own limit ends first
_RETRY_AFTER_S: Final = 5


class _Problem(msgspec.Struct, frozen=True):
    code: str
    detail: str = ""
    path: str | None = None
    violations: list[dict[str, str]] | None = None


class CompilerClient:
    """Asks the compiler role.

    Args:
        session: open while this object is used.
        base_url: without a trailing slash.
        key: the gateway's; the compiler knows its public half.
        clock: seconds since the epoch.
    """

    def __init__(
        self, session: aiohttp.ClientSession, base_url: str, key: PrivateKey, clock: Clock = time.time
    ) -> None:
        self._session = session
        self._url = base_url + PREPARE_PATH
        self._key = key
        self._clock = clock

    async def prepare(self, content_hash: ContentHash, *, allow_unused_imports: bool) -> PrepareResponse:
        """Make a digest runnable and learn what it is.

        Raises:
            PlatformError: the compiler's refusal, by its code; `extra["path"]` says where in the bundle.
            ArtefactUnavailable: it cannot be reached, is too slow, or its answer is not one.
        """
        request = PrepareRequest(content_hash=content_hash, allow_unused_imports=allow_unused_imports)
        body = msgspec.json.encode(request)
        headers = {"authorization": f"Bearer {self._token(content_hash, body)}", "content-type": JSON}
        try:
            async with self._session.post(self._url, data=body, headers=headers, allow_redirects=False) as answer:
                status, data = answer.status, await answer.content.read(_ANSWER_MAX_BYTES + 1)
                while len(data) <= _ANSWER_MAX_BYTES and (more := await answer.content.read(_ANSWER_MAX_BYTES)):
                    data += more
        except TRANSPORT_ERRORS as error:
            raise ArtefactUnavailable("The compiler does not answer", retry_after_s=_RETRY_AFTER_S) from error
        return _answer(status, data, content_hash)

    def _token(self, content_hash: ContentHash, body: bytes) -> str:
        now = int(self._clock())
        claims = ExecuteClaims(
            iss=ISSUER,
            aud=AUDIENCE,
            op="prepare",
            jti=new_jti(),
            iat=now,
            exp=now + TOKEN_LIFETIME_MAX_S,
            body_sha256=sha256_hex(body),
            content_hash=content_hash,
        )
        return mint(self._key, claims)


@asynccontextmanager
async def open_compiler(settings: GatewaySettings) -> AsyncIterator[CompilerClient]:
    """A client with its own connections, open for the length of the block."""
    timeout = aiohttp.ClientTimeout(total=PREPARE_MAX_S + _GRACE_S, connect=_CONNECT_MAX_S)
    # Proxy variables of the environment are ignored (trust_env is off): this hop never leaves the cluster.
    async with aiohttp.ClientSession(
        timeout=timeout, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        yield CompilerClient(session, settings.compiler_base_url, settings.signing_key)


def _answer(status: int, data: bytes, content_hash: ContentHash) -> PrepareResponse:
    try:
        if status != 200:
            raise _refusal(msgspec.json.decode(data, type=_Problem))
        found = msgspec.json.decode(data, type=PrepareResponse)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ArtefactUnavailable(f"The compiler's answer with status {status} is not one") from error
    if found.content_hash != content_hash:
        raise ArtefactUnavailable("The compiler answered for another digest than it was asked for")
    return found


def _refusal(reason: _Problem) -> PlatformError:
    extra: dict[str, Any] = {"path": reason.path} if reason.path is not None else {}
    if reason.violations is not None:
        extra["violations"] = reason.violations
    return by_code(reason.code)(reason.detail, **extra)
