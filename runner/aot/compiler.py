"""Prepares a digest: read, check, compile, sign, upload. The compiler role's one job, and nobody else's.

It is idempotent. A digest whose artefact stands in the store with a signature that verifies is answered `present`;
one whose artefact was replaced by something else is compiled again, which is how a runner repairs what it refused to
load. The artefact goes up before its signature, so a reader between the two finds a pair that does not verify and
asks here, where the same work is already under way.

Work belongs to nobody's request: a caller waits as long as it may and comes back, the work goes on to its own end.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import msgspec
import structlog

from runner.aot import artefacts
from runner.aot.artefacts import ARTEFACT_STORED_MAX_BYTES, Expected
from runner.aot.child import compile_component
from runner.aot.contents import Contents, read_contents
from runner.aot.jobs import CompileLimits, Jobs, usual_limits
from runner.aot.stored import Pair, StoredArtefacts
from runner.bundles.archive import Archives
from runner.bundles.negative import NegativeCache
from runner.bundles.objects import Objects
from runner.bundles.single_flight import SingleFlight
from runner.bundles.statements import Statements
from runner.bundles.tampering import Tampering
from shared.component import ComponentFacts, check_against_manifest, inspect_component
from shared.deadline import Deadline
from shared.errors import ArtefactUnavailable, CallerError, ComponentInvalid, GuestError
from shared.ids import ContentHash
from shared.keys import PrivateKey
from shared.limits import PREPARE_MAX_S
from shared.provider import Providers
from shared.provider_files import shipped
from shared.wire import PrepareResponse

RETRY_AFTER_S: Final = 10

Outcome = Literal["compiled", "present", "none"]

_log = structlog.get_logger()


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What is compiled for; equal to what every runner loads.

    Attributes:
        engine_id, cpu_target: of `runner.sandbox.engine`.
        fuel: `RUNNER_FUEL`.
    """

    engine_id: str
    cpu_target: str
    fuel: bool

    def expected(self, component_sha256: str) -> Expected:
        """What an artefact of this component must be signed for."""
        return Expected(component_sha256=component_sha256, engine_id=self.engine_id, cpu_target=self.cpu_target)


class _Checked(msgspec.Struct, frozen=True):
    """A bundle that may run: its contents, its component's facts and path, warnings."""

    contents: Contents
    facts: ComponentFacts | None
    component: Path
    warnings: tuple[str, ...]


