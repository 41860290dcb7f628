"""The programs that `dev` starts: a local stack, the preview of the pages, builds. None outlives it, however it ends.

They belong to other rooms, which are not imported here: each is run as a program, tied to this process by the kernel
(the stack's own tether), and gets the time it needs to end its own children.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.cli.failures import CliError, Exit
from gateway.cli.stack import PLACE
from gateway.cli.terminal import Terminal

ROOT: Final = Path(__file__).resolve().parents[3]  # where `deploy` and `runner` are run from
STACK_START_MAX_S: Final = 900.0  # a first start fetches packages
STACK_STOP_MAX_S: Final = 90.0  # eight children in turn
PREVIEW_START_MAX_S: Final = 20.0
CHILD_STOP_MAX_S: Final = 10.0
_TETHER: Final = ROOT / "deploy" / "local" / "tether.py"
_TAIL_BYTES: Final = 4096


@asynccontextmanager
async def local_stack(folder: Path, terminal: Terminal) -> AsyncIterator[Path]:
    """A stack of this project's own, in its `.local`, until the end of the block; yields its `stack.json`.

    Raises:
        CliError: it did not start.
    """
    place = folder / PLACE
    log = place.parent / "logs" / "stack.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    reader, writer = os.pipe()
    arguments = ("-m", "deploy.local", "up", "--dir", str(place.parent), "--ports", "random", "--samples", "none")
    try:
        with log.open("wb") as output:
            command = _tethered(sys.executable, *arguments, "--ready-fd", str(writer))
            child = await asyncio.create_subprocess_exec(
                *command,
                cwd=ROOT,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=(writer,),
            )
    except BaseException:
        os.close(reader)
        raise
    finally:
        os.close(writer)
    try:
        with terminal.working("starting a local stack (the first time takes minutes)"):
            if not await _is_ready(reader):
                raise CliError(
                    "the local stack did not start",
                    next_step=f"its own words are in {log}; make run in a clone starts one by itself",
                    code="cli_no_stack",
                    details=tuple(_tail(log).splitlines()),
                )
        yield place
    finally:
        os.close(reader)
        await _end(child, STACK_STOP_MAX_S)


@asynccontextmanager
async def preview(folder: Path, extension_id: str, ancestor: str) -> AsyncIterator[str]:
    """The pages of the project as a runner serves them; yields their origin. Raises `CliError`."""
    child = await asyncio.create_subprocess_exec(
        *_tethered(sys.executable, "-m", "runner.assets.preview", str(folder), extension_id, ancestor),
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    assert child.stdout is not None
    try:
        line = b""
        with suppress(TimeoutError):
            async with asyncio.timeout(PREVIEW_START_MAX_S):
                line = await child.stdout.readline()
        if not line.strip().isdigit():
            raise CliError(
                "the pages cannot be served here",
                next_step="alga-ext doctor looks for the usual reasons; --no-page goes without",
                code="cli_no_preview",
            )
        yield f"http://127.0.0.1:{int(line)}"
    finally:
        await _end(child, CHILD_STOP_MAX_S)


async def build(folder: Path) -> dict[str, Any]:
    """`alga-ext build` of a project, as a program of its own: it can be given up half-way, with all it started.

    Returns:
        What `build --json` prints.

    Raises:
        CliError: what the build ended with.
    """
    child = await asyncio.create_subprocess_exec(
        *_tethered(sys.executable, "-m", "gateway.cli.main", "build", str(folder), "--json"),
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        out, err = await child.communicate()
    finally:
        await _end(child, CHILD_STOP_MAX_S, signal.SIGINT)
    try:
        said = msgspec.json.decode(out, type=dict[str, Any])
    except msgspec.MsgspecError:
        said = {"detail": "the build ended without a word", "output": err.decode("utf-8", "replace")}
    if child.returncode != 0:
        raise CliError(
            str(said.get("detail", "the build failed")),
            next_step=str(said.get("next", "alga-ext build says more")),
            code=str(said.get("code", "cli_build_failed")),
            exit_status=Exit.FAILED,
            details=tuple(str(said.get("output", "")).splitlines()),
        )
    return said


def _tethered(program: str, *arguments: str) -> tuple[str, ...]:
    """A command whose process gets SIGTERM when this one ends, SIGKILL included."""
    return (
        sys.executable,
        "-I",
        "-S",
        str(_TETHER),
        str(os.getpid()),
        str(int(signal.SIGTERM)),
        "-",
        program,
        *arguments,
    )


async def _is_ready(reader: int) -> bool:
    """Whether the stack said so through its pipe; its end closes the pipe, so neither can be missed."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    loop.add_reader(reader, told.set)
    try:
        async with asyncio.timeout(STACK_START_MAX_S):
            await told.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(reader)
    return os.read(reader, 64) != b""


async def _end(child: asyncio.subprocess.Process, within_s: float, number: signal.Signals = signal.SIGTERM) -> None:
    if child.returncode is not None:
        return
    with suppress(ProcessLookupError):
        child.send_signal(number)
    try:
        async with asyncio.timeout(within_s):
            await asyncio.shield(child.wait())
    except TimeoutError:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        await child.wait()


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL_BYTES))
        return file.read().decode("utf-8", "replace").strip()
