"""A runner's processes from outside: memory, descriptors, zombies, and whether what they hold keeps growing.

Memory is what only this process holds and has changed (`Private_Dirty`, proc_pid_smaps(5)): native code is mapped by
many and would count for each of them. It is read at rest, when sandboxes have given back what they keep between calls,
so that one reading can be compared with the next.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from runner.listener import KEEP_ALIVE_S
from shared.limits import MIB, TRIM_IDLE_S
from tests.system.runners import processes_below, sandboxes_of

DESCRIPTORS_OF_A_SANDBOX: Final = 3  # in its worker: the socket, the pidfd, the file its size is read from
REST_MAX_S: Final = 30.0
GONE_MAX_S: Final = 10.0
_LISTENING: Final = "0A"
_HELD: Final = frozenset({"01", "08"})  # established, and closed by the peer only
_BEGAN: Final = 19  # the place of `starttime`, counted from `state`
STEADY_SHARE: Final = 0.002  # two readings this close to each other are one


Process = tuple[int, int]
"""A process id and when it began, in ticks since the machine did: ids are used again."""


class Reading(msgspec.Struct, frozen=True):
    """A runner at rest.

    Attributes:
        calls: executions so far.
        workers_bytes: held by all worker processes together.
        sandbox_bytes: held by one sandbox, on average.
        descriptors: of supervisor, workers and zygotes, but for those of living sandboxes and of network connections,
            which come and go with their peers.
        processes: every one there is.
    """

    calls: int
    workers_bytes: int
    sandboxes: int
    sandbox_bytes: float
    descriptors: int
    zombies: int
    processes: frozenset[Process]


def private_bytes(pid: int) -> int:
    """What this process alone holds and has changed; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_Dirty:"))


def read(pid: int, calls: int) -> Reading:
    """The runner whose supervisor is `pid`, now."""
    below = processes_below(pid)
    sandboxes = sandboxes_of(pid)
    workers = [one for one, command in below.items() if "runner.worker" in command]
    held = [size for size in map(private_bytes, sandboxes) if size]
    connections = frozenset(f"socket:[{inode}]" for _, state, inode in _tcp() if state != _LISTENING)
    ours = [pid, *(one for one in below if one not in sandboxes)]
    return Reading(
        calls=calls,
        workers_bytes=sum(map(private_bytes, workers)),
        sandboxes=len(sandboxes),
        sandbox_bytes=sum(held) / max(1, len(held)),
        descriptors=sum(_descriptors(one, connections) for one in ours) - DESCRIPTORS_OF_A_SANDBOX * len(sandboxes),
        zombies=sum((_fields(one) or ["?"])[0] == "Z" for one in below),
        processes=frozenset(found for found in map(_process, [pid, *below]) if found is not None),
    )


async def at_rest(pid: int, calls: int) -> Reading:
    """The runner when nothing runs and its sandboxes have given back what they may."""
    async with asyncio.timeout(REST_MAX_S):
        last = read(pid, calls)
        while True:
            await asyncio.sleep(2 * TRIM_IDLE_S + 0.5)  # the pool looks as often, and what it asks for takes a moment
            now = read(pid, calls)
            close = abs(now.sandbox_bytes - last.sandbox_bytes) <= STEADY_SHARE * last.sandbox_bytes
            if close and now.sandboxes == last.sandboxes and now.descriptors == last.descriptors:
                return now
            last = now


def slope_mib(calls: Sequence[int], sizes: Sequence[float]) -> float:
    """Growth of `sizes` in MiB for each 10,000 calls: the slope of the line with the least squares."""
    mean_x, mean_y = sum(calls) / max(1, len(calls)), sum(sizes) / max(1, len(sizes))
    spread = sum((x - mean_x) ** 2 for x in calls)
    together = sum((x - mean_x) * (y - mean_y) for x, y in zip(calls, sizes, strict=True))
    return together / spread * 10_000 / MIB if spread else 0.0


async def left(seen: Iterable[Process]) -> list[int]:
    """Which of these processes are still there when they had time to go; one that only waits to be reaped is not."""
    seen = list(seen)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GONE_MAX_S):
            while any(map(_lives, seen)):  # noqa: ASYNC110 - a process that is not ours to wait for sends no event
                await asyncio.sleep(0.1)
    return [process[0] for process in seen if _lives(process)]


async def connections_left(port: int) -> int:
    """Connections a listener still holds when everybody has gone and its keep-alive has passed."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(KEEP_ALIVE_S + GONE_MAX_S):
            while _held_at(port):  # noqa: ASYNC110 - the same for a socket
                await asyncio.sleep(0.2)
    return _held_at(port)


def _held_at(port: int) -> int:
    return sum(local.endswith(f":{port:04X}") and state in _HELD for local, state, _ in _tcp())


def _tcp() -> list[tuple[str, str, str]]:
    """Local address, state and inode of every TCP socket of this machine (proc_net(5))."""
    found: list[tuple[str, str, str]] = []
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            found.append((fields[1], fields[3], fields[9]))
    return found


def _descriptors(pid: int, connections: frozenset[str]) -> int:
    count = 0
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                count += str(entry.readlink()) not in connections
    return count


def _lives(process: Process) -> bool:
    return _process(process[0]) == process and _fields(process[0])[:1] not in ([], ["Z"])


def _process(pid: int) -> Process | None:
    fields = _fields(pid)
    return (pid, int(fields[_BEGAN])) if fields else None


def _fields(pid: int) -> list[str]:
    """What the kernel says of a process, from its state on (proc_pid_stat(5)); nothing when it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
