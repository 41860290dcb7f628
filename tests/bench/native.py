"""The samples' native code as the stack's runner has it: made by the compiler role, signed, read from the store."""

from __future__ import annotations

import os
from collections.abc import Mapping

from deploy.local.record import Extension, Stack
from runner.aot.artefacts import Expected, unpack_sealed
from runner.aot.stored import StoredArtefacts
from runner.bundles.background import Background
from runner.bundles.cache import DiskCache
from runner.bundles.objects import open_objects
from runner.bundles.statements import Statements
from runner.bundles.tampering import Tampering
from runner.sandbox.engine import CPU_TARGET, EngineOptions, engine_id
from runner.settings import read_runner
from shared.deadline import Deadline
from shared.ids import ContentHash
from shared.trust import TrustStore
from tests.system.runners import environment_of

READ_MAX_MS = 60_000


class MissingError(LookupError):
    """The store has no code for a sample. The text says which."""


async def native_code(stack: Stack, extensions: Mapping[str, Extension]) -> dict[str, bytes]:
    """The native code of some installs, by the names given to them.

    Raises:
        MissingError: the store has none that verifies.
    """
    settings = read_runner(environment_of(stack.pids["runner"]))
    cache = DiskCache(settings.ext_cache_root, settings.ext_cache_max_bytes)
    trust = TrustStore(settings.signing_trust_bundle)
    deadline = Deadline.after_ms(READ_MAX_MS)
    async with open_objects(settings) as objects, Background() as background:
        statements = Statements(objects, cache, trust, background)
        stored = StoredArtefacts(objects, settings.runner_aot_public_keys, Tampering(lambda _where: None))
        found: dict[str, bytes] = {}
        for name, extension in extensions.items():
            statement = await statements.verified(ContentHash(extension.content_hash), deadline)
            expected = Expected(
                component_sha256=statement.component_sha256 or "",
                engine_id=engine_id(EngineOptions(fuel=settings.runner_fuel)),
                cpu_target=CPU_TARGET,
            )
            pair = await stored.read(expected, deadline)
            if pair is None:
                raise MissingError(f"the store has no code for {extension.name}")
            found[name] = _unpacked(pair.stored)
        await statements.aclose()
    return found


def _unpacked(stored: bytes) -> bytes:
    descriptor, size = unpack_sealed(stored)
    try:
        return os.pread(descriptor, size, 0)
    finally:
        os.close(descriptor)
