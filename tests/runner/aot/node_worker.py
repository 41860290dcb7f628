"""A worker process of a node, as far as loading code goes: `python -m tests.runner.aot.node_worker JSON`.

It says `ready`, waits for a line on standard input before each load, and answers each with a line: where the code
came from and what digest it has, or the refusal's code.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from pathlib import Path

import msgspec

from runner.aot.loader import ArtefactLoader
from runner.bundles.background import Background
from runner.bundles.cache import DiskCache
from runner.bundles.objects import open_objects
from runner.bundles.statements import Statements
from runner.clients.compiler import CompilerClient
from runner.clients.http import open_session
from runner.clients.identity import Identity
from runner.sandbox.engine import CPU_TARGET, EngineOptions, engine_id
from shared.deadline import Deadline
from shared.errors import PlatformError
from shared.ids import ContentHash
from shared.keys import PrivateKey, public_keys
from shared.trust import TrustStore
from tests.runner.conftest import store_settings


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is told."""

    root: str
    store_url: str
    access_key: str
    secret_key: str
    compiler_url: str
    identity_pem: str
    aot_pem: str
    trust_pem: str
    content_hash: str


class Loaded(msgspec.Struct, frozen=True):
    """What came of one load."""

    source: str
    sha256: str = ""


class _Uncounted:
    def count(self, stage: str) -> None:
        """Nobody asks."""


async def work(job: Job) -> None:
    """Load on demand until standard input ends."""
    settings = store_settings(Path(job.root), job.store_url, job.access_key, job.secret_key)
    cache = DiskCache(settings.ext_cache_root, max_bytes=1 << 26)
    await cache.open()
    async with open_objects(settings) as objects, open_session(settings) as session, Background() as background:
        statements = Statements(objects, cache, TrustStore(job.trust_pem), background)
        loader = ArtefactLoader(
            statements=statements,
            cache=cache,
            objects=objects,
            compiler=CompilerClient(session, job.compiler_url, Identity(PrivateKey.from_pem(job.identity_pem))),
            keys=list(public_keys(job.aot_pem)),
            engine_id=engine_id(EngineOptions()),
            cpu_target=CPU_TARGET,
            background=background,
            cold_loads=_Uncounted(),
        )
        _say("ready")
        while await asyncio.to_thread(sys.stdin.readline):
            _say(msgspec.json.encode(await _load(loader, ContentHash(job.content_hash))).decode())
        await loader.aclose()
        await statements.aclose()


async def _load(loader: ArtefactLoader, content_hash: ContentHash) -> Loaded:
    try:
        found = await loader.load(content_hash, Deadline.after_ms(60_000))
    except PlatformError as error:
        return Loaded(error.code)
    try:
        return Loaded(found.source, hashlib.sha256(os.pread(found.memfd, found.size_bytes, 0)).hexdigest())
    finally:
        os.close(found.memfd)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(work(msgspec.json.decode(sys.argv[1], type=Job)))