class Compiler:
    """See the module. `aclose` it in the lifespan.

    Args:
        statements: who vouches for a digest.
        archives: verified archives.
        objects: the store; the credentials may write below `aot/`.
        key: `COMPILER_SIGNING_KEY`.
        target: what to compile for.
        providers: services of the host application that components may import; by default the reference ones.
        workspace: a directory of this process, for the files of one compilation.
        limits: what compiling may cost; by default the platform's, with one compilation for each core but one.
        tampered: told `store` each time an artefact there is not what was signed.
    """

    def __init__(
        self,
        *,
        statements: Statements,
        archives: Archives,
        objects: Objects,
        key: PrivateKey,
        target: Target,
        workspace: Path,
        providers: Providers | None = None,
        limits: CompileLimits | None = None,
        tampered: Callable[[str], object] = lambda _where: None,
    ) -> None:
        self._statements = statements
        self._archives = archives
        self._stored = StoredArtefacts(objects, [key.public], Tampering(tampered))
        self._key = key
        self._target = target
        self._providers = shipped() if providers is None else providers
        self._workspace = workspace
        self._limits = limits or usual_limits()
        self.jobs = Jobs(self._limits.at_once, self._limits.waiting_max)
        """The queue; its numbers are metrics."""
        self._flights: SingleFlight[tuple[ContentHash, bool], PrepareResponse] = SingleFlight("prepare")
        self._negative: NegativeCache[tuple[ContentHash, bool]] = NegativeCache()

    async def prepare(self, content_hash: ContentHash, allow_unused_imports: bool) -> PrepareResponse:
        """Make a digest runnable and say what is in it. Takes up to `PREPARE_MAX_S`; the work may go on after that.

        Args:
            content_hash: of a bundle that stands in the store with its signature.
            allow_unused_imports: an import without its capability is a warning instead of a refusal.

        Raises:
            BundleNotFound, Revoked, BundleUntrusted, BundleUnavailable: as `Archives.opened`.
            BundleInvalid, BundleLimits, ManifestInvalid: the bundle is not acceptable.
            ComponentInvalid: its component is not.
            ArtefactUnavailable: there was not enough time; ask again.
            Overloaded: too many are waiting already; ask again after `retry_after_s`.
        """
        key = (content_hash, allow_unused_imports)
        self._negative.check(key)
        try:
            async with asyncio.timeout(PREPARE_MAX_S):
                return await self._flights.run(key, lambda: self._prepare(content_hash, allow_unused_imports))
        except TimeoutError as error:
            raise ArtefactUnavailable(
                "it is waiting for its turn, or being compiled", retry_after_s=self.jobs.retry_after_s()
            ) from error

    async def present(self, component_sha256: str, deadline: Deadline) -> bool:
        """Whether every runner would load what the store has for this component. Raises `BundleUnavailable`."""
        return await self._stored.read(self._target.expected(component_sha256), deadline) is not None

    async def aclose(self) -> None:
        """Kill what is under way."""
        await self._flights.aclose()

    async def _prepare(self, content_hash: ContentHash, allow_unused_imports: bool) -> PrepareResponse:
        key = (content_hash, allow_unused_imports)
        async with self.jobs.turn():
            try:
                return await self._in_time(content_hash, allow_unused_imports)
            except ArtefactUnavailable as error:
                # It had a whole turn: who asks again at once gets this answer, not another turn.
                self._negative.remember(key, error, RETRY_AFTER_S)
                raise
            except (CallerError, GuestError) as error:
                self._negative.remember(key, error)
                raise
            except OSError as error:
                _log.exception("prepare_failed", content_hash=content_hash)
                raise ArtefactUnavailable("the compiler's disk does not work", retry_after_s=RETRY_AFTER_S) from error

    async def _in_time(self, content_hash: ContentHash, allow_unused_imports: bool) -> PrepareResponse:
        """The work of one turn."""
        deadline = Deadline.after_ms(self._limits.wall_s * 1000)
        try:
            async with asyncio.timeout(deadline.remaining_s()):
                with tempfile.TemporaryDirectory(dir=self._workspace, prefix="prepare-") as folder:
                    checked = await self._checked(content_hash, Path(folder), allow_unused_imports, deadline)
                    return await self._answer(content_hash, checked, Path(folder), deadline)
        except TimeoutError as error:
            raise ArtefactUnavailable("there was not enough time to compile", retry_after_s=RETRY_AFTER_S) from error

    async def _checked(
        self, content_hash: ContentHash, folder: Path, allow_unused_imports: bool, deadline: Deadline
    ) -> _Checked:
        statement = await self._statements.verified(content_hash, deadline)
        async with self._archives.opened(content_hash, deadline) as archive:
            contents = await asyncio.to_thread(read_contents, archive, statement, self._providers.capabilities)
        path = folder / "component.wasm"
        if contents.component is None:
            return _Checked(contents, None, path, ())
        await asyncio.to_thread(path.write_bytes, contents.component)
        facts = await asyncio.to_thread(inspect_component, path, deadline.remaining_s(), self._providers.world)
        warnings = check_against_manifest(
            facts,
            contents.manifest,
            allow_unused_imports=allow_unused_imports,
            interfaces=self._providers.interfaces,
        )
        return _Checked(contents, facts, path, tuple(warnings))

    async def _answer(
        self, content_hash: ContentHash, checked: _Checked, folder: Path, deadline: Deadline
    ) -> PrepareResponse:
        contents, facts = checked.contents, checked.facts
        sizes = {"archive_bytes": contents.archive_bytes, "files": contents.files}
        artefact: Outcome = "none"
        if facts is not None and contents.component_sha256 is not None:
            sizes["component_bytes"] = facts.size_bytes
            artefact, sizes["artefact_bytes"] = await self._artefact(
                contents.component_sha256, checked.component, folder / "component.cwasm", deadline
            )
        return PrepareResponse(
            content_hash=content_hash,
            component_sha256=contents.component_sha256,
            imports=facts.imports if facts else (),
            exports=facts.exports if facts else (),
            initial_memory_bytes=facts.initial_memory_bytes if facts else 0,
            sizes=sizes,
            manifest=contents.written,
            artefact=artefact,
            warnings=checked.warnings,
            sbom=contents.sbom,
        )

    async def _artefact(
        self, component_sha256: str, source: Path, target: Path, deadline: Deadline
    ) -> tuple[Outcome, int]:
        """Whether native code had to be made, and its stored size in bytes."""
        expected = self._target.expected(component_sha256)
        present = await self._stored.read(expected, deadline)
        if present is not None:
            return "present", len(present.stored)
        started = time.monotonic()
        await compile_component(source, target, fuel=self._target.fuel, limits=self._limits, deadline=deadline)
        stored = await asyncio.to_thread(lambda: artefacts.pack(target.read_bytes()))
        if len(stored) > ARTEFACT_STORED_MAX_BYTES:
            raise ComponentInvalid(f"its native code has more than {ARTEFACT_STORED_MAX_BYTES} bytes, compressed")
        await self._stored.write(expected, Pair(stored, artefacts.sign(self._key, expected, stored)), deadline)
        _log.info("compiled", component=component_sha256, seconds=round(time.monotonic() - started, 2))
        return "compiled", len(stored)
