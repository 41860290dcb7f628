"""The calls under way, so that a word from the state feed ends them: revoked, disabled, braked, its key no longer trusted.

A call is entered before it is judged, and the feed's answers change before its entries are heard here, so no call can
slip through between the two. It is ended by cancelling its task, wherever that is: in the queue it leaves, in the
sandbox the process is killed. Who called gets the typed error, with what the call had used by then.

A revoked key says nothing about a bundle by itself, which may carry a second signature. So the digests that run are
verified again, and what no longer convinces ends; what cannot be verified in time ends as well.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterator
from typing import Final, Protocol

import msgspec
import structlog

from shared.brakes import CallFacts
from shared.deadline import Deadline
from shared.errors import AccessPolicyUnavailable, PlatformError, Revoked
from shared.ids import ContentHash
from shared.limits import STATE_POLL_S
from shared.signing import BundleStatement
from shared.wire import StateEntry

VERIFY_AGAIN_MAX_MS: Final = 2_000  # with a poll a second apart and its answer in two, a revocation acts within five

_log = structlog.get_logger("execute")


class Trusted(Protocol):
    """Gives the verified statement about a digest."""

    async def verified(self, content_hash: ContentHash, deadline: Deadline) -> BundleStatement:
        """Raises the typed errors of an unknown, untrusted or revoked bundle."""
        ...


class State(Protocol):
    """What the state feed says."""

    def is_revoked(self, version_id: str) -> bool:
        """Whether this version may no longer run."""
        ...

    def install_disabled(self, install_id: str) -> bool:
        """Whether this install may no longer run."""
        ...

    def braked(self, call: CallFacts) -> bool:
        """Whether an operator's brake stops this call."""
        ...

    @property
    def stale(self) -> bool:
        """Whether the feed has been silent for longer than it may."""
        ...

    async def again(self) -> None:
        """Read the feed now; the answers are new afterwards, or what they were when the gateway is silent."""
        ...


class RunningCall:
    """One call under way; `started` says whether its guest may have run."""

    __slots__ = ("_cancelling", "_task", "error", "facts", "started")

    def __init__(self, facts: CallFacts, task: asyncio.Task[object]) -> None:
        self.facts = facts
        self.error: PlatformError | None = None
        self.started = False
        self._task = task
        self._cancelling = task.cancelling()

    def stop(self, error: PlatformError) -> None:
        """End it with `error`; what it is ended with first counts."""
        if self.error is None:
            self.error = error
            self._task.cancel()

    def ended(self, how: BaseException | None) -> None:
        """Take note that its code has ended; raises the error it was stopped with, unless somebody else cancelled too."""
        if self.error is None:
            return
        alone = self._task.uncancel() <= self._cancelling
        if alone and (how is None or isinstance(how, asyncio.CancelledError)):
            self.error.started = self.started
            raise self.error from None


