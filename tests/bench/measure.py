"""Runs the load generator against one server and adds what the server's processes cost."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from tests.bench.load import ONCE, Result
from tests.bench.progress import say

TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
GRACE_S: Final = 60.0  # for the last answers, and for the generator to start and to end


class SilentError(RuntimeError):
    """The server answered nothing."""


class Load(msgspec.Struct, frozen=True):
    """One request, as often as it goes."""

    url: str
    method: str = "GET"
    headers: dict[str, str] = {}
    body: bytes = b""

    def raw(self) -> bytes:
        """The bytes on the wire."""
        parts = urlsplit(self.url)
        lines = [f"{self.method} {parts.path or '/'} HTTP/1.1", f"host: {parts.netloc}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines.append(f"content-length: {len(self.body)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + self.body


class Measured(msgspec.Struct, frozen=True):
    """What one run showed; `cpu_ms` is of all the server's processes, for one answer; `answers` are all there were."""

    p50_ms: float
    p99_ms: float
    per_s: float
    cpu_ms: float
    answers: int
    failures: int


def descendants(pid: int) -> list[int]:
    """`pid` and every process below it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it ended while we looked
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found


def cpu_s(pid: int) -> float:
    """Processor seconds of `pid` and all below it, those waited for included."""
    total = 0
    for one in descendants(pid):
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(int(field) for field in fields[11:15])
    return total / TICKS_PER_S


def measure(load: Load | Sequence[Load], pid: int, *, connections: int, seconds: float, once: bool = False) -> Measured:
    """Run one request, or several in turn, and relate what was seen to the processor time below `pid`.

    Args:
        pid: of the server.
        seconds: how long; with `once`, at most.
        once: end when each request has been sent once.

    Raises:
        SilentError: there was no answer at all.
    """
    return finish(start(load, connections=connections, seconds=seconds, once=once), pid, seconds=seconds)


def start(
    load: Load | Sequence[Load], *, connections: int, seconds: float, once: bool = False
) -> subprocess.Popen[bytes]:
    """A load generator that runs by itself for `seconds`, or until each request has been sent once."""
    loads = [load] if isinstance(load, Load) else list(load)
    parts = urlsplit(loads[0].url)
    command = [sys.executable, "-m", "tests.bench.load", str(parts.hostname), str(parts.port)]
    command += [str(connections), str(seconds), *([ONCE] if once else [])]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    for one in loads:
        raw = one.raw()
        process.stdin.write(len(raw).to_bytes(4, "little") + raw)
    process.stdin.close()
    return process


def finish(process: subprocess.Popen[bytes], pid: int, *, seconds: float) -> Measured:
    """What a load generator saw, and what the processes below `pid` spent until it ended. Raises `SilentError`."""
    before = cpu_s(pid)
    assert process.stdout is not None
    with process:
        try:
            output = process.stdout.read()
            process.wait(seconds + GRACE_S)
        except BaseException:
            process.kill()
            raise
    return related(msgspec.json.decode(output, type=Result), cpu_s(pid) - before)


def related(result: Result, spent_s: float) -> Measured:
    """What the generator saw, and the processor time for each answer: both from the beginning, warm-up included.

    Raises:
        SilentError: there was no answer, so there is no figure either.
    """
    if result.failures:
        say(f"failures: {', '.join(f'{count} × {what}' for what, count in sorted(result.failures.items()))}")
    if not result.answers:
        raise SilentError(f"no answer in {result.seconds:.1f} s; failures: {result.failures}")
    return Measured(
        p50_ms=result.p50_ms,
        p99_ms=result.p99_ms,
        per_s=result.answers / result.seconds,
        cpu_ms=spent_s / result.answers_in_all * 1000,
        answers=result.answers_in_all,
        failures=sum(result.failures.values()),
    )
