"""Asks the compiler role to make a digest runnable: a runner never compiles, so this is its only way to new code."""

from __future__ import annotations

import asyncio
from typing import Final

import aiohttp
import msgspec

from runner import problem
from runner.clients.http import TRANSPORT_ERRORS, read_bounded
from runner.clients.identity import COMPILER, Identity
from shared.deadline import Deadline
from shared.errors import ArtefactUnavailable, BundleRefused, BundleUntrusted, GuestError, PlatformError
from shared.ids import ContentHash
from shared.limits import COMPILE_RETRY_MAX_S
from shared.wire import PrepareRequest, PrepareResponse

ANSWER_MAX_BYTES: Final = 4 << 20  # 4 MiB: a manifest of 1 MiB, escaped, and the lists
RETRY_AFTER_S: Final = 5  # a compilation takes 3–30 s
RETRY_MAX_S: Final = COMPILE_RETRY_MAX_S  # whatever the compiler says
_RETRY_DIGITS_MAX: Final = 6

_answer = msgspec.json.Decoder(PrepareResponse)


class CompilerClient:
    """Calls `POST /v1/prepare`.

    Args:
        session: from `runner.clients.http`.
        base_url: `COMPILER_BASE_URL`.
        identity: who is asking.
    """

    def __init__(self, session: aiohttp.ClientSession, base_url: str, identity: Identity) -> None:
        self._session = session
        self._url = f"{base_url}/v1/prepare"
        self._identity = identity

    async def prepare(self, content_hash: ContentHash, deadline: Deadline) -> PrepareResponse:
        """Wait until the compiler has prepared the digest.

        Raises:
            GuestError: the bundle's component cannot be compiled; asking again changes nothing.
            ArtefactUnavailable: the compiler cannot be reached, is busy, or failed; try later.
            PlatformError: another typed refusal of the compiler (`bundle_not_found`, `bundle_untrusted`, `revoked`, …).
        """
        body = msgspec.json.encode(PrepareRequest(content_hash=content_hash, allow_unused_imports=True))
        headers = {**self._identity.headers(COMPILER), "content-type": "application/json"}
        try:
            async with (
                asyncio.timeout(deadline.remaining_s()),
                self._session.post(self._url, data=body, headers=headers, allow_redirects=False) as response,
            ):
                status, answer = response.status, await read_bounded(response, ANSWER_MAX_BYTES)
                wait_s = _retry_after_s(response.headers.get("retry-after", ""))
            if status == 200:
                return _answer.decode(answer)
            refused = problem.decode(answer)
        except (*TRANSPORT_ERRORS, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ArtefactUnavailable(
                f"the compiler gives no usable answer: {type(error).__name__}", retry_after_s=RETRY_AFTER_S
            ) from error
        raise _for_a_call(refused, wait_s)


def _for_a_call(refused: PlatformError, wait_s: int) -> PlatformError:
    """The compiler's refusal as an execution may show it: its own codes, and nothing about our internal tokens."""
    if isinstance(refused, BundleRefused):
        return BundleUntrusted(f"the compiler refused the bundle: {refused.code}: {refused.detail}")
    if isinstance(refused, GuestError) or refused.code in {"bundle_not_found", "bundle_untrusted", "revoked"}:
        return refused
    return ArtefactUnavailable(f"the compiler refused: {refused.code}", retry_after_s=wait_s)


def _retry_after_s(header: str) -> int:
    """What the compiler said about its queue (RFC 9110 §10.2.3, seconds); the usual time when it said nothing usable."""
    if not header.isascii() or not header.isdigit() or len(header) > _RETRY_DIGITS_MAX:
        return RETRY_AFTER_S
    return min(int(header), RETRY_MAX_S)
