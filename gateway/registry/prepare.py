"""From `preparing` to `ready` or `rejected`: the compiler unpacks, checks and compiles; the answer becomes rows.

The work belongs to the process, not to the request that started it: a publisher who goes away changes nothing. One
gateway at a time works on a version (a lease in its row), one task at a time in each gateway; what a dead gateway
left behind is picked up by the next sweep. What cannot succeed is rejected with its reason; what may succeed later
(compiler or store away) is tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import msgspec
import structlog

from gateway.objects import keys
from gateway.objects.client import ObjectStore
from gateway.proxy.compiler import CompilerClient
from gateway.registry.signatures import Signatures
from gateway.registry.versions import Reason, Violation
from gateway.store import audit_log, registry
from gateway.store.audit_log import Change, Detail
from gateway.store.platform import preparations
from gateway.store.platform.preparations import Claimed
from gateway.store.pool import Database
from gateway.store.registry import EndpointRow, Found
from shared import ids
from shared.digest import sha256_hex
from shared.errors import (
    ArtefactUnavailable,
    BundleRefused,
    ContentHashMismatch,
    GuestError,
    ManifestInvalid,
    PlatformError,
    SignaturePublisherMismatch,
    SignatureRefused,
)
from shared.limits import PREPARE_CONCURRENT_MAX, PREPARE_LEASE_S, PREPARE_SWEEP_S
from shared.manifest import Manifest, parse_manifest
from shared.signing import BundleStatement
from shared.wire import PrepareResponse

_POSTPONE_S: Final = 10  # until the next attempt, after something that passes
_SWEEP_BATCH: Final = 20
_GIVE_BACK_MAX_S: Final = 3  # at shutdown

_log = structlog.get_logger(__name__)


class Preparations:
    """The preparations of one gateway. Built by `open_preparations`.

    Args:
        store, objects: where rows and bytes are.
        compiler: who looks into a bundle.
        signatures: what counts as vouched for.
        known: capabilities a manifest may ask for.
        group: owns the tasks.
    """

    def __init__(
        self,
        store: Database,
        objects: ObjectStore,
        compiler: CompilerClient,
        signatures: Signatures,
        known: frozenset[str],
        group: asyncio.TaskGroup,
    ) -> None:
        self._store = store
        self._objects = objects
        self._compiler = compiler
        self._signatures = signatures
        self._known = known
        self._group = group
        self._flights: dict[str, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(PREPARE_CONCURRENT_MAX)

    async def settle(self, version_id: str, within_s: float) -> None:
        """Prepare a version and wait for the end of it, but no longer than `within_s` seconds.

        The work goes on when the waiting ends, by time or by cancellation. Raises nothing of its own: how it ended
        stands in the version's row.
        """
        flight = self._flights.get(version_id)
        if flight is None:
            flight = self._group.create_task(self._prepare(version_id), name=f"prepare {version_id}")
            self._flights[version_id] = flight
            flight.add_done_callback(lambda _: self._flights.pop(version_id, None))
        await asyncio.wait({flight}, timeout=within_s)

    async def sweep_for_ever(self) -> None:
        """Pick up, every half minute, what nobody works on."""
        while True:
            try:
                async with self._store.platform() as tx:
                    left_behind = await preparations.abandoned(tx, _SWEEP_BATCH)
                for version_id in left_behind:
                    await self.settle(version_id, 0)
            except PlatformError as error:
                _log.warning("prepare_sweep_failed", code=error.code)
            await asyncio.sleep(PREPARE_SWEEP_S)

    async def close(self) -> None:
        """Stop, and give the leases back so that another gateway can take over at once."""
        unfinished = dict(self._flights)
        for flight in unfinished.values():
            flight.cancel()
        if not unfinished:
            return
        await asyncio.wait(unfinished.values())
        try:
            async with asyncio.timeout(_GIVE_BACK_MAX_S), self._store.platform() as tx:
                for version_id in unfinished:
                    await preparations.postpone(tx, version_id, 0)
        except (PlatformError, TimeoutError):
            _log.warning("prepare_leases_kept", versions=sorted(unfinished))  # they end by themselves

    async def _prepare(self, version_id: str) -> None:
        async with self._slots:
            try:
                await self._attempt(version_id)
            except PlatformError as error:
                await self._postpone(version_id, error.code)
            except Exception:  # noqa: BLE001  # a fault of ours is logged whole; gateway and other versions go on
                _log.exception("prepare_failed", version_id=version_id)
                await self._postpone(version_id, "internal")

    async def _attempt(self, version_id: str) -> None:
        async with self._store.platform() as tx:
            claimed = await preparations.claim(tx, version_id, PREPARE_LEASE_S)
        if claimed is None:
            return
        try:
            digest = ids.ContentHash(claimed.content_hash)
            vouched = await self._signatures.verify(claimed.signature, digest)
            answer = await self._ask(claimed, digest)
            manifest = _checked(answer, vouched.statement, self._known)
        except (BundleRefused, GuestError) as error:
            await self._reject(claimed, error)
            return
        await self._objects.put_once(keys.manifest(digest), answer.manifest, "application/json")
        await self._complete(claimed, _found(manifest, answer), _endpoints(manifest))

    async def _ask(self, claimed: Claimed, digest: ids.ContentHash) -> PrepareResponse:
        try:
            return await self._compiler.prepare(digest, allow_unused_imports=claimed.allow_unused_imports)
        except SignatureRefused as error:
            # We have just verified the same envelope: the compiler's trust bundle is behind ours, which passes.
            raise ArtefactUnavailable(f"the compiler does not trust the signature yet: {error.detail}") from error

    async def _complete(self, claimed: Claimed, found: Found, endpoints: Sequence[EndpointRow]) -> None:
        async with self._store.tenant(claimed.owner_account) as tx:
            version = await registry.version_by_id(tx, claimed.id)
            if version is None or not await registry.mark_ready(tx, version, found, endpoints):
                return
            await audit_log.record(tx, _change(claimed, "version.ready"))
        _log.info("version_ready", version_id=claimed.id, content_hash=claimed.content_hash)

    async def _reject(self, claimed: Claimed, error: PlatformError) -> None:
        reason = _reason(error)
        async with self._store.tenant(claimed.owner_account) as tx:
            if not await registry.mark_rejected(tx, claimed.id, msgspec.json.encode(reason)):
                return
            await audit_log.record(tx, _change(claimed, "version.rejected", reason.code))
        _log.info("version_rejected", version_id=claimed.id, code=reason.code)

    async def _postpone(self, version_id: str, code: str) -> None:
        _log.warning("prepare_postponed", version_id=version_id, code=code)
        try:
            async with self._store.platform() as tx:
                await preparations.postpone(tx, version_id, _POSTPONE_S)
        except PlatformError as error:
            _log.warning("prepare_lease_kept", version_id=version_id, code=error.code)  # it ends by itself


@asynccontextmanager
async def open_preparations(
    store: Database,
    objects: ObjectStore,
    compiler: CompilerClient,
    signatures: Signatures,
    known: frozenset[str],
) -> AsyncIterator[Preparations]:
    """Preparations that live as long as the block; unfinished ones are left to other gateways at its end."""
    async with asyncio.TaskGroup() as group:
        found = Preparations(store, objects, compiler, signatures, known, group)
        sweeper = group.create_task(found.sweep_for_ever(), name="prepare sweep")
        try:
            yield found
        finally:
            sweeper.cancel()
            await found.close()


def _checked(answer: PrepareResponse, statement: BundleStatement, known: frozenset[str]) -> Manifest:
    """The manifest, if the signature spoke of exactly these bytes and of this component."""
    if sha256_hex(answer.manifest) != statement.manifest_sha256:
        raise ContentHashMismatch("the manifest is not the one that was signed", path="manifest.json")
    manifest = parse_manifest(answer.manifest, known=known)
    if manifest.publisher != statement.publisher:
        raise SignaturePublisherMismatch(
            f"the signature is {statement.publisher}'s, the manifest says {manifest.publisher}", path="$.publisher"
        )
    for member, said, found in (
        ("name", statement.name, manifest.name),
        ("version", statement.version, manifest.version),
    ):
        if said != found:
            raise ManifestInvalid(f"$.{member} is {found}, the signature says {said}", path=f"$.{member}")
    if answer.component_sha256 != statement.component_sha256:
        raise ContentHashMismatch("the component is not the one that was signed", path=manifest.entry)
    return manifest


def _found(manifest: Manifest, answer: PrepareResponse) -> Found:
    return Found(
        runtime=manifest.runtime,
        entry=None if answer.component_sha256 is None else manifest.entry,
        manifest=answer.manifest,
        capabilities=manifest.capabilities,
        component_sha256=answer.component_sha256,
        description=manifest.description,
        warnings=answer.warnings,
        sbom=answer.sbom,
    )


def _endpoints(manifest: Manifest) -> list[EndpointRow]:
    return [
        EndpointRow(
            method=endpoint.method,
            path=endpoint.path,
            handler=endpoint.handler or None,
            description=endpoint.description,
            schedulable=endpoint.schedulable,
            timeout_ms=endpoint.timeout_ms,
        )
        for endpoint in manifest.api.endpoints
    ]


def _reason(error: PlatformError) -> Reason:
    violations = msgspec.convert(error.extra.get("violations", []), tuple[Violation, ...])
    return Reason(code=error.code, message=error.detail, path=str(error.extra.get("path", "")), violations=violations)


def _change(claimed: Claimed, action: str, code: str | None = None) -> Change:
    detail: Detail = {"content_hash": claimed.content_hash}
    if code is not None:
        detail["code"] = code
    return Change(
        tenant_id=claimed.owner_account,
        actor="platform",
        actor_kind="platform",
        action=action,
        subject_kind="version",
        subject_id=claimed.id,
        detail=detail,
    )
