"""The worker's side of the zygote: start it, have components mapped, have sandboxes forked, learn of deaths."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections import deque
from pathlib import Path
from typing import Final, Self

import msgspec

from runner.sandbox import control
from runner.sandbox.engine import EngineOptions, engine_id
from runner.sandbox.offer import Offer, written

START_MAX_S: Final = 20.0  # importing takes about 0.2 s; a machine under pressure twenty times that
REPLY_MAX_S: Final = 10.0  # a fork takes 1 ms, mapping 40 MB takes 3
STATUS_MAX_S: Final = 1.0  # how long a death notice may lag behind the closed socket
DEATHS_KEPT_MAX: Final = 256  # notices nobody has asked for; whoever asks does so within that second
_ROOT: Final = Path(__file__).resolve().parents[2]
_PROGRAM: Final = Path(__file__).with_name("zygote.py")


class ZygoteError(Exception):
    """The zygote refused, or is gone. The text says what happened."""


class ForkedSandbox(msgspec.Struct, frozen=True):
    """A fresh sandbox: its process and the worker's end of its socket. The holder closes both descriptors."""

    pid: int
    pidfd: int
    connection: socket.socket


class ZygoteProcess:
    """One running zygote. Make it with `start`, end it with `stop`."""

    def __init__(self, process: asyncio.subprocess.Process, connection: socket.socket) -> None:
        self._process = process
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[asyncio.Future[tuple[control.FromZygote, list[int]]]] = deque()
        self._deaths: dict[int, control.Died] = {}
        self._death_waiters: dict[int, asyncio.Future[control.Died]] = {}
        self.ended = self._loop.create_future()
        self._loop.add_reader(connection.fileno(), self._readable)

    @classmethod
    async def start(cls, options: EngineOptions, offer: Offer) -> Self:
        """Exec a zygote with an empty environment and wait until it can fork. Raises `ZygoteError`."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs, written(offer) as offered:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                str(_PROGRAM),
                str(theirs.fileno()),
                "1" if options.fuel else "0",
                str(_ROOT),
                pass_fds=[theirs.fileno()],
                env={},
                stdin=offered,
                stdout=asyncio.subprocess.DEVNULL,
            )
        zygote = cls(process, ours)
        try:
            reply, _ = await zygote._reply(START_MAX_S)
        except BaseException:
            await zygote.stop()
            raise
        if reply != control.Started(engine_id(options)):
            await zygote.stop()
            raise ZygoteError(f"the zygote started wrongly: {reply}")
        return zygote

    async def load(self, component: str, descriptor: int) -> None:
        """Map the native code in `descriptor` as `component`; the caller keeps the descriptor."""
        await self._ask(control.Load(component), descriptor)

    async def unload(self, component: str) -> None:
        """Forget `component`; sandboxes forked before keep it."""
        await self._ask(control.Unload(component))

    async def fork(self) -> ForkedSandbox:
        """A new sandbox process, not yet ready. Raises `ZygoteError`."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            with theirs:
                reply, descriptors = await self._ask(control.Fork(), theirs.fileno())
        except BaseException:
            ours.close()
            raise
        if not isinstance(reply, control.Forked) or len(descriptors) != 1:
            ours.close()
            raise ZygoteError(f"the zygote answered {reply} to a fork")
        return ForkedSandbox(reply.pid, descriptors[0], ours)

    async def death_of(self, pid: int) -> control.Died | None:
        """How sandbox `pid` ended and what it used; `None` when no notice came in time."""
        if pid in self._deaths:
            return self._deaths.pop(pid)
        waiter = self._death_waiters.setdefault(pid, self._loop.create_future())
        try:
            async with asyncio.timeout(STATUS_MAX_S):
                return await waiter
        except TimeoutError:
            return None
        finally:
            self._death_waiters.pop(pid, None)
            self._deaths.pop(pid, None)

    async def stop(self) -> None:
        """Kill the zygote; its sandboxes die with it (PDEATHSIG)."""
        if not self._connection._closed:  # type: ignore[attr-defined]
            self._loop.remove_reader(self._connection.fileno())
            self._connection.close()
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        self._fail(ZygoteError("the zygote was stopped"))

    async def _ask(self, message: control.ToZygote, *descriptors: int) -> tuple[control.FromZygote, list[int]]:
        if self.ended.done():
            raise ZygoteError("the zygote is gone")
        try:
            socket.send_fds(self._connection, [control.encode(message)], list(descriptors))
        except OSError as error:
            raise ZygoteError(f"the zygote cannot be reached: {error}") from error
        reply, received = await self._reply(REPLY_MAX_S)
        if isinstance(reply, control.Refused):
            raise ZygoteError(reply.reason)
        return reply, received

    async def _reply(self, limit_s: float) -> tuple[control.FromZygote, list[int]]:
        future: asyncio.Future[tuple[control.FromZygote, list[int]]] = self._loop.create_future()
        self._waiting.append(future)
        try:
            async with asyncio.timeout(limit_s):
                return await future
        except TimeoutError as error:
            raise ZygoteError("the zygote did not answer in time") from error

    def _readable(self) -> None:
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._connection, control.MESSAGE_MAX_BYTES, 1)
            except BlockingIOError:
                return
            except OSError as error:
                self._end(ZygoteError(f"the zygote's socket failed: {error}"))
                return
            if not data:
                self._end(ZygoteError("the zygote ended"))
                return
            self._take(control.decode_from_zygote(data), descriptors)

    def _take(self, message: control.FromZygote, descriptors: list[int]) -> None:
        if isinstance(message, control.Died):
            waiter = self._death_waiters.get(message.pid)
            if waiter is not None and not waiter.done():
                waiter.set_result(message)
            else:
                self._deaths[message.pid] = message
                if len(self._deaths) > DEATHS_KEPT_MAX:
                    del self._deaths[next(iter(self._deaths))]
            return
        if isinstance(message, control.Forked):
            self._deaths.pop(message.pid, None)  # of an earlier process that had the same number
        future = self._waiting.popleft() if self._waiting else None
        if future is None or future.done():  # the asker was cancelled: nobody will use the sandbox
            for descriptor in descriptors:
                os.close(descriptor)
            return
        future.set_result((message, descriptors))

    def _end(self, error: ZygoteError) -> None:
        self._loop.remove_reader(self._connection.fileno())
        self._connection.close()
        self._fail(error)

    def _fail(self, error: ZygoteError) -> None:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_exception(error)
        if not self.ended.done():
            self.ended.set_result(None)
