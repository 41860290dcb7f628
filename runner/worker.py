"""One Hypercorn worker process of the runner; started by the supervisor, which bound its listeners."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Final, Self

import msgspec
import structlog
import uvloop

from runner.app import open_runner
from runner.egress.slots import Slots
from runner.listener import SLOW_READ_S, listen, make_config, stopping
from runner.sandbox.breaker import Breaker
from runner.sandbox.fair_queue import FairQueue
from runner.sandbox.hardening import die_with, leave_no_core
from runner.sandbox.shares import Shares
from runner.settings import RunnerSettings, read_runner
from runner.supervisor.replay import ReplayClient
from runner.usable import usable_cores
from shared import logs
from shared.limits import TIMEOUT_MAX_MS

DRAIN_S: Final = TIMEOUT_MAX_MS / 1000 + 2  # the longest call, and time to send its answer

_log = structlog.get_logger("worker")


class Place(msgspec.Struct, frozen=True):
    """What a worker gets from its supervisor: inherited descriptors, and which of the workers it is.

    Attributes:
        internal_fd, public_fd: bound, listening sockets.
        replay_fd: a socket to the table of used tokens.
        shares_fd: the page of what tenants have used.
        breaker_fd: the page of what installs have cost.
        egress_fd: the places of tenants' fetches.
        number: its successor after a crash has the same.
    """

    internal_fd: int
    public_fd: int
    replay_fd: int
    shares_fd: int
    breaker_fd: int
    egress_fd: int
    number: int

    def descriptors(self) -> tuple[int, ...]:
        """Everything that came through exec."""
        return self.internal_fd, self.public_fd, self.replay_fd, self.shares_fd, self.breaker_fd, self.egress_fd

    def arguments(self) -> tuple[str, ...]:
        """The command line that `parse` reads."""
        return tuple(str(word) for word in msgspec.structs.astuple(self))

    @classmethod
    def parse(cls, words: Sequence[str]) -> Self:
        """Read what `arguments` wrote."""
        return cls(*(int(word) for word in words))


async def serve(settings: RunnerSettings, place: Place) -> None:
    """Serve both listeners until SIGTERM, then finish what is under way."""
    replay = await ReplayClient.connect(socket.socket(fileno=place.replay_fd))
    cores, workers = usable_cores(), settings.runner_workers
    slots = max(1, -(-cores // workers)) + 1  # one more, to fill the gaps between two frames
    share = max(cores - 1, cores / 2) / workers  # of a tenant that floods: a core stays free of it, where there are two
    certificate = str(settings.runner_tls_certificate) if settings.runner_tls_certificate else None
    key = str(settings.runner_tls_key) if settings.runner_tls_key else None
    internal = make_config(f"fd://{place.internal_fd}", graceful_s=DRAIN_S, certificate=certificate, key=key)
    public = make_config(f"fd://{place.public_fd}", graceful_s=DRAIN_S, read_s=SLOW_READ_S)
    queue = FairQueue(slots, Shares(place.shares_fd), share=share)
    breaker, fetching = Breaker(place.breaker_fd), Slots(place.egress_fd)
    opened = open_runner(settings, replay, queue, breaker, fetching, place.number)
    async with stopping() as stop, opened as applications:
        _log.info("worker_ready", pid=os.getpid())
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(listen(applications.internal, internal, stop))
            tasks.create_task(listen(applications.public, public, stop))
            await stop.wait()
            applications.draining.set()
    replay.close()
    _log.info("worker_stopped", pid=os.getpid())


def main() -> None:
    """Entry point of the process the supervisor starts."""
    logs.configure("runner")
    leave_no_core()  # it holds keys, and the plaintext of what guests were given
    die_with(os.getppid(), signal.SIGTERM)  # without a supervisor nobody would stop it, or check its tokens
    place = Place.parse(sys.argv[1:])
    for descriptor in place.descriptors():
        os.set_inheritable(descriptor, False)  # they came through exec; no child of ours may get them
    uvloop.run(serve(read_runner(os.environ), place))


if __name__ == "__main__":
    main()