class RunningCalls:
    """Every call of one worker.

    Args:
        state: what the feed says.
        trusted: verifies a digest again.
        refuse_stale: whether no call is let in while the gateway has been silent for too long (`EXT_STALE_MODE`).
    """

    def __init__(self, state: State, trusted: Trusted, *, refuse_stale: bool = False) -> None:
        self._state = state
        self._refuse_stale = refuse_stale
        self._trusted = trusted
        self._calls: set[RunningCall] = set()
        self._of_install: defaultdict[str, set[RunningCall]] = defaultdict(set)
        self._of_version: defaultdict[str, set[RunningCall]] = defaultdict(set)
        self._verifying: set[asyncio.Task[None]] = set()

    async def hear_again(self, facts: CallFacts, deadline: Deadline) -> None:
        """Have the feed read when what it said last would refuse a call for something that can be undone.

        The gateway sends no call that it would refuse, so it was probably enabled or released a moment ago.
        """
        if self._state.install_disabled(facts.install_id) or self._state.braked(facts):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(deadline.remaining_s()):
                    await self._state.again()

    @contextlib.contextmanager
    def enter(self, facts: CallFacts) -> Iterator[RunningCall]:
        """Keep a call as long as the block runs. The block may end with the error the call was stopped with.

        Raises:
            Revoked: it may not run at all.
            AccessPolicyUnavailable: nobody knows whether it may.
        """
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a call runs in a task")
        call = RunningCall(facts, task)
        kept = (self._calls, self._of_install[facts.install_id], self._of_version[facts.version_id])
        for calls in kept:
            calls.add(call)
        try:
            self._let_in(facts)
            yield call
        except BaseException as error:
            call.ended(error)
            raise
        else:
            call.ended(None)
        finally:
            for calls in kept:
                calls.discard(call)
            if not self._of_install[facts.install_id]:
                del self._of_install[facts.install_id]
            if not self._of_version[facts.version_id]:
                del self._of_version[facts.version_id]

    def published_by(self, call: RunningCall, publisher: str) -> None:
        """Its bundle was verified, and this is whose it is. Raises `Revoked` when that one is stopped."""
        call.facts = msgspec.structs.replace(call.facts, publisher=publisher)
        self._judge(call.facts)

    def heard(self, entry: StateEntry) -> None:
        """Act on an entry of the feed, after the feed's own answers have changed."""
        match entry.kind:
            case "revoked_version":
                self._stop_refused(self._of_version.get(entry.subject, ()))
            case "disabled_install":
                self._stop_refused(self._of_install.get(entry.subject, ()))
            case "brake":
                self._stop_refused(self._calls)
            case "revoked_key" if self._calls:
                task = asyncio.get_running_loop().create_task(self._verify_again(), name="verify running calls")
                self._verifying.add(task)
                task.add_done_callback(self._verifying.discard)
            case _:
                return

    async def aclose(self) -> None:
        """End what is being verified."""
        for task in self._verifying:
            task.cancel()
        await asyncio.gather(*self._verifying, return_exceptions=True)

    def _let_in(self, facts: CallFacts) -> None:
        self._judge(facts)
        if self._refuse_stale and self._state.stale:
            raise AccessPolicyUnavailable(
                "the gateway has not said for too long what was revoked; calls run again when it does",
                retry_after_s=STATE_POLL_S,
            )

    def _judge(self, facts: CallFacts) -> None:
        if self._state.is_revoked(facts.version_id):
            raise Revoked("this version of the extension was revoked; upgrade or roll back")
        if self._state.install_disabled(facts.install_id):
            raise Revoked("this extension was disabled; an administrator can enable it")
        if self._state.braked(facts):
            raise Revoked("an operator of the platform stopped this call with an emergency brake")

    def _stop_refused(self, calls: set[RunningCall] | tuple[()]) -> None:
        for call in list(calls):
            try:
                self._judge(call.facts)
            except Revoked as error:
                self._stop(call, error)

    def _stop(self, call: RunningCall, error: PlatformError) -> None:
        _log.warning(
            "running_call_stopped", tenant=call.facts.tenant_id, install=call.facts.install_id, reason=error.detail
        )
        call.stop(error)

    async def _verify_again(self) -> None:
        digests = {call.facts.content_hash for call in self._calls}
        await asyncio.gather(*(self._verify(ContentHash(digest)) for digest in digests))

    async def _verify(self, digest: ContentHash) -> None:
        try:
            await self._trusted.verified(digest, Deadline.after_ms(VERIFY_AGAIN_MAX_MS))
        except PlatformError as error:
            kind, detail = type(error), error.detail
        except Exception:  # noqa: BLE001 - whatever went wrong, nobody vouches for these bytes now
            _log.exception("running_bundle_not_verified", content_hash=digest)
            kind, detail = Revoked, "a signing key was revoked, and the extension's signature cannot be checked again"
        else:
            return
        for call in list(self._calls):
            if call.facts.content_hash == digest:
                self._stop(call, kind(detail))
