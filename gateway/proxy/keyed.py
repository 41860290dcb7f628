"""Calls with an idempotency key: made once, and answered again from what is remembered.

A keyed call belongs to the gateway and not to its client: when the client goes away it runs on, so that the client
finds its answer when it comes again. What the guest answered, or how it failed, is remembered; a call that never
reached the guest releases its key. Without Redis a call is made without the promise, and its answer says so.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from gateway.policy import idempotency
from gateway.policy.idempotency import REPLAYED, WITHOUT, Kept
from gateway.proxy.answer import Answer
from gateway.proxy.client import Reply
from gateway.proxy.dispatch import Dispatch, Entered
from gateway.streams.kept_answers import KeptAnswers, KeptAwayError, open_kept_answers
from shared.call_limits import IDEMPOTENCY_ANSWER_MAX_BYTES, IDEMPOTENCY_LEASE_GRACE_S, KEYED_DRAIN_MAX_S
from shared.errors import (
    IdempotencyAnswerNotKept,
    IdempotencyConflict,
    IdempotencyInProgress,
    PlatformError,
    by_code,
)

Present = Callable[[Awaitable[Answer]], Awaitable[Answer]]
"""How a client's presence is watched: raises when it goes away; what it waited for is not cancelled by that."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Claim:
    """A key that is ours until its call has ended."""

    name: str
    token: str
    body_sha256: str


class Keyed:
    """Makes calls with a key. One for each process; built by `open_keyed`.

    Args:
        dispatch: runs calls.
        kept: what is remembered; none: nothing is.
    """

    def __init__(self, dispatch: Dispatch, kept: KeptAnswers | None) -> None:
        self._dispatch = dispatch
        self._kept = kept
        self._under_way: set[asyncio.Task[Answer]] = set()

    async def call(self, entered: Entered, key: str, present: Present) -> Answer:
        """The answer of this call, or of the one that was made with the same key before.

        Args:
            entered: has its place, which is given back in any case.
            key: from `gateway.policy.idempotency.key_of`.
            present: raises when the client goes away; the call goes on then.

        Raises:
            IdempotencyConflict, IdempotencyInProgress, IdempotencyAnswerNotKept: what is remembered is no answer.
            PlatformError: there is no guest answer; or there was none the first time.
        """
        try:
            claim = await self._claim(entered, key)
        except BaseException:
            self._dispatch.leave(entered)
            raise
        if isinstance(claim, Kept):
            self._dispatch.leave(entered)
            return _replayed(claim)
        call = asyncio.create_task(self._make(entered, claim), name="keyed call")
        self._under_way.add(call)
        call.add_done_callback(self._landed)
        answer = await present(asyncio.shield(call))
        return answer if claim is not None else answer.with_fields({WITHOUT: "unavailable"})

    async def drain(self) -> None:
        """Wait for the calls under way, whose clients may have gone; end what takes too long."""
        if self._under_way:
            _, late = await asyncio.wait(self._under_way, timeout=KEYED_DRAIN_MAX_S)
            for call in late:
                call.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _claim(self, entered: Entered, key: str) -> _Claim | Kept | None:
        """The key, now ours; or what is remembered under it; or none when nothing can be remembered."""
        if self._kept is None:
            return None
        incoming, principal = entered.admitted.incoming, entered.admitted.principal
        name = idempotency.scope(
            tenant_id=principal.tenant_id,
            install_id=entered.admitted.install.install_id,
            principal=f"{principal.kind}:{principal.actor}",
            method=incoming.method,
            path=incoming.path,
            query=incoming.query_string or "",
            key=key,
        )
        claim = _Claim(name, uuid.uuid4().hex, hashlib.sha256(incoming.body or b"").hexdigest())
        lease_ms = entered.timeout_ms + IDEMPOTENCY_LEASE_GRACE_S * 1000
        try:
            found = await self._kept.claim(name, Kept(token=claim.token, body_sha256=claim.body_sha256), lease_ms)
        except KeptAwayError as error:
            _log.warning("idempotency_unavailable", error=str(error))
            return None
        if found is None:
            return claim
        _check(found, claim.body_sha256)
        return found

    async def _make(self, entered: Entered, claim: _Claim | None) -> Answer:
        try:
            answer = await self._dispatch.run(await self._dispatch.open(entered), _plainly)
        except PlatformError as error:
            if error.code.startswith("guest_"):
                await self._end(claim, code=error.code, detail=error.detail)
            else:
                await self._release(claim)
            raise
        except BaseException:
            await self._release(claim)
            raise
        body = answer.body if len(answer.body) <= IDEMPOTENCY_ANSWER_MAX_BYTES else None
        await self._end(
            claim,
            status=answer.status,
            headers=tuple(answer.headers),
            body=body,
            body_bytes=len(answer.body),
            answer_sha256=hashlib.sha256(answer.body).hexdigest(),
        )
        return answer

    async def _end(self, claim: _Claim | None, **ended: object) -> None:
        if claim is None or self._kept is None:
            return
        kept = Kept(token=claim.token, body_sha256=claim.body_sha256, state="done", **ended)  # type: ignore[arg-type]
        try:
            if not await self._kept.keep(claim.name, kept):
                _log.warning("idempotency_claim_had_ended")
        except KeptAwayError as error:
            _log.warning("idempotency_answer_lost", error=str(error))  # its claim ends by itself

    async def _release(self, claim: _Claim | None) -> None:
        if claim is None or self._kept is None:
            return
        try:
            await asyncio.shield(asyncio.ensure_future(self._kept.release(claim.name, claim.token)))
        except KeptAwayError as error:
            _log.warning("idempotency_claim_left", error=str(error))  # it ends by itself

    def _landed(self, call: asyncio.Task[Answer]) -> None:
        self._under_way.discard(call)
        if not call.cancelled():
            call.exception()  # its client may have gone; what went wrong stands in the execution log


@asynccontextmanager
async def open_keyed(dispatch: Dispatch, redis_url: str | None) -> AsyncIterator[Keyed]:
    """Keyed calls of one process; those under way are waited for at the end of the block."""
    if redis_url is None:
        yield Keyed(dispatch, None)
        return
    async with open_kept_answers(redis_url) as kept:
        keyed = Keyed(dispatch, kept)
        try:
            yield keyed
        finally:
            await keyed.drain()


async def _plainly(work: Awaitable[Reply]) -> Reply:
    return await work


def _check(found: Kept, body_sha256: str) -> None:
    if found.body_sha256 != body_sha256:
        raise IdempotencyConflict("this key was used with another body; a new operation needs a new key")
    if found.state == "running":
        raise IdempotencyInProgress("the first call with this key is still under way", retry_after_s=1)
    if found.code is None and found.body is None:
        raise IdempotencyAnswerNotKept(
            f"the first call with this key was answered with {found.status} and {found.body_bytes} bytes, which is more "
            f"than the {IDEMPOTENCY_ANSWER_MAX_BYTES} that are kept",
            answer_status=found.status,
            answer_bytes=found.body_bytes,
            answer_sha256=found.answer_sha256,
        )


def _replayed(found: Kept) -> Answer:
    if found.code is not None:
        error = by_code(found.code)(found.detail, started=True)
        error.fields[REPLAYED] = "true"
        raise error
    return Answer(found.status, list(found.headers), found.body or b"").with_fields({REPLAYED: "true"})
