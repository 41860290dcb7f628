"""A running compiler role, for tests that ask one over HTTP: its settings, its keys, its listener."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from deploy.local.s3 import S3
from runner.aot.jobs import CompileLimits
from runner.aot.serve import serve_compiler
from runner.settings import CompilerSettings
from shared.deadline import Deadline
from shared.keys import PrivateKey
from tests.runner.conftest import store_settings

PUBLISHER, AOT, CALLER = PrivateKey.generate(), PrivateKey.generate(), PrivateKey.generate()


def soon() -> Deadline:
    return Deadline.after_ms(60_000)


def compiler_settings(server: S3, root: Path, port: int, trust: str) -> CompilerSettings:
    store = store_settings(root, server.endpoint, server.compiler.access_key, server.compiler.secret_key)
    shared: dict[str, Any] = {name: getattr(store, name) for name in store.__struct_fields__}
    shared |= {"ext_cache_root": root / "compiler", "signing_trust_bundle": trust}
    return CompilerSettings(
        **shared,
        compiler_bind=f"127.0.0.1:{port}",
        compiler_tls_certificate=None,
        compiler_tls_key=None,
        compiler_signing_key=AOT,
        compiler_caller_keys=(CALLER.public,),
    )


@contextlib.asynccontextmanager
async def serving(settings: CompilerSettings, limits: CompileLimits | None = None) -> AsyncIterator[str]:
    """A running compiler role; its base URL."""
    stop = asyncio.Event()
    task = asyncio.create_task(serve_compiler(settings, stop, limits))
    base = f"http://{settings.compiler_bind}"
    async with aiohttp.ClientSession() as session, asyncio.timeout(20):
        while not await _alive(session, base):  # noqa: ASYNC110  # a listener sends no event
            await asyncio.sleep(0.01)
    yield base
    stop.set()
    await task


async def _alive(session: aiohttp.ClientSession, base: str) -> bool:
    with contextlib.suppress(aiohttp.ClientConnectionError):
        async with session.get(f"{base}/healthz") as answer:
            return answer.status == 200
    return False
