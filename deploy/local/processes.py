"""Child processes: started in their own group, tied to our life, probed until ready, stopped for certain.

A child is ready when its own protocol says so, never after a pause. It is stopped with the signal it takes for a
polite request; what is left of its process group after the grace is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import IO, Final

import msgspec

from deploy.local.failures import StackError

Probe = Callable[[], Awaitable[bool]]

POLL_S: Final = 0.02  # between two probes of a starting child
_PASSED_ON: Final = ("PATH", "HOME", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR")
TETHER: Final = Path(__file__).with_name("tether.py")


class Owner(msgspec.Struct, frozen=True):
    """The user a child runs as."""

    uid: int
    gid: int


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """What to start.

    Attributes:
        name: how messages call it.
        argv: absolute path of the program and its arguments. No secrets: every user of the machine sees them.
        env: the complete environment; nothing is inherited.
        log: file for standard output and error; the previous run's becomes `<name>.old`.
        cwd: working directory.
        owner: the user to run as; `None` = ours. Another one needs root.
        stop_with: the signal that asks for an orderly end.
        orphan_with: the signal the kernel sends when we end without having stopped it.
        stop_s: how long the orderly end may take before the group is killed.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    log: Path
    cwd: Path
    owner: Owner | None = None
    stop_with: signal.Signals = signal.SIGTERM
    orphan_with: signal.Signals = signal.SIGKILL
    stop_s: float = 10.0


class Child:
    """A running program. Made by `running`."""

    def __init__(self, program: Program, process: asyncio.subprocess.Process) -> None:
        self.name = program.name
        self.pid = process.pid
        self.log = program.log
        self._program = program
        self._exit = asyncio.create_task(process.wait(), name=f"exit of {program.name}")

    async def exited(self) -> int:
        """Wait for the end and return the exit status (negative: the signal that ended it)."""
        return await asyncio.shield(self._exit)

    async def until(self, probe: Probe, *, within_s: float) -> None:
        """Return when `probe` says yes. Raises `StackError` when the child ends first or time runs out."""
        try:
            async with asyncio.timeout(within_s):
                while not await probe():
                    done, _ = await asyncio.wait({self._exit}, timeout=POLL_S)
                    if done:
                        raise self._failed(f"ended with status {self._exit.result()} while starting")
        except TimeoutError as error:
            raise self._failed(f"was not ready within {within_s:g} s") from error

    def _failed(self, what: str) -> StackError:
        return StackError(f"{self.name} {what}", log=self.log, next_step=f"the whole log is in {self.log}")

    async def stop(self) -> None:
        """End the child and everything in its process group. Safe to call twice."""
        try:
            if not self._exit.done():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, self._program.stop_with)
                await asyncio.wait({self._exit}, timeout=self._program.stop_s)
        finally:  # also when we are cancelled while waiting
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)  # a session leader's pid is its group's id
        await asyncio.shield(self._exit)


@contextlib.asynccontextmanager
async def running(program: Program) -> AsyncIterator[Child]:
    """Start `program`, yield the child, stop it on the way out whatever happened.

    Raises:
        OSError: the program's log cannot be written.
    """
    with _open_log(program.log) as log:
        owner = f"{program.owner.uid}:{program.owner.gid}" if program.owner else "-"
        tether = (sys.executable, "-I", "-S", str(TETHER), str(os.getpid()), str(int(program.orphan_with)), owner)
        process = await asyncio.create_subprocess_exec(
            *tether,
            *program.argv,
            env=dict(program.env),
            cwd=program.cwd,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    child = Child(program, process)
    try:
        yield child
    finally:
        await child.stop()


async def finish(program: Program, *, within_s: float) -> None:
    """Run `program` to its end. Raises `StackError` when it fails or takes longer than `within_s`."""
    async with running(program) as child:
        try:
            async with asyncio.timeout(within_s):
                status = await child.exited()
        except TimeoutError as error:
            raise StackError(f"{program.name} did not finish within {within_s:g} s", log=program.log) from error
    if status != 0:
        raise StackError(f"{program.name} failed with status {status}", log=program.log)


def plain_environment() -> dict[str, str]:
    """The few variables any program may need; a person's own settings stay out of the stack's processes."""
    return {"LC_ALL": "C.UTF-8", **{name: os.environ[name] for name in _PASSED_ON if name in os.environ}}


def _open_log(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        path.replace(path.with_name(f"{path.name}.old"))
    return open(path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600))
