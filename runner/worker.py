"""One Hypercorn worker process of the runner; started by the supervisor, which bound its listeners."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from typing import Final

import structlog
import uvloop

from runner.app import open_runner
from runner.listener import SLOW_READ_S, listen, make_config, stopping
from runner.settings import RunnerSettings, read_runner
from runner.supervisor.replay import ReplayClient
from shared import logs
from shared.limits import TIMEOUT_MAX_MS

DRAIN_S: Final = TIMEOUT_MAX_MS / 1000 + 2  # the longest call, and time to send its answer

_log = structlog.get_logger("worker")


async def serve(settings: RunnerSettings, internal_fd: int, public_fd: int, replay_fd: int) -> None:
    """Serve both listeners until SIGTERM, then finish what is under way."""
    replay = await ReplayClient.connect(socket.socket(fileno=replay_fd))
    slots = max(1, -(-len(os.sched_getaffinity(0)) // settings.runner_workers)) + 1
    certificate = str(settings.runner_tls_certificate) if settings.runner_tls_certificate else None
    key = str(settings.runner_tls_key) if settings.runner_tls_key else None
    internal = make_config(f"fd://{internal_fd}", graceful_s=DRAIN_S, certificate=certificate, key=key)
    public = make_config(f"fd://{public_fd}", graceful_s=DRAIN_S, read_s=SLOW_READ_S)
    async with stopping() as stop, open_runner(settings, replay, slots) as applications:
        _log.info("worker_ready", pid=os.getpid())
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(listen(applications.internal, internal, stop))
            tasks.create_task(listen(applications.public, public, stop))
            await stop.wait()
            applications.draining.set()
    replay.close()
    _log.info("worker_stopped", pid=os.getpid())


def main() -> None:
    """Entry point: `python -m runner.worker INTERNAL_FD PUBLIC_FD REPLAY_FD`."""
    logs.configure("runner")
    internal_fd, public_fd, replay_fd = (int(word) for word in sys.argv[1:4])
    for descriptor in (internal_fd, public_fd, replay_fd):
        os.set_inheritable(descriptor, False)  # they came through exec; no child of ours may get them
    uvloop.run(serve(read_runner(os.environ), internal_fd, public_fd, replay_fd))


if __name__ == "__main__":
    main()
