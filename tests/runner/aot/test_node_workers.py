"""The worker processes of one node share a cold digest: one download, one question to the compiler, whoever dies.

Real processes, a real object store behind a tap that counts requests, the real compiler role.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from deploy.local.s3 import S3
from runner.aot import artefacts
from runner.bundles.objects import open_objects
from runner.sandbox.engine import EngineOptions, engine_id
from shared.ids import ContentHash, digest_hex
from tests.runner.aot.compiler_role import AOT, CALLER, PUBLISHER, compiler_settings, serving, soon
from tests.runner.aot.node_worker import Job, Loaded
from tests.runner.conftest import store_settings
from tests.runner.published import Published, component, publish
from tests.runner.waiting import LIMIT_S, until
from tests.runner.wire_tap import Tap, tapping

pytestmark = [pytest.mark.system, pytest.mark.guests, pytest.mark.slow]

ENGINE = engine_id(EngineOptions())


class Worker:
    """One process; killed at the end if it still runs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(LIMIT_S):
            return (await self.process.stdout.readline()).decode().strip()

    def go(self) -> None:
        """Begin a load; `line` tells what came of it."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"go\n")

    async def loaded(self) -> Loaded:
        return msgspec.json.decode(await self.line(), type=Loaded)


class Node:
    """A node with its cache directory, its store and the compiler, both behind taps."""

    def __init__(self, start: Callable[..., Awaitable[Worker]], store: Tap, compiler: Tap, bundle: Published) -> None:
        self.start, self.store, self.compiler, self.bundle = start, store, compiler, bundle
        where = ENGINE, bundle.statement.component_sha256 or ""
        self.artefact, self.signature = artefacts.object_key(*where), artefacts.signature_key(*where)


@pytest.fixture
async def node(store_server: S3, tmp_path: Path, unused_tcp_port: int) -> AsyncIterator[Node]:
    bundle = publish(tmp_path / "bundle", PUBLISHER, {"dist/main.wasm": component(os.urandom(8))}, ui=None)
    login, reader = store_server.gateway, store_server.runner
    async with open_objects(
        store_settings(tmp_path, store_server.endpoint, login.access_key, login.secret_key)
    ) as objects:
        for name, data in bundle.objects.items():
            await objects.write(name, data, soon())
    settings = compiler_settings(store_server, tmp_path, unused_tcp_port, PUBLISHER.public.pem())
    async with contextlib.AsyncExitStack() as stack:
        store = await stack.enter_async_context(tapping(store_server.endpoint))
        compiler = await stack.enter_async_context(tapping(await stack.enter_async_context(serving(settings))))
        job = Job(
            root=str(tmp_path),
            store_url=store.url,
            access_key=reader.access_key,
            secret_key=reader.secret_key,
            compiler_url=compiler.url,
            identity_pem=CALLER.pem(),
            aot_pem=AOT.public.pem(),
            trust_pem=PUBLISHER.public.pem(),
            content_hash=bundle.content_hash,
        )

        async def start(content_hash: ContentHash = bundle.content_hash) -> Worker:
            told = msgspec.structs.replace(job, content_hash=content_hash)
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.runner.aot.node_worker",
                msgspec.json.encode(told).decode(),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
            stack.push_async_callback(_ended, process)
            worker = Worker(process)
            assert await worker.line() == "ready"
            return worker

        yield Node(start, store, compiler, bundle)


async def _ended(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    assert process.stdin is not None
    process.stdin.close()
    await process.wait()


async def prepared(node: Node) -> None:
    """The artefact stands in the store and on the disk, and the taps have forgotten how it came there."""
    worker = await node.start()
    worker.go()
    assert (await worker.loaded()).source == "compiled"
    assert worker.process.stdin is not None
    worker.process.stdin.close()  # it ends by itself, after what it keeps is on the disk
    await worker.process.wait()
    node.store.seen.clear()
    node.compiler.seen.clear()


def forget(folder: Path) -> None:
    """The node is a fresh one."""
    shutil.rmtree(folder / "cache")


async def test_two_workers_ask_for_a_digest_nobody_compiled_and_the_compiler_is_asked_once(node: Node):
    both = [await node.start() for _ in range(2)]
    for worker in both:
        worker.go()
    found = [await worker.loaded() for worker in both]
    assert sorted(one.source for one in found) == ["compiled", "disk"]
    assert len({one.sha256 for one in found}) == 1
    assert node.compiler.count("/v1/prepare") == 1
    assert node.store.count("SIGNATURE.json") == 1
    assert node.store.count(f"GET /alga-bundles/{node.artefact}") == 4  # artefact and signature, before and after
    assert node.store.count("bundle.tar.zst") == 0  # a runner never needs the archive to run it


async def test_two_workers_of_a_fresh_node_read_each_object_of_a_prepared_digest_once(node: Node, tmp_path: Path):
    await prepared(node)
    forget(tmp_path)
    both = [await node.start() for _ in range(2)]
    for worker in both:
        worker.go()
    assert sorted([(await worker.loaded()).source for worker in both]) == ["disk", "store"]
    assert sorted(node.store.seen.values()) == [1, 1, 1]
    assert node.compiler.seen.total() == 0


async def test_a_worker_that_dies_while_it_loads_leaves_its_place_to_the_next(node: Node, tmp_path: Path):
    await prepared(node)
    forget(tmp_path)
    first, second = [await node.start() for _ in range(2)]
    node.store.hold = node.artefact
    first.go()
    await until(lambda: node.store.held)
    second.go()
    await until(lambda: node.store.count("SIGNATURE.json") == 1)
    first.process.kill()
    await first.process.wait()
    node.store.release()
    assert (await second.loaded()).source == "store"


async def test_a_worker_that_is_started_again_finds_everything_on_its_disk(node: Node):
    await prepared(node)
    again = await node.start()
    again.go()
    assert (await again.loaded()).source == "disk"
    again.go()
    assert (await again.loaded()).source == "memory"
    assert node.store.seen.total() == 0


@pytest.mark.security
async def test_a_digest_that_does_not_exist_costs_one_request_of_each_worker(node: Node):
    absent = ContentHash("sha256:" + os.urandom(32).hex())
    both = [await node.start(absent) for _ in range(2)]
    for _ in range(20):
        for worker in both:
            worker.go()
    for worker in both:
        assert {(await worker.loaded()).source for _ in range(20)} == {"bundle_not_found"}
    assert node.store.seen == {f"GET /alga-bundles/sha256/{digest_hex(absent)}/SIGNATURE.json": 2}
    assert node.compiler.seen.total() == 0
