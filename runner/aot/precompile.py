"""Makes native code for many digests before an engine is rolled out: as many at once as asked for, resumable.

What stands in the store already, signed and whole, is left alone, so a run that was cut off goes on where it stopped.
The store and the machine may fail for a while: such a digest is tried again. Everything else about it is a verdict.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final, Literal

import msgspec
import structlog

from runner.aot.inventory import was_accepted
from runner.aot.role import Role
from shared.deadline import Deadline
from shared.errors import ArtefactUnavailable, BundleUnavailable, Overloaded, PlatformError, Revoked
from shared.ids import ContentHash
from shared.limits import PRECOMPILE_ATTEMPTS_MAX

READ_MAX_MS: Final = 60_000  # a signature, or an artefact of some ten megabytes
PAUSE_S: Final = 2.0  # before the next attempt, when the refusal names no time

Status = Literal["compiled", "present", "ui-only", "revoked", "rejected", "missing", "failed"]
READY: Final[frozenset[Status]] = frozenset({"compiled", "present", "ui-only"})
NOT_NEEDED: Final[frozenset[Status]] = frozenset({"revoked", "rejected"})  # no runner would execute it

_log = structlog.get_logger()


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one digest.

    Attributes:
        status: `compiled` now, `present` before, `ui-only` (nothing to compile), `revoked` or `rejected` (never runs),
            `missing` (only checked), `failed`.
        name: publisher, name and version as they were signed; empty when no signature was readable.
        code, detail: why, when it failed.
        seconds: how long it took.
    """

    content_hash: ContentHash
    status: Status
    name: str = ""
    code: str = ""
    detail: str = ""
    seconds: float = 0.0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run. `complete` is the gate: every digest that any runner may execute has its code.

    Attributes:
        total: digests looked for; `needed`: those that may run; `ready`: those of them whose code stands.
        counts: digests by status; those without one were not reached.
        unready: every digest that is needed and not ready, with the reason.
    """

    engine_id: str
    cpu_target: str
    complete: bool
    interrupted: bool
    total: int
    needed: int
    ready: int
    counts: dict[str, int]
    unready: list[Outcome]
    seconds: float


class Precompilation:
    """One run. `run` may be cancelled; `report` tells how far it came.

    Args:
        role: the compiler role's parts.
        digests: what to look at, each once.
        at_once: digests at the same time.
        only_accepted: leave out what never became ready; a list that somebody made counts in full.
        compiles: `False` only looks.
        told: called with each outcome and how many there are by then.
        pause: sleeps; an argument so that tests need not.
    """

    def __init__(
        self,
        role: Role,
        digests: Sequence[ContentHash],
        *,
        at_once: int,
        only_accepted: bool,
        compiles: bool,
        told: Callable[[Outcome, int], object],
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._role = role
        self._digests = digests
        self._at_once = at_once
        self._only_accepted = only_accepted
        self._compiles = compiles
        self._told = told
        self._pause = pause
        self._outcomes: dict[ContentHash, Outcome] = {}
        self._started_s = time.monotonic()

    async def run(self) -> None:
        """Look at every digest once."""
        waiting = iter(self._digests)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(self._at_once, len(self._digests))):
                tasks.create_task(self._work(waiting))

    def report(self, *, may_be_empty: bool = False) -> Report:
        """Where the run stands. Nothing at all is not complete unless `may_be_empty`: it looks like a wrong bucket."""
        counts = Counter(one.status for one in self._outcomes.values())
        unreached = [one for one in self._digests if one not in self._outcomes]
        needed = len(self._digests) - sum(counts[status] for status in NOT_NEEDED)
        ready = sum(counts[status] for status in READY)
        return Report(
            engine_id=self._role.target.engine_id,
            cpu_target=self._role.target.cpu_target,
            complete=ready == needed and (bool(self._digests) or may_be_empty),
            interrupted=bool(unreached),
            total=len(self._digests),
            needed=needed,
            ready=ready,
            counts=dict(sorted(counts.items())),
            unready=[
                *(one for one in self._outcomes.values() if one.status not in READY | NOT_NEEDED),
                *(Outcome(content_hash=one, status="missing", detail="not reached") for one in unreached),
            ],
            seconds=round(time.monotonic() - self._started_s, 1),
        )

    async def _work(self, waiting: Iterator[ContentHash]) -> None:
        for content_hash in waiting:
            outcome = await self._settle(content_hash)
            self._outcomes[content_hash] = outcome
            self._told(outcome, len(self._outcomes))

    async def _settle(self, content_hash: ContentHash) -> Outcome:
        """The outcome of one digest, after as many attempts as it may have."""
        started = time.monotonic()
        for attempt in range(1, PRECOMPILE_ATTEMPTS_MAX + 1):
            try:
                status, name = await self._attempt(content_hash)
            except (ArtefactUnavailable, BundleUnavailable, Overloaded) as error:
                if attempt < PRECOMPILE_ATTEMPTS_MAX:
                    await self._pause(error.retry_after_s or PAUSE_S)
                    continue
                return _failed(content_hash, error.code, error.detail, started)
            except PlatformError as error:
                return _failed(content_hash, error.code, error.detail, started)
            except Exception:  # noqa: BLE001 - the other digests are not to blame; the trace is in the log
                _log.exception("precompile_failed", content_hash=content_hash)
                return _failed(content_hash, "internal", "a defect of the platform; the log has its trace", started)
            else:
                seconds = round(time.monotonic() - started, 2)
                return Outcome(content_hash=content_hash, status=status, name=name, seconds=seconds)
        raise AssertionError("the last attempt returns")

    async def _attempt(self, content_hash: ContentHash) -> tuple[Status, str]:
        """Status and signed name. Raises `PlatformError`."""
        if self._only_accepted and not await was_accepted(self._role.objects, content_hash):
            return "rejected", ""
        try:
            statement = await self._role.statements.verified(content_hash, Deadline.after_ms(READ_MAX_MS))
        except Revoked:
            return "revoked", ""
        name = f"{statement.publisher}.{statement.name} {statement.version}"
        if statement.component_sha256 is None:
            return "ui-only", name
        if await self._role.compiler.present(statement.component_sha256, Deadline.after_ms(READ_MAX_MS)):
            return "present", name
        if not self._compiles:
            return "missing", name
        # As a runner asks: whether an import is used was a question at publish.
        answer = await self._role.compiler.prepare(content_hash, allow_unused_imports=True)
        return ("ui-only" if answer.artefact == "none" else answer.artefact), name


def _failed(content_hash: ContentHash, code: str, detail: str, started_s: float) -> Outcome:
    seconds = round(time.monotonic() - started_s, 2)
    return Outcome(content_hash=content_hash, status="failed", code=code, detail=detail, seconds=seconds)
