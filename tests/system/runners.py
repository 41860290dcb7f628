"""A second runner beside the stack's, with a disk cache of its own, and direct calls to it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from deploy.local.record import Extension, Stack
from deploy.local.rest import answers
from shared import wire
from shared.capabilities import DEFAULTS
from tests.system.acting import Answer, Visitor

START_MAX_S = 30.0
STOP_MAX_S = 45.0
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_ENTRY: Final = struct.Struct("<Q")  # of pagemap, one for each page


class RunnerProcess(msgspec.Struct, frozen=True):
    """A running runner."""

    url: str
    public_url: str
    pid: int
    cache: Path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment_of(pid: int) -> dict[str, str]:
    """The environment a process of ours was started with."""
    entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return dict(entry.decode().split("=", 1) for entry in entries if b"=" in entry)


@contextlib.asynccontextmanager
async def another_runner(stack: Stack, directory: Path, **changes: str) -> AsyncIterator[RunnerProcess]:
    """The stack's runner once more: same keys, same store, own ports, own empty disk cache."""
    internal, public = _free_port(), _free_port()
    cache = directory / "cache"
    environment = environment_of(stack.pids["runner"]) | {
        "RUNNER_BIND": f"127.0.0.1:{internal}",
        "RUNNER_PUBLIC_BIND": f"127.0.0.1:{public}",
        "EXT_CACHE_ROOT": str(cache),
        **changes,
    }
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([sys.executable, "-m", "runner"], env=environment, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{internal}"
            async with asyncio.timeout(START_MAX_S):
                while not await answers(f"{url}/readyz"):
                    assert process.poll() is None, "the runner ended while it started"
                    await asyncio.sleep(0.05)
            yield RunnerProcess(url, f"http://127.0.0.1:{public}", process.pid, cache)
        finally:
            process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(process.wait, STOP_MAX_S)


def execute_body(extension: Extension, path: str = "/hello", **more: Any) -> bytes:
    """An execute request for a sample, as JSON."""
    request = wire.ExecuteRequest(
        context=wire.Context(
            request_id="test",
            tenant_id=more.pop("tenant", extension.tenant_id),
            extension_id=extension.id,
            install_id=extension.install_id,
            version_id="00000000-0000-4000-8000-000000000000",
            content_hash=more.pop("content_hash", extension.content_hash),
        ),
        http=wire.Http(method=more.pop("method", "GET"), path=path, body=more.pop("body", None)),
        providers=more.pop("providers", DEFAULTS),
        **more,
    )
    return wire.encode_execute(request, wire.JSON)


async def execute(visitor: Visitor, base: str, extension: Extension, path: str = "/hello", **more: Any) -> Answer:
    """One call straight at a runner with the service token."""
    body = execute_body(extension, path, **more)
    headers = {
        "content-type": wire.JSON,
        "x-alga-tenant": more.get("tenant", extension.tenant_id),
        "x-alga-extension": extension.id,
    }
    visitor = visitor.with_token(visitor.stack.runner_service_token)
    return await visitor.call("POST", "/v1/execute", data=body, headers=headers, base=base)


async def metric(visitor: Visitor, base: str, name: str) -> dict[str, float]:
    """The samples of one metric by their labels, as they stand in the exposition."""
    text = (await visitor.get("/metrics", base=base)).body.decode()
    lines = [line for line in text.splitlines() if line.startswith(name)]
    return {line.rpartition(" ")[0][len(name) :]: float(line.rpartition(" ")[2]) for line in lines}


def processes_below(pid: int) -> dict[int, list[str]]:
    """Every process below `pid` with its command line."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found: dict[int, list[str]] = {}
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        for child in [one for one, above in parents.items() if above == parent]:
            with contextlib.suppress(OSError):
                found[child] = Path(f"/proc/{child}/cmdline").read_bytes().decode().split("\0")
            waiting.append(child)
    return found


def sandboxes_of(pid: int) -> list[int]:
    """The sandbox processes of a runner: children of its zygotes."""
    return zygotes_and_sandboxes_of(pid)[1]


def zygotes_and_sandboxes_of(pid: int) -> tuple[list[int], list[int]]:
    """The zygotes of a runner, and the sandboxes they forked, at one moment."""
    below = processes_below(pid)
    parents = {one: _parent(one) for one in below}
    alike = {one for one, command in below.items() if is_zygote(command)}
    zygotes = [one for one in alike if parents[one] not in alike]
    return zygotes, [one for one in below if parents[one] in zygotes]


def is_zygote(command: list[str]) -> bool:
    """Whether this command line is a zygote's, or a sandbox's, which is forked from one."""
    return any(word.endswith("zygote.py") for word in command)


def _parent(pid: int) -> int:
    """The parent of a process; 0 when it has ended meanwhile."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def memory_of(pid: int) -> bytes:
    """Every byte a process holds in writable memory, as far as it is there; needs root.

    Pages that were never touched are left out, and left alone (proc_pid_pagemap(5)): an engine's pool has gigabytes of
    them, and to read one makes it.
    """
    parts: list[bytes] = []
    with (
        Path(f"/proc/{pid}/maps").open() as maps,
        Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory,
        Path(f"/proc/{pid}/pagemap").open("rb", buffering=0) as pages,
    ):
        for line in maps:
            span, mode = line.split()[:2]
            start, end = (int(word, 16) for word in span.split("-"))
            if mode.startswith("rw") and end - start < 1 << 30:
                with contextlib.suppress(OSError):
                    for first, last in _present(pages, start, end):
                        memory.seek(first)
                        parts.append(memory.read(last - first))
    return b"".join(parts)


def _present(pages: IO[bytes], start: int, end: int) -> Iterator[tuple[int, int]]:
    """The ranges of addresses between two that have pages, in memory or swapped out."""
    pages.seek(start // PAGE_BYTES * _ENTRY.size)
    entries = pages.read((end - start) // PAGE_BYTES * _ENTRY.size)
    held = [bool(entry >> 62) for (entry,) in _ENTRY.iter_unpack(entries)]
    at = start
    for there, run in itertools.groupby(held):
        size = sum(1 for _ in run) * PAGE_BYTES
        if there:
            yield at, at + size
        at += size


def can_read_memory() -> bool:
    """Whether this user may look into another's process."""
    return os.geteuid() == 0
