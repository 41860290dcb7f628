"""Runs `runner.aot.compile` and tells what came of it: native code, a component at fault, or a machine in trouble.

The kernel bounds the child's processor time and output. Its memory is measured from here: what a limit of the kernel
does to an allocation ends in an abort at best and in a deadlock of the aborting process at worst, while a process that
is killed from outside has simply used too much. The wall clock ends whatever nothing else does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Final

import structlog

from runner.aot.compile import REFUSED
from runner.aot.jobs import CompileLimits
from shared.deadline import Deadline
from shared.errors import ArtefactUnavailable, ComponentInvalid
from shared.limits import COMPILE_WATCH_MS, MIB

RETRY_AFTER_S: Final = 10
_STDERR_MAX_BYTES: Final = 4_096
_ROOT: Final = Path(__file__).resolve().parents[2]  # where `runner` and `shared` are imported from

_log = structlog.get_logger()


async def compile_component(
    source: Path, target: Path, *, fuel: bool, limits: CompileLimits, deadline: Deadline
) -> None:
    """Write the native code of the component `source` to `target`.

    Cancelling kills the child.

    Raises:
        ComponentInvalid: the component cannot be compiled within the limits; the detail says which.
        ArtefactUnavailable: no time is left, or the child was killed from outside.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "runner.aot.compile",
        str(source),
        str(target),
        *("--fuel", "1" if fuel else "0"),
        *("--cpu-s", str(limits.cpu_s)),
        *("--memory-bytes", str(limits.memory_bytes)),
        *("--code-bytes", str(limits.code_bytes)),
        env={},
        cwd=_ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(deadline.remaining_s()):
            said = await _said_or_outgrown(process, limits.memory_bytes)
            status = await process.wait()
    except TimeoutError as error:
        raise ArtefactUnavailable("the compilation did not finish in time", retry_after_s=RETRY_AFTER_S) from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await asyncio.shield(process.wait())
    _judge(status, said, limits)


def _judge(status: int, said: str, limits: CompileLimits) -> None:
    """Return for a child that did its work. Raises as `compile_component`."""
    if status == 0:
        return
    if status == REFUSED:
        raise ComponentInvalid(f"the component does not compile: {said}")
    _log.warning("compilation_failed", status=status, said=said)
    match -status:
        case signal.SIGXCPU:
            raise ComponentInvalid(f"compiling it takes more than {limits.cpu_s} s of processor time")
        case signal.SIGABRT:
            raise _too_much_memory(limits.memory_bytes, " or broke the compiler")
        case signal.SIGSEGV:
            raise ComponentInvalid("compiling it broke the compiler")
    raise ArtefactUnavailable("the compilation failed", retry_after_s=RETRY_AFTER_S)


def _too_much_memory(limit_bytes: int, otherwise: str = "") -> ComponentInvalid:
    return ComponentInvalid(f"compiling it takes more than {limit_bytes // MIB} MiB of memory{otherwise}")


async def _said_or_outgrown(process: asyncio.subprocess.Process, memory_bytes: int) -> str:
    """What the child wrote to standard error until it closed it. Raises `ComponentInvalid` when it outgrows its memory."""
    said = asyncio.create_task(_said(process))
    outgrown = asyncio.create_task(_outgrown(process.pid, memory_bytes))
    try:
        await asyncio.wait({said, outgrown}, return_when=asyncio.FIRST_COMPLETED)
        if said.done():
            return said.result()
        _log.warning("compilation_outgrew_its_memory", memory_bytes=memory_bytes)
        raise _too_much_memory(memory_bytes)
    finally:
        said.cancel()
        outgrown.cancel()
        await asyncio.gather(said, outgrown, return_exceptions=True)


async def _outgrown(pid: int, memory_bytes: int) -> None:
    """Return as soon as more than `memory_bytes` of a process are resident, never for one that is gone."""
    while _resident_bytes(pid) <= memory_bytes:  # noqa: ASYNC110 - another process sends no event
        await asyncio.sleep(COMPILE_WATCH_MS / 1000)


def _resident_bytes(pid: int) -> int:
    """Resident memory (proc(5), `statm`); 0 for a process that has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * resource.getpagesize()


async def _said(process: asyncio.subprocess.Process) -> str:
    """The beginning of what the child wrote to standard error; the rest is read and dropped, so that it never blocks."""
    assert process.stderr is not None
    kept = bytearray()
    while part := await process.stderr.read(_STDERR_MAX_BYTES):
        kept += part[: max(0, _STDERR_MAX_BYTES - len(kept))]
    return kept.decode("utf-8", "replace").strip()
