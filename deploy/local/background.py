"""The stack as a process of its own: left running (`up --detach`), or tied to us as a fixture of tests.

Its progress is shown while it starts. It says that it is ready through a pipe, and its end closes the pipe, so
neither can be missed.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from deploy.local import record, stack
from deploy.local.failures import StackError
from deploy.local.processes import TETHER

ROOT: Final = Path(__file__).resolve().parents[2]
START_MAX_S: Final = 900.0  # a first start on a slow machine: packages, three guest builds, initdb
STOP_MAX_S: Final = 90.0  # eight children in turn, most of them at once
SHOW_S: Final = 0.2  # how often new lines are copied to the screen


def detached(options: stack.Options) -> None:
    """Start the stack, show its progress, return when it is ready; it lives on.

    Raises:
        StackError: it ended instead, or was not ready in time.
    """
    with _launched(options, ()) as (child, reader, log):
        try:
            _await_ready(child, reader, log, sys.stdout)
        except BaseException:
            _end(child)
            raise
        print(f"  stop it with: python -m deploy.local down --dir {options.directory}", flush=True)


@contextlib.contextmanager
def attached(options: stack.Options) -> Iterator[record.Stack]:
    """The running stack, as `stack.json` describes it; stopped at the end, and by the kernel when we are killed.

    Raises:
        StackError: it did not start; carries the tail of its output.
    """
    tether = (sys.executable, "-I", "-S", str(TETHER), str(os.getpid()), str(int(signal.SIGTERM)), "-")
    with _launched(options, tether) as (child, reader, log):
        try:
            _await_ready(child, reader, log, None)
            yield record.read(options.directory)
        finally:
            _end(child)


@contextlib.contextmanager
def _launched(options: stack.Options, wrapper: tuple[str, ...]) -> Iterator[tuple[subprocess.Popen[bytes], int, Path]]:
    log = options.directory / "logs" / "stack.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    reader, writer = os.pipe()
    command = (sys.executable, "-m", "deploy.local", "up", "--dir", str(options.directory))
    chosen = ("--samples", ",".join(options.samples) or "none", "--ready-fd", str(writer))
    ports = ("--ports", "random" if options.random_ports else "default")
    try:
        with log.open("wb") as output:
            child = subprocess.Popen(
                (*wrapper, *command, *chosen, *ports),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(writer,),
            )
        os.close(writer)
        yield child, reader, log
    finally:
        os.close(reader)


def _await_ready(child: subprocess.Popen[bytes], reader: int, log: Path, show: IO[str] | None) -> None:
    deadline = time.monotonic() + START_MAX_S
    with log.open(encoding="utf-8", errors="replace") as lines:
        while time.monotonic() < deadline:
            told, _, _ = select.select((reader,), (), (), SHOW_S)
            ready = bool(told) and os.read(reader, 64) != b""  # empty: the pipe was closed by the child's end
            if show is not None:
                show.write(lines.read())
                show.flush()
            if ready:
                return
            if told:
                child.wait(STOP_MAX_S)
                if show is not None:
                    show.write(lines.read())
                raise StackError(
                    "the stack did not start",
                    log=None if show is not None else log,
                    next_step=f"its own words are in {log}",
                )
    raise StackError(f"the stack was not ready within {START_MAX_S:g} s", log=log)


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(STOP_MAX_S)
    except subprocess.TimeoutExpired:
        child.kill()  # its own children are tied to it
        child.wait()
