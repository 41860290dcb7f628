"""From a digest to native code that may be mapped: memory → the node's disk → the store → the compiler role.

Every source is untrusted; each gives two objects that must verify together against the component named in the signed
bundle statement. What does not verify is dropped, reported as `cache_tampered` and asked of the compiler again; it is
never decompressed, let alone mapped. Nothing compiles here.

One load serves everyone who waits: callers of a worker share a flight, workers of a node a lock that ends with its
holder. The lock is held until the disk has the artefact, which is after the answer, so the next worker finds it there.
A disk that takes nothing costs a download for each worker and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final, Literal, Protocol

import msgspec

from runner.aot import artefacts
from runner.aot.artefacts import ARTEFACT_STORED_MAX_BYTES, ArtefactTamperedError, Expected
from runner.aot.sealed import Kept, SealedMemory
from runner.aot.stored import FETCH_MAX_S, Pair, StoredArtefacts
from runner.bundles.background import Background
from runner.bundles.cache import DiskCache
from runner.bundles.negative import NegativeCache
from runner.bundles.objects import Objects
from runner.bundles.single_flight import SingleFlight
from runner.bundles.statements import Statements
from runner.bundles.tampering import Tampering
from shared.deadline import Deadline
from shared.errors import ArtefactUnavailable, BundleUnavailable, CacheFull, ComponentInvalid, PlatformError
from shared.ids import ContentHash
from shared.keys import PublicKey
from shared.limits import COLD_FETCHES_MAX, PREPARE_MAX_S
from shared.wire import PrepareResponse

LOAD_MAX_S: Final = PREPARE_MAX_S + 2 * FETCH_MAX_S  # of one shared load; callers wait with their own deadlines
RETRY_AFTER_S: Final = 5  # a compilation takes 3–30 s
UNAVAILABLE_S: Final = 1.0  # how long "cannot be had" is believed, so that a dead store costs one attempt a second

Source = Literal["memory", "disk", "store", "compiled"]
_KEPT: Final[Source] = "memory"


class Artefact(msgspec.Struct, frozen=True, kw_only=True):
    """Native code, ready to be mapped.

    Attributes:
        component_sha256: which component it is, 64 hex digits.
        memfd: a sealed memfd with the decompressed `.cwasm`, close-on-exec; the caller closes it.
        size_bytes: its length.
        source: where it was found.
    """

    component_sha256: str
    memfd: int
    size_bytes: int
    source: Source


class ColdLoads(Protocol):
    """Counts cold loads by where they ended (`ext_cold_loads_total{stage}`)."""

    def count(self, stage: str) -> None:
        """One more load that ended at `disk`, `store` or `compiled`."""


class Compiler(Protocol):
    """The compiler role, as a loader sees it."""

    async def prepare(self, content_hash: ContentHash, deadline: Deadline) -> PrepareResponse:
        """Wait until the digest's artefact is in the store."""


