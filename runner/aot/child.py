"""Runs `runner.aot.compile` and tells what came of it: native code, a component at fault, or a machine in trouble."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import Final

import structlog

from runner.aot.compile import DATA_MAX_BYTES, REFUSED
from shared.deadline import Deadline
from shared.errors import ArtefactUnavailable, ComponentInvalid
from shared.limits import GIB, PREPARE_MAX_S

RETRY_AFTER_S: Final = 10
_STDERR_MAX_BYTES: Final = 4_096
_ROOT: Final = Path(__file__).resolve().parents[2]  # where `runner` and `shared` are imported from
_TOO_MUCH: Final = {
    signal.SIGXCPU: f"compiling it takes more than {PREPARE_MAX_S} s of CPU time",
    signal.SIGABRT: f"compiling it takes more than {DATA_MAX_BYTES // GIB} GiB of memory, or broke the compiler",
    signal.SIGSEGV: "compiling it broke the compiler",
    signal.SIGXFSZ: "its native code is larger than may be stored",
}

_log = structlog.get_logger()


async def compile_component(source: Path, target: Path, *, fuel: bool, deadline: Deadline) -> None:
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
        "--fuel",
        "1" if fuel else "0",
        env={},
        cwd=_ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(deadline.remaining_s()):
            said = await _said(process)
            status = await process.wait()
    except TimeoutError as error:
        raise ArtefactUnavailable("the compilation did not finish in time", retry_after_s=RETRY_AFTER_S) from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await asyncio.shield(process.wait())
    if status == 0:
        return
    if status == REFUSED:
        raise ComponentInvalid(f"the component does not compile: {said}")
    _log.warning("compilation_failed", status=status, said=said)
    if -status in _TOO_MUCH:
        raise ComponentInvalid(_TOO_MUCH[signal.Signals(-status)])
    raise ArtefactUnavailable("the compilation failed", retry_after_s=RETRY_AFTER_S)


async def _said(process: asyncio.subprocess.Process) -> str:
    """The beginning of what the child wrote to standard error; the rest is read and dropped, so that it never blocks."""
    assert process.stderr is not None
    kept = bytearray()
    while part := await process.stderr.read(_STDERR_MAX_BYTES):
        kept += part[: max(0, _STDERR_MAX_BYTES - len(kept))]
    return kept.decode("utf-8", "replace").strip()
