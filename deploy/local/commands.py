"""What each command does: run in the foreground, stop, look, forget. `background` runs it elsewhere."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Final

import msgspec

from deploy.local import postgres, record, rest, stack
from deploy.local.failures import StackError
from deploy.local.locks import Lock
from deploy.local.progress import Progress

STOP_MAX_S: Final = 90.0  # eight children in turn, most of them at once
POLL_S: Final = 0.1
# Made by a stack and forgotten by `reset`. What is only expensive to make (`venvs`, `build`) is no stack's data.
STATE: Final = ("redis", "s3", "cache", "keys", "logs", "ports.json", "stack.json", "samples")


def up(options: stack.Options, progress: Progress, ready_fd: int | None = None) -> int:
    """Run the stack until a signal asks for its end.

    Args:
        options: what to start.
        progress: is told every step.
        ready_fd: a descriptor that gets one line when everything is ready, then is closed.

    Raises:
        StackError: it did not start, or one of its processes ended. May come in an `ExceptionGroup`.
    """
    asyncio.run(_up(options, progress, ready_fd))
    return 0


async def _up(options: stack.Options, progress: Progress, ready_fd: int | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)

    def ready(found: record.Stack) -> None:
        progress.done(f"everything is up; written to {options.directory / record.NAME}")
        progress.plain(summary(found))
        if ready_fd is not None:
            os.write(ready_fd, b"ready\n")
            os.close(ready_fd)
        else:
            progress.plain("  Ctrl-C stops everything; the data is kept")

    await stack.run(options, progress, stop, ready)


def summary(found: record.Stack) -> str:
    """`ready`, the addresses, and one curl line for each sample that works as it stands."""
    lines = [
        "ready",
        f"  gateway      {found.gateway_url}  (console: {found.gateway_url}/msp/extensions)",
        f"  runner       {found.runner_url}  (UI assets: {found.runner_public_base})",
        f"  PostgreSQL   {found.database_url}",
        f"  Redis        {found.redis_url}",
        f"  S3           {found.s3.endpoint}/{found.s3.bucket}",
    ]
    first = found.tenants[0] if found.tenants else None
    for extension in found.extensions:
        if first is not None and extension.tenant_id == first.id:
            url = f"{found.gateway_url}/api/ext/{extension.name}/hello"
            lines.append(f"  curl -H 'authorization: Bearer {first.api_key}' {url}")
    return "\n".join(lines)


def down(directory: Path, progress: Progress) -> int:
    """Stop the stack of `directory` and wait until everything of it has ended. Raises `StackError` when it does not."""
    lock = Lock(directory / stack.LOCK)
    if not lock.path.exists() or lock.take():
        lock.release()
        progress.done(f"no stack runs in {directory}")
        return 0
    pid = _pid(lock.path)
    progress.begun(f"stopping the stack in {directory} (pid {pid})")
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_MAX_S
    while not lock.take():
        if time.monotonic() > deadline:
            raise StackError(f"the stack (pid {pid}) still runs after {STOP_MAX_S:g} s", next_step=f"kill -9 {pid}")
        time.sleep(POLL_S)
    lock.release()
    progress.done("stopped; the data is kept")
    return 0


def _pid(path: Path) -> int:
    text = path.read_text().strip()
    if not text.isdecimal():
        raise StackError(f"{path} is locked but names no process", next_step="the stack has just begun; try again")
    return int(text)


class ServiceStatus(msgspec.Struct, frozen=True):
    """How one service answers `/readyz`."""

    url: str
    ready: bool
    detail: str


class Status(msgspec.Struct, frozen=True):
    """What `status --json` prints."""

    running: bool
    directory: str
    services: dict[str, ServiceStatus] = {}


def status(directory: Path, *, as_json: bool) -> int:
    """Print which services answer; 0 when the stack runs and all are ready, else 1."""
    found = asyncio.run(_status(directory))
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        print(f"{'running' if found.running else 'not running'} in {found.directory}")
        for name, service in found.services.items():
            print(f"  {name:<9} {'ready' if service.ready else 'not ready':<10} {service.url}  {service.detail}")
    return 0 if found.running and found.services and all(each.ready for each in found.services.values()) else 1


async def _status(directory: Path) -> Status:
    lock = Lock(directory / stack.LOCK)
    if not lock.path.exists() or lock.take():
        lock.release()
        return Status(running=False, directory=str(directory))
    if not (directory / record.NAME).exists():
        return Status(running=True, directory=str(directory))  # still starting, or stopping
    here = record.read(directory)
    urls = {"gateway": here.gateway_internal_url, "runner": here.runner_url, "compiler": here.compiler_url}
    pages = await asyncio.gather(*(rest.page(f"{url}/readyz") for url in urls.values()))
    return Status(
        running=True,
        directory=str(directory),
        services={
            name: ServiceStatus(url=url, ready=code == 200, detail="" if code == 200 else text[:200])
            for (name, url), (code, text) in zip(urls.items(), pages, strict=True)
        },
    )


def reset(directory: Path, progress: Progress, *, keep: frozenset[str] = frozenset()) -> int:
    """Stop the stack of `directory` and remove what it keeps, wherever that is.

    Args:
        directory: where the stack keeps everything.
        progress: is told what was done.
        keep: names of `STATE` that stay, for instance the logs of a failed test run.
    """
    if not directory.exists():
        progress.done(f"nothing is kept in {directory}")
        return 0
    down(directory, progress)
    lock = stack.occupy(directory)
    try:
        postgres.forget(directory / "postgres")
        for path in (directory / name for name in STATE if name not in keep):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    finally:
        lock.path.unlink()
        lock.release()
    if not any(directory.iterdir()):
        directory.rmdir()
    progress.done(
        f"forgot everything in {directory}" + (" (built samples and packages stay)" if directory.exists() else "")
    )
    return 0