class ArtefactLoader:
    """See the module. One per worker process; `aclose` it in the lifespan.

    Args:
        statements: signed bundle statements.
        cache: the node's disk.
        objects: the store.
        compiler: who makes what is missing.
        keys: `RUNNER_AOT_PUBLIC_KEYS`.
        engine_id, cpu_target: what this runner can run.
        background: where disk writes go on after the answer.
        cold_loads: the counter.
        tampered: told `disk` or `store` each time bytes from there fail their check.
    """

    def __init__(
        self,
        *,
        statements: Statements,
        cache: DiskCache,
        objects: Objects,
        compiler: Compiler,
        keys: Sequence[PublicKey],
        engine_id: str,
        cpu_target: str,
        background: Background,
        cold_loads: ColdLoads,
        tampered: Callable[[str], object] = lambda _where: None,
    ) -> None:
        self._statements = statements
        self._cache = cache
        self._tampering = Tampering(tampered)
        self._stored = StoredArtefacts(objects, keys, self._tampering)
        self._compiler = compiler
        self._keys = tuple(keys)
        self._engine_id = engine_id
        self._cpu_target = cpu_target
        self._background = background
        self._cold_loads = cold_loads
        self._kept = Kept()
        self._fetches = asyncio.Semaphore(COLD_FETCHES_MAX)
        self._flights: SingleFlight[ContentHash, tuple[SealedMemory, Source]] = SingleFlight("artefact")
        self._negative: NegativeCache[ContentHash] = NegativeCache()

    async def load(self, content_hash: ContentHash, deadline: Deadline) -> Artefact:
        """The native code of a bundle's component.

        Raises:
            BundleNotFound, BundleUntrusted, Revoked, BundleUnavailable: as `Statements.verified`.
            ComponentInvalid: the bundle has no component, or one that cannot be compiled.
            ArtefactUnavailable: not before `deadline`, or the compiler cannot be asked; the load goes on meanwhile.
            CacheFull: this node has no memory for it.
        """
        statement = await self._statements.verified(content_hash, deadline)
        if statement.component_sha256 is None:
            raise ComponentInvalid("the extension has a UI and no component")
        component = statement.component_sha256
        memory, source = self._kept.get(component), _KEPT
        if memory is None:
            self._negative.check(content_hash)
            try:
                async with asyncio.timeout(deadline.remaining_s()):
                    memory, source = await self._flights.run(content_hash, lambda: self._cold(content_hash, component))
            except TimeoutError as error:
                raise ArtefactUnavailable("the code is not ready yet", retry_after_s=RETRY_AFTER_S) from error
        return Artefact(
            component_sha256=component, memfd=memory.duplicate(), size_bytes=memory.size_bytes, source=source
        )

    async def aclose(self) -> None:
        """End what is under way and let go of everything kept."""
        await self._flights.aclose()
        self._kept.clear()

    async def _cold(self, content_hash: ContentHash, component: str) -> tuple[SealedMemory, Source]:
        expected = Expected(component_sha256=component, engine_id=self._engine_id, cpu_target=self._cpu_target)
        try:
            memory, source = await self._find(content_hash, expected)
        except PlatformError as error:
            passing = isinstance(error, ArtefactUnavailable | BundleUnavailable | CacheFull)
            self._negative.remember(content_hash, error, UNAVAILABLE_S if passing else None)
            raise
        self._kept.put(component, memory)
        self._cold_loads.count(source)
        return memory, source

    async def _find(self, content_hash: ContentHash, expected: Expected) -> tuple[SealedMemory, Source]:
        deadline = Deadline.after_ms(LOAD_MAX_S * 1000)
        name = f"artefacts/{expected.engine_id}_{expected.component_sha256}"
        if (memory := await self._from_disk(name, expected)) is not None:
            return memory, "disk"
        async with contextlib.AsyncExitStack() as held:
            waited = await held.enter_async_context(self._cache.exclusive(name, deadline))
            if waited and (memory := await self._from_disk(name, expected)) is not None:
                return memory, "disk"
            source: Source = "store"
            found = await self._from_store(expected, deadline)
            if found is None:
                source = "compiled"
                found = await self._compiled(content_hash, expected, deadline)
            memory, pair = found
            lock = held.pop_all()  # held until the disk has it, so that other workers find it there
            if not self._background.start("keep artefact", self._keep(name, pair, lock)):
                await lock.aclose()
        return memory, source

    async def _from_disk(self, name: str, expected: Expected) -> SealedMemory | None:
        stored = await self._cache.read(f"{name}.cwasm.zst", ARTEFACT_STORED_MAX_BYTES)
        signature = await self._cache.read(f"{name}.sig", artefacts.SIGNATURE_MAX_BYTES)
        if stored is None or signature is None:
            return None
        try:
            await asyncio.to_thread(artefacts.verify, signature, stored, expected, self._keys)
            return await _opened(stored)
        except ArtefactTamperedError as error:
            self._tampering.found("disk", str(error), component=expected.component_sha256)
            await self._cache.drop(f"{name}.cwasm.zst")
            await self._cache.drop(f"{name}.sig")
            return None

    async def _from_store(self, expected: Expected, deadline: Deadline) -> tuple[SealedMemory, Pair] | None:
        """Verified code in memory, and what the disk keeps of it; `None` when the compiler has to make it."""
        async with self._fetches:
            pair = await self._stored.read(expected, deadline)
            if pair is None:
                return None
            try:
                return await _opened(pair.stored), pair
            except ArtefactTamperedError as error:  # signed, and no zstd frame: a compiler's key is in wrong hands
                self._tampering.found("store", str(error), component=expected.component_sha256)
                return None

    async def _compiled(
        self, content_hash: ContentHash, expected: Expected, deadline: Deadline
    ) -> tuple[SealedMemory, Pair]:
        await self._compiler.prepare(content_hash, deadline.sooner(PREPARE_MAX_S * 1000))
        found = await self._from_store(expected, deadline)
        if found is None:
            raise ArtefactUnavailable("the compiler left nothing usable for this engine", retry_after_s=RETRY_AFTER_S)
        return found

    async def _keep(self, name: str, pair: Pair, lock: contextlib.AsyncExitStack) -> None:
        async with lock:
            if await self._cache.write(f"{name}.cwasm.zst", pair.stored):
                await self._cache.write(f"{name}.sig", pair.signature)


async def _opened(stored: bytes) -> SealedMemory:
    """Verified bytes, decompressed. Wrapped inside the thread: a cancelled load must not lose the descriptor.

    Raises:
        ArtefactTamperedError: they are not one zstd frame within the limits.
        CacheFull: no memory, or no descriptor, is left.
    """
    try:
        return await asyncio.to_thread(lambda: SealedMemory(*artefacts.unpack_sealed(stored)))
    except OSError as error:
        raise CacheFull(f"this node has no room for the code: {error.strerror}", retry_after_s=RETRY_AFTER_S) from error
