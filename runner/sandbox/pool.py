"""The pool of sandbox processes of one runner worker.

    unbound spare ──first call of a tenant──▶ bound to it ──▶ idle ⇄ running ──▶ dead

No process ever serves two tenants, so even a native escape meets only its own tenant's requests. Spares are forked
off the request path. Idle bound sandboxes are kept up to a bound, the least recently used goes first. A sandbox maps
the components its zygote had when it was forked; one that lacks the wanted component is replaced by a fresh fork
(about 7 ms), never taught a new one.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

import msgspec
import structlog

from runner.sandbox import frames
from runner.sandbox.arguments import Arguments
from runner.sandbox.engine import EngineOptions
from runner.sandbox.hardening import REQUIRED
from runner.sandbox.idle import Idle
from runner.sandbox.offer import Offer, platform_offer
from runner.sandbox.priority import set_yielding
from runner.sandbox.process import Calls, Died, Outcome, Sandbox
from runner.sandbox.zygote_client import ZygoteError, ZygoteProcess
from shared.deadline import Deadline
from shared.errors import HostError, Overloaded
from shared.limits import (
    SANDBOX_CALLS_MAX,
    SANDBOX_IDLE_MAX,
    SANDBOX_RSS_MAX_BYTES,
    SANDBOX_SPARES,
    SANDBOX_WATCH_MS,
    TRIM_IDLE_S,
)

LoadCode = Callable[[Deadline], Awaitable[int]]
"""Gives a descriptor of authenticated native code; the pool closes it."""

RECYCLE_KINDS: Final = frozenset({"interrupt", "unreachable", "response"})
"""Failures after which the process is as good as before; after any other it is not used again."""
REPLACE_IDLE_S: Final = 1.0  # a tenant that called nothing for so long is flooding no more
RESTART_PAUSE_S: Final = 0.5  # between attempts to bring a dead zygote back

_log = structlog.get_logger("sandbox")


class PoolOptions(msgspec.Struct, frozen=True):
    """Sizes of one worker's pool.

    Attributes:
        sandbox_max: guests that run at once, those waiting in host calls included; `RUNNER_SANDBOX_MAX`.
        idle_max: bound, idle processes kept; `RUNNER_SANDBOX_IDLE_MAX`.
        spares: unbound processes kept ready.
        mapped_max: components the zygote keeps mapped, least recently used goes first.
        kept_max_bytes: what idle processes may keep of their guests' memory; a part of `RUNNER_IDLE_MEMORY_MB`.
        rss_max_bytes: a running process that holds more is killed.
        require_wall: refuse to run guests when a required layer of the wall is off.
    """

    sandbox_max: int
    idle_max: int = SANDBOX_IDLE_MAX
    spares: int = SANDBOX_SPARES
    calls_max: int = SANDBOX_CALLS_MAX
    mapped_max: int = 64
    kept_max_bytes: int = 0
    rss_max_bytes: int = SANDBOX_RSS_MAX_BYTES
    require_wall: bool = True


async def _connected(loop: asyncio.AbstractEventLoop, sandbox: Sandbox, connection: socket.socket) -> None:
    await loop.create_unix_connection(lambda: sandbox, sock=connection)
    sandbox.connected()


class WallError(Overloaded):
    """A required layer of the wall cannot be built here, so no guest may run."""


class SandboxPool:
    """Starts, binds, keeps and ends sandboxes. Use `run` inside the worker's task group."""

    def __init__(self, options: PoolOptions, engine: EngineOptions, offer: Offer | None = None) -> None:
        self._options = options
        self._engine = engine
        self._offer = platform_offer() if offer is None else offer
        self._arguments = Arguments(self._offer.world.interfaces)
        self._zygote: ZygoteProcess | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._mapped: OrderedDict[str, None] = OrderedDict()
        self._loading: dict[str, asyncio.Future[None]] = {}
        self._spares: list[Sandbox] = []
        self._idle = Idle(options.kept_max_bytes)
        self._all: set[Sandbox] = set()
        self._ending: set[Sandbox] = set()  # killed, their sockets not closed yet
        self._refilling = False
        self._connecting: set[asyncio.Task[object]] = set()
        self.wall: dict[str, str] = {}
        self.ready = asyncio.Event()

    # ---- life -----------------------------------------------------------------------------------------------

    async def run(self, started: asyncio.Event) -> None:
        """Keep a zygote alive until cancelled; set `started` once the first sandbox is ready."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                self._tasks.create_task(self._watch(), name="watchdog")
                while True:
                    await self._run_zygote(started)
                    await asyncio.sleep(RESTART_PAUSE_S)
        finally:
            self._tasks = None
            await self._end_all()  # what was still being forked when the zygote was stopped

    async def _watch(self) -> NoReturn:
        while True:
            await asyncio.sleep(SANDBOX_WATCH_MS / 1000)
            for sandbox in self._all:
                sandbox.watch(self._options.rss_max_bytes)

    async def _run_zygote(self, started: asyncio.Event) -> None:
        try:
            zygote = await ZygoteProcess.start(self._engine, self._offer)
        except (ZygoteError, OSError) as error:
            _log.error("zygote_failed", reason=str(error))
            return
        try:
            self._zygote = zygote
            self._mapped.clear()
            first = await self._fork()
            self._spares.append(first)
            self.wall = first.wall
            self.ready.set()
            started.set()
            while not zygote.ended.done():
                await asyncio.wait({zygote.ended}, timeout=TRIM_IDLE_S)
                self._idle.trim(asyncio.get_running_loop().time())
            _log.error("zygote_ended")
        except (ZygoteError, OSError, TimeoutError, WallError) as error:
            _log.error("sandbox_failed", reason=str(error))
        finally:
            self.ready.clear()
            self._zygote = None
            await zygote.stop()
            await self._end_all()

    async def _end_all(self) -> None:
        for sandbox in list(self._all):
            self._discard(sandbox)
        await asyncio.gather(*(sandbox.wait_closed() for sandbox in self._ending))

    # ---- components -----------------------------------------------------------------------------------------

    def has(self, component: str) -> bool:
        """Whether the zygote maps `component`."""
        return component in self._mapped

    async def ensure(self, component: str, load: LoadCode, deadline: Deadline) -> bool:
        """Have `component` mapped; `load` is called once however many wait. Returns whether it was cold.

        Raises whatever `load` raises, and `Overloaded` when there is no zygote.
        """
        if component in self._mapped:
            self._mapped.move_to_end(component)
            return False
        waiting = self._loading.get(component)
        if waiting is not None:
            await asyncio.shield(waiting)
            return True
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._loading[component] = future
        try:
            await self._map(component, await load(deadline))
        except BaseException as error:
            # Those who waited with us try for themselves: this caller's deadline or cancellation is not theirs.
            future.set_exception(error if isinstance(error, HostError) else Overloaded("loading was interrupted"))
            future.exception()
            raise
        else:
            future.set_result(None)
        finally:
            del self._loading[component]
        return True

    async def _map(self, component: str, descriptor: int) -> None:
        try:
            zygote = self._running_zygote()
            await zygote.load(component, descriptor)
        except ZygoteError as error:
            raise Overloaded(f"the component cannot be mapped: {error}", retry_after_s=1) from error
        finally:
            os.close(descriptor)
        self._mapped[component] = None
        if len(self._mapped) > self._options.mapped_max:
            oldest, _ = self._mapped.popitem(last=False)
            await zygote.unload(oldest)
        self._retire_spares()

    def _retire_spares(self) -> None:
        """Spares without the newest component are of little use: fork newer ones in their place."""
        for sandbox in list(self._spares):
            self._discard(sandbox)
        self._refill()

    # ---- sandboxes ------------------------------------------------------------------------------------------

    async def execute(
        self,
        tenant: str,
        frame: frames.Execute,
        deadline: Deadline,
        calls: Calls,
        waiting: Callable[[bool], None],
        *,
        yields: bool = False,
    ) -> Outcome:
        """Run one call in a sandbox of `tenant` that maps `frame.component`.

        Args:
            waiting: told `True` when the guest starts to wait in a host call, `False` when it goes on.
            yields: whether the guest gives way to those of other tenants.

        Raises:
            Overloaded: no sandbox could be started.
        """
        sandbox = await self._obtain(tenant, frame.component, yields)
        if yields and not sandbox.yields:
            sandbox.yields = set_yielding(sandbox.pid, True)
        sandbox.on_waiting = waiting
        try:
            outcome = await sandbox.execute(frame, deadline, calls)
        except BaseException:
            self._discard(sandbox)
            raise
        self._give_back(sandbox, outcome)
        return outcome

    async def _obtain(self, tenant: str, component: str, yields: bool) -> Sandbox:
        limit = self._options.sandbox_max
        if len(self._all) - len(self._idle) - len(self._spares) >= limit:
            raise Overloaded(f"{limit} guests run already; try again later", retry_after_s=1)
        for sandbox in self._idle.of(tenant):
            if component in sandbox.components and sandbox.alive:
                self._idle.leave(sandbox)
                if yields or not sandbox.yields or self._raise(sandbox):
                    return sandbox
        for at, sandbox in enumerate(self._spares):
            if component in sandbox.components and sandbox.alive:
                del self._spares[at]
                sandbox.tenant = tenant
                self._refill()
                return sandbox
        self._make_room()
        try:
            sandbox = await self._fork()
        except (ZygoteError, OSError, TimeoutError) as error:
            raise Overloaded(f"no sandbox could be started: {error}", retry_after_s=1) from error
        sandbox.tenant = tenant
        self._refill()
        return sandbox

    def _raise(self, sandbox: Sandbox) -> bool:
        """Have a sandbox yield no longer; whether it may be used.

        Without the privilege to raise it, one that was idle for a while is replaced. Until then it is used as it is: a
        tenant at the edge of flooding would otherwise pay a fork for each turn.
        """
        sandbox.yields = not set_yielding(sandbox.pid, False)
        if sandbox.yields and asyncio.get_running_loop().time() - sandbox.idle_since_s >= REPLACE_IDLE_S:
            self._discard(sandbox)
            return False
        return True

    def _make_room(self) -> None:
        """End the longest idle sandbox when there are as many processes as there may be."""
        if self._idle and len(self._all) >= self._options.sandbox_max + self._options.idle_max:
            self._discard(self._idle.oldest())

    def _give_back(self, sandbox: Sandbox, outcome: Outcome) -> None:
        result = outcome.result
        worn = sandbox.calls_served >= self._options.calls_max
        broken = isinstance(result, Died) or (isinstance(result, frames.Failed) and result.kind not in RECYCLE_KINDS)
        if worn or broken or not sandbox.alive:
            self._discard(sandbox)
            return
        self._idle.add(sandbox)
        if len(self._idle) > self._options.idle_max:
            self._discard(self._idle.oldest())

    def _discard(self, sandbox: Sandbox) -> None:
        self._forget(sandbox)
        if sandbox.close():
            self._ending.add(sandbox)

    def _closed(self, sandbox: Sandbox) -> None:
        self._ending.discard(sandbox)
        self._forget(sandbox)

    def _forget(self, sandbox: Sandbox) -> None:
        self._all.discard(sandbox)
        self._idle.leave(sandbox)
        if sandbox in self._spares:
            self._spares.remove(sandbox)
            self._refill()

    def _running_zygote(self) -> ZygoteProcess:
        if self._zygote is None:
            raise ZygoteError("the zygote is being restarted")
        return self._zygote

    async def _fork(self) -> Sandbox:
        zygote = self._running_zygote()
        components = frozenset(self._mapped)
        forked = await zygote.fork()
        sandbox = Sandbox(forked, zygote, components, self._arguments)
        self._all.add(sandbox)
        sandbox.on_closed = self._closed
        try:
            # Shielded, since uvloop forgets a connection that is cancelled while it is made: nobody would hear of its end.
            await asyncio.shield(self._connect(sandbox, forked.connection))
            await sandbox.ready()
            self._check_wall(sandbox)
        except BaseException:
            self._discard(sandbox)
            raise
        return sandbox

    def _connect(self, sandbox: Sandbox, connection: socket.socket) -> asyncio.Task[object]:
        loop = asyncio.get_running_loop()
        task = loop.create_task(_connected(loop, sandbox, connection), name="connect")
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        return task

    def _check_wall(self, sandbox: Sandbox) -> None:
        missing = sorted(name for name in REQUIRED if sandbox.wall.get(name) != "on")
        if missing and self._options.require_wall:
            shown = ", ".join(f"{name} ({sandbox.wall.get(name, 'not built')})" for name in missing)
            raise WallError(f"required layers of the sandbox are missing: {shown}")

    def _refill(self) -> None:
        if self._refilling or self._tasks is None or not self.ready.is_set():
            return
        if len(self._spares) >= self._options.spares:
            return
        self._refilling = True
        self._tasks.create_task(self._fork_spares(), name="spares")

    async def _fork_spares(self) -> None:
        try:
            while len(self._spares) < self._options.spares and self.ready.is_set():
                self._spares.append(await self._fork())
        except (ZygoteError, OSError, TimeoutError, WallError) as error:
            _log.warning("spare_failed", reason=str(error))
        finally:
            self._refilling = False

    def counts(self) -> dict[str, int]:
        """Processes by state, for `ext_sandbox_workers`."""
        idle, spare = len(self._idle), len(self._spares)
        return {"idle": idle, "spare": spare, "busy": max(0, len(self._all) - idle - spare)}
