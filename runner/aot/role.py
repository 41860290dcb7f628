"""What the compiler role consists of, opened in order and closed in reverse: for its listener, and for a command.

It meets no guest traffic and holds no sealing key; its credentials may read the store and write below `aot/`.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable

import msgspec

from runner.aot.compiler import Compiler, Target
from runner.aot.jobs import CompileLimits
from runner.bundles.archive import Archives
from runner.bundles.background import Background
from runner.bundles.cache import DiskCache
from runner.bundles.objects import Objects, open_objects
from runner.bundles.statements import Statements
from runner.sandbox.engine import CPU_TARGET, EngineOptions, engine_id
from runner.settings import CompilerSettings
from shared.trust import TrustStore


class Role(msgspec.Struct, frozen=True):
    """The open parts."""

    compiler: Compiler
    statements: Statements
    objects: Objects
    target: Target


def target_of(settings: CompilerSettings) -> Target:
    """What this installation compiles for: the wheel that is installed, with the configuration of this release."""
    return Target(
        engine_id=engine_id(EngineOptions(fuel=settings.runner_fuel)), cpu_target=CPU_TARGET, fuel=settings.runner_fuel
    )


@contextlib.asynccontextmanager
async def open_role(
    settings: CompilerSettings,
    trust: TrustStore,
    *,
    limits: CompileLimits | None = None,
    tampered: Callable[[str], object] = lambda _where: None,
) -> AsyncIterator[Role]:
    """Everything that prepares digests, for the length of the block; what is under way at its end is killed.

    Args:
        settings: of the role.
        trust: whose signatures count.
        limits: what compiling may cost; by default the platform's on this machine.
        tampered: told `disk` or `store` each time bytes from there fail their check.
    """
    cache = DiskCache(settings.ext_cache_root, max_bytes=0)  # each digest is read once: nothing is kept
    await cache.open()
    target = target_of(settings)
    async with contextlib.AsyncExitStack() as stack:
        objects = await stack.enter_async_context(open_objects(settings))
        background = await stack.enter_async_context(Background())
        statements = Statements(objects, cache, trust, background)
        stack.push_async_callback(statements.aclose)
        compiler = Compiler(
            statements=statements,
            archives=Archives(objects, cache, statements, tampered),
            objects=objects,
            key=settings.compiler_signing_key,
            target=target,
            providers=settings.providers,
            workspace=cache.workspace,
            limits=limits,
            tampered=tampered,
        )
        stack.push_async_callback(compiler.aclose)
        yield Role(compiler, statements, objects, target)
