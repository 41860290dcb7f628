"""One sandbox as the worker sees it: a hostile process behind a socket.

Every frame is checked for kind, turn and size; whatever does not fit kills the process. Time is kept here as well:
at the deadline plus a grace the process is killed, whatever it is doing.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import msgspec

from runner.meter import Meter
from runner.sandbox import frames
from runner.sandbox.arguments import Arguments, ArgumentsError
from runner.sandbox.cpu_time import process_cpu_us
from runner.sandbox.zygote_client import ForkedSandbox, ZygoteProcess
from shared.deadline import Deadline
from shared.debug_event import Level, Stream, text_bytes
from shared.limits import (
    KEEP_RESIDENT_BYTES,
    KILL_GRACE_MS,
    LOG_EVENT_MAX_BYTES,
    LOG_EXECUTION_MAX_BYTES,
    LOG_EXECUTION_MAX_COUNT,
)

PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
READY_MAX_S: Final = 5.0  # fork to ready takes 7 ms
_MEMORY_SHARE: Final = 0.8  # of the limit: a guest that grew this far and then gave up ran out of memory
_LOG_SLACK: Final = 2  # an honest sandbox stays below the limit by itself; twice that is an attack


class Calls(Protocol):
    """What an execution offers its guest, from the worker's side."""

    @property
    def meter(self) -> Meter:
        """Counts this execution."""
        ...

    def log(self, level: Level, stream: Stream, message: str, truncated: bool) -> None:
        """Take one line."""
        ...

    async def answer(self, interface: str, function: str, arguments: Sequence[Any]) -> Any:
        """The value for one host call; never raises."""
        ...


class Died(msgspec.Struct, frozen=True):
    """The process ended during a call: by itself, by a signal, at the deadline, for its size, for breaking the rules."""

    status: int | None
    timed_out: bool = False
    violation: str = ""
    too_large: bool = False

    @property
    def broke_a_rule(self) -> bool:
        """Whether it did what no sandbox does by itself: a frame out of the protocol, a forbidden system call."""
        return bool(self.violation) or self.signal() == signal.SIGSYS

    def signal(self) -> int | None:
        """The signal that ended it, if one did."""
        return os.WTERMSIG(self.status) if self.status is not None and os.WIFSIGNALED(self.status) else None


