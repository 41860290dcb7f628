"""Binds the listeners, starts the workers, replaces the ones that die, and stops them all in order.

It serves no request and holds no guest; it is small so that it never has to be restarted.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from typing import Final

import structlog

from runner.egress import slots
from runner.listener import BACKLOG, stopping
from runner.sandbox import breaker
from runner.sandbox.shares import create_page
from runner.settings import RunnerSettings
from runner.supervisor.replay import ReplayServer, ReplayTable
from runner.worker import DRAIN_S, Place

RESTART_PAUSE_S: Final = 1.0  # a worker that dies at once must not spin
KILL_AFTER_S: Final = DRAIN_S + 3  # beyond its own drain a worker is stuck

_log = structlog.get_logger("supervisor")


def bound(bind: str) -> socket.socket:
    """A listening socket at `host:port`. Raises `OSError` with the address in its text."""
    host, _, port = bind.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, int(port)))
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"cannot listen on {bind}: {error.strerror}") from error
    listener.listen(BACKLOG)
    return listener


class Supervisor:
    """Keeps `RUNNER_WORKERS` processes serving two sockets."""

    def __init__(self, settings: RunnerSettings) -> None:
        self._settings = settings
        self._table = ReplayTable()
        self._internal = bound(settings.runner_bind)
        self._public = bound(settings.runner_public_bind)
        self._shares = create_page()
        self._deaths = breaker.create_page()
        self._fetching = slots.create_page()

    async def run(self) -> None:
        """Until SIGTERM or SIGINT."""
        metrics = Path(tempfile.mkdtemp(prefix="runner-metrics-"))
        environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(metrics)}
        _log.info("listening", internal=self._settings.runner_bind, public=self._settings.runner_public_bind)
        try:
            async with stopping() as stop, asyncio.TaskGroup() as tasks:
                for number in range(self._settings.runner_workers):
                    tasks.create_task(self._keep(number, environment, stop))
                await stop.wait()
                # The workers close theirs as they drain; ours would go on taking connections nobody answers.
                self._internal.close()
                self._public.close()
        finally:
            self._internal.close()
            self._public.close()
            os.close(self._shares)
            os.close(self._deaths)
            os.close(self._fetching)
            shutil.rmtree(metrics, ignore_errors=True)

    async def _keep(self, number: int, environment: dict[str, str], stop: asyncio.Event) -> None:
        while not stop.is_set():
            process = await self._start(number, environment)
            ended = asyncio.create_task(process.wait())
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            if not ended.done():
                await _end(process, ended)
                return
            _log.error("worker_died", worker=number, status=process.returncode)
            try:
                async with asyncio.timeout(RESTART_PAUSE_S):
                    await stop.wait()
            except TimeoutError:
                continue

    async def _start(self, number: int, environment: dict[str, str]) -> asyncio.subprocess.Process:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.create_unix_connection(lambda: ReplayServer(self._table), sock=ours)
        with theirs:
            place = Place(
                self._internal.fileno(),
                self._public.fileno(),
                theirs.fileno(),
                self._shares,
                self._deaths,
                self._fetching,
                number,
            )
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "runner.worker",
                *place.arguments(),
                pass_fds=place.descriptors(),
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                # Ctrl-C reaches the supervisor alone, which then stops the workers in order. A group and no session of
                # its own: the kernel weighs sessions against each other before it looks at what runs in them.
                process_group=0,
            )


async def _end(process: asyncio.subprocess.Process, ended: asyncio.Task[int]) -> None:
    process.terminate()
    try:
        async with asyncio.timeout(KILL_AFTER_S):
            await ended
    except TimeoutError:
        _log.error("worker_stuck", pid=process.pid)
        process.kill()
        await process.wait()