class Outcome(msgspec.Struct, frozen=True):
    """How one execution ended, and what the process held at that moment.

    Attributes:
        memory_grown_bytes: more than the fresh process, pages kept from earlier calls included.
        call_grown_bytes: more than at the start of this call, which may have reused kept pages.
    """

    result: frames.Done | frames.Failed | Died
    memory_grown_bytes: int
    call_grown_bytes: int

    def used_up(self, limit_bytes: int) -> bool:
        """Whether the guest had come near its memory limit.

        Kept pages of other extensions would make any trap look like that, and kept pages of this one would hide it, so
        both growths have to agree. Below a limit of 20 MiB, kept pages can still hide it.
        """
        share = int(_MEMORY_SHARE * limit_bytes)
        least = max(share - KEEP_RESIDENT_BYTES, limit_bytes // 4)
        return self.memory_grown_bytes >= share and self.call_grown_bytes >= least


class Sandbox(asyncio.Protocol):
    """One process; bound to one tenant by the pool, runs one execution at a time."""

    def __init__(
        self, forked: ForkedSandbox, zygote: ZygoteProcess, components: frozenset[str], arguments: Arguments
    ) -> None:
        self.pid = forked.pid
        self.components = components
        self.tenant: str | None = None
        self.yields = False  # to the guests of other tenants
        self.calls_served = 0
        self.wall: dict[str, str] = {}
        self._pidfd = forked.pidfd
        self._zygote = zygote
        self._arguments = arguments
        self._loop = asyncio.get_running_loop()
        self._reader = frames.FrameReader()
        self._transport: asyncio.Transport | None = None
        self._ready: asyncio.Future[frames.Ready] = self._loop.create_future()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._result: asyncio.Future[frames.Done | frames.Failed | None] | None = None
        self._execution: Calls | None = None
        self._host_call: asyncio.Task[None] | None = None
        self._seq = 0
        self._log_bytes = 0
        self._log_lines = 0
        self._violation = ""
        self._timed_out = False
        self._too_large = False
        self._closing = False
        self._killed = False
        self._statm = os.open(f"/proc/{forked.pid}/statm", os.O_RDONLY | os.O_CLOEXEC)
        self._rss_before = 0
        self._rss_fresh = 0
        self._rss_held = 0
        self._rss_peak = 0
        self._cpu_counted_us = 0  # of its life, by the kernel's clock
        self._began_s = 0.0
        self.idle_since_s = 0.0
        self.trimmed = True
        self.waiting = False
        self.on_waiting: Callable[[bool], None] | None = None
        self.on_closed: Callable[[Sandbox], None] | None = None

    @property
    def alive(self) -> bool:
        """Whether it can take another call. One that was killed cannot, though its answer may have come before it died."""
        return not self._closed.done() and not self._violation and not self._killed

    @property
    def kept_bytes(self) -> int:
        """What it holds more than a fresh one, as last measured."""
        return max(0, self._rss_held - self._rss_fresh)

    async def ready(self) -> None:
        """Wait until the wall stands. Raises `TimeoutError` or `ConnectionError`."""
        async with asyncio.timeout(READY_MAX_S):
            either: set[asyncio.Future[Any]] = {self._ready, self._closed}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not self._ready.done():
            raise ConnectionError("the sandbox died before it was ready")
        self.wall = self._ready.result().wall
        self._rss_fresh = self._rss()

    async def execute(self, frame: frames.Execute, deadline: Deadline, calls: Calls) -> Outcome:
        """Run one call to its end. The process is dead afterwards when the result is `Died`."""
        self._seq = frame.seq
        self._execution = calls
        self._log_bytes = 0
        self._log_lines = 0
        self._timed_out = False
        self._result = self._loop.create_future()
        self._rss_before = self._rss_held = self._rss_peak = self._rss()
        self._began_s = time.perf_counter()  # finer than the loop's clock
        if self.calls_served == 0:
            self._cpu_counted_us = process_cpu_us(self.pid) or 0  # what its start took is nobody's
        self.trimmed = False
        timer = self._loop.call_later(deadline.remaining_s() + KILL_GRACE_MS / 1000, self._kill_late)
        try:
            self._write(frame)
            result = await self._result
        except BaseException:  # cancelled: the caller is gone, and so must the guest be
            self._measure(calls.meter)
            self.kill()
            raise
        finally:
            timer.cancel()
            self._stop_host_call()
            self._execution = None
            self._result = None
        self.calls_served += 1
        self.idle_since_s = self._loop.time()
        grown, in_call = self.kept_bytes, max(0, self._rss_held - self._rss_before)
        if result is None:
            death = await self._zygote.death_of(self.pid)
            self._count(calls.meter, None if death is None else death.cpu_us)
            status = None if death is None else death.status
            return Outcome(Died(status, self._timed_out, self._violation, self._too_large), grown, in_call)
        if isinstance(result, frames.Failed):
            self._write(frames.Release(frame.seq))
        return Outcome(result, grown, in_call)

    def watch(self, max_bytes: int) -> None:
        """End the process when it holds more than `max_bytes`: the engine bounds the guest, this bounds the rest."""
        if self._result is None:
            return
        self._rss_held = self._rss()
        self._rss_peak = max(self._rss_peak, self._rss_held)
        if self._rss_held > max_bytes:
            self._too_large = True
            self.kill()

    def trim(self) -> None:
        """Have it give back what it kept for a next call. Only while nothing runs."""
        self.trimmed = True
        self._write(frames.Trim())

    def kill(self) -> None:
        """End the process now. Harmless when it is dead."""
        self._killed = True
        try:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        except OSError:  # it is dead already, or the descriptor is closed because it is
            return

    def close(self) -> bool:
        """Kill it and close its socket; whether there was anything left to close."""
        if self._closed.done():
            return False
        self._closing = True
        self.kill()
        self.connected()
        return True

    async def wait_closed(self) -> None:
        """Wait until its socket is closed."""
        await asyncio.wait({self._closed})

    # ---- asyncio.Protocol -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream socket has a full transport

    def connected(self) -> None:
        """The event loop is done with connecting: what was given up meanwhile is closed now."""
        if self._closing and self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._violation:
            return
        try:
            for body in self._reader.feed(data):
                self._take(frames.decode_from_sandbox(body))
        except (frames.FrameError, ArgumentsError, msgspec.MsgspecError) as error:
            self._break(f"not a frame: {error}")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio.Protocol's signature
        os.close(self._pidfd)
        os.close(self._statm)
        self._pidfd = self._statm = -1
        self._stop_host_call()
        if self._result is not None and not self._result.done():
            self._result.set_result(None)
        if not self._closed.done():
            self._closed.set_result(None)
        if self.on_closed is not None:
            self.on_closed(self)

    def _take(self, frame: frames.FromHostileSandbox) -> None:
        if isinstance(frame, frames.Ready):
            if self._ready.done():
                self._break("ready twice")
            else:
                self._ready.set_result(frame)
            return
        running = self._result is not None and not self._result.done()
        if not running or frame.seq != self._seq:
            self._break("a frame out of turn")
        elif isinstance(frame, frames.Log):
            self._take_log(frame)
        elif isinstance(frame, frames.AskedHostCall):
            self._start_host_call(frame)
        elif self._host_call is not None:
            self._break("an answer while a host call waits")
        elif self._result is not None and self._execution is not None:
            self._measure(self._execution.meter, frame.cpu_us)
            self._execution.meter.asked(frame.host_calls)
            self._result.set_result(frame)

    def _take_log(self, frame: frames.Log) -> None:
        size = text_bytes(frame.message)
        self._log_bytes += size
        self._log_lines += 1
        if (
            size > LOG_EVENT_MAX_BYTES
            or self._log_bytes > _LOG_SLACK * LOG_EXECUTION_MAX_BYTES
            or self._log_lines > _LOG_SLACK * LOG_EXECUTION_MAX_COUNT
        ):
            self._break("more log than a sandbox sends")
        elif self._execution is not None:
            self._execution.log(frame.level, frame.stream, frame.message, frame.truncated)

    def _start_host_call(self, frame: frames.AskedHostCall) -> None:
        if self._host_call is not None or self._execution is None:
            self._break("two host calls at once")
            return
        arguments = self._arguments.read(frame.interface, frame.function, frame.arguments)
        answering = self._answer(self._execution, frame, arguments)
        self._host_call = self._loop.create_task(answering, name="host-call")
        self._set_waiting(True)

    async def _answer(self, calls: Calls, frame: frames.AskedHostCall, arguments: tuple[Any, ...]) -> None:
        value = await calls.answer(frame.interface, frame.function, arguments)
        self._host_call = None
        self._set_waiting(False)
        self._write(frames.Reply(frame.seq, value))

    def _stop_host_call(self) -> None:
        if self._host_call is not None:
            self._host_call.cancel()
            self._host_call = None
        self._set_waiting(False)

    def _set_waiting(self, waiting: bool) -> None:
        if waiting != self.waiting:
            self.waiting = waiting
            if self.on_waiting is not None:
                self.on_waiting(waiting)

    def _break(self, why: str) -> None:
        self._violation = why
        self.kill()

    def _kill_late(self) -> None:
        self._timed_out = True
        self.kill()

    def _write(self, frame: frames.ToSandbox) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frames.encode(frame))

    def _measure(self, meter: Meter, said_us: int = 0) -> None:
        """Count what the living process holds and has used, by its own words the latter was `said_us`."""
        self._rss_held = self._rss()
        self._rss_peak = max(self._rss_peak, self._rss_held)
        self._count(meter, process_cpu_us(self.pid), said_us)

    def _count(self, meter: Meter, life_us: int | None, said_us: int = 0) -> None:
        """Count processor time: what the kernel knows and nobody has paid for yet, or what the sandbox says if it is more.

        The kernel's figure is behind while the process runs, by what it did since it was last given a core, and right
        when the process sleeps. So a sandbox that says too little pays with its next call, in which everything counts
        that it did in between. Where the kernel says nothing, the elapsed time counts.
        """
        elapsed_us = int((time.perf_counter() - self._began_s) * 1e6)
        unpaid_us = elapsed_us if life_us is None else life_us - self._cpu_counted_us
        used_us = max(0, unpaid_us, min(said_us, elapsed_us))
        self._cpu_counted_us += used_us
        meter.process(used_us, self._rss_peak - self._rss_fresh)

    def _rss(self) -> int:
        if self._statm < 0:
            return 0
        try:
            return int(os.pread(self._statm, 128, 0).split()[1]) * PAGE_BYTES
        except (OSError, IndexError):  # the process is gone: it holds nothing
            return 0
