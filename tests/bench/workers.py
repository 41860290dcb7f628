"""Connections that stay with one worker process of the runner.

Each worker has sandboxes of its own, so "this tenant has one already" and "a spare is ready" are facts about a worker,
not about the runner. The kernel gives a new connection to whichever worker is first; who has it can be read from /proc.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

import msgspec

from tests.bench.load import is_whole
from tests.bench.measure import Load
from tests.system.runners import processes_below

ANSWER_MAX_S: Final = 30.0
ATTEMPTS_MAX: Final = 400  # connections until every worker has one; a fair coin needs two or three
WAIT_MAX_S: Final = 10.0
LOOK_S: Final = 0.002  # a fork takes 7 ms
REFUSAL_SHOWN_BYTES: Final = 1_000


class RefusedError(RuntimeError):
    """An answer that is none of the expected. The text has its beginning."""


class Reply(msgspec.Struct, frozen=True):
    """One answer with status 200: its head and body as they came, and how long it took."""

    head: bytes
    body: bytes
    took_ms: float

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Names in lower case and values, in the order in which they came."""
        pairs = (line.partition(b":") for line in self.head.split(b"\r\n")[1:])
        return tuple((name.lower(), value.strip()) for name, _, value in pairs)


class _Sandboxes(msgspec.Struct, frozen=True):
    idle: int
    spare: int
    busy: int


class _Readiness(msgspec.Struct, frozen=True):
    sandboxes: _Sandboxes


class Line:
    """One open connection. Use as a context manager, or `close` it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._url = f"{parts.scheme}://{parts.netloc}"
        self._server_port = parts.port or 80
        self._socket = socket.create_connection((str(parts.hostname), self._server_port), ANSWER_MAX_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def ask(self, load: Load) -> Reply:
        """Send one request and wait for its answer.

        Raises:
            ConnectionError: the server hung up.
            RefusedError: the status is not 200.
        """
        began = time.perf_counter()
        self._socket.sendall(load.raw())
        answer = b""
        while not is_whole(answer):
            part = self._socket.recv(1 << 18)
            if not part:
                raise ConnectionError(f"{self._url} hung up")
            answer += part
        took_ms = (time.perf_counter() - began) * 1000
        head, _, body = answer.partition(b"\r\n\r\n")
        if head[9:12] != b"200":
            raise RefusedError(f"{load.url}: {answer[:REFUSAL_SHOWN_BYTES].decode('utf-8', 'replace')}")
        return Reply(head, body, took_ms)

    def sandboxes(self) -> _Sandboxes:
        """How many sandboxes this worker has, by state."""
        reply = self.ask(Load(f"{self._url}/readyz"))
        return msgspec.json.decode(reply.body, type=_Readiness).sandboxes

    def await_spare(self) -> None:
        """Return when this worker has an unbound sandbox. Raises `TimeoutError`."""
        until = time.monotonic() + WAIT_MAX_S
        while self.sandboxes().spare < 1:
            if time.monotonic() > until:
                raise TimeoutError("no spare sandbox was forked")
            time.sleep(LOOK_S)

    def inode(self) -> str:
        """The number of the server's end, once it was accepted; `""` before."""
        here = self._socket.getsockname()[1]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if (_port(fields[1]), _port(fields[2])) == (self._server_port, here) and fields[9] != "0":
                return fields[9]
        return ""


@contextlib.contextmanager
def one_to_each_worker(url: str, runner: int) -> Iterator[list[Line]]:
    """A connection to each worker of the runner whose supervisor is `runner`.

    Raises:
        LookupError: there are no workers, or one of them never took a connection.
    """
    workers = [pid for pid, command in processes_below(runner).items() if "runner.worker" in command]
    if not workers:
        raise LookupError(f"process {runner} has no workers")
    with contextlib.ExitStack() as open_lines:
        found: dict[int, Line] = {}
        for _ in range(ATTEMPTS_MAX):
            line = open_lines.enter_context(Line(url))
            line.sandboxes()  # now somebody has accepted it
            worker = held_by(workers, line.inode())
            if worker is None or found.setdefault(worker, line) is not line:
                line.close()
            if len(found) == len(workers):
                yield list(found.values())
                return
    raise LookupError(f"{len(workers) - len(found)} of {len(workers)} workers took none of {ATTEMPTS_MAX} connections")


def held_by(pids: Sequence[int], inode: str) -> int | None:
    """Which of these processes has the socket; `None` when none has, or may not be asked."""
    wanted = f"socket:[{inode}]"
    return next((pid for pid in pids if wanted in _open_files(pid)), None)


def _open_files(pid: int) -> Iterator[str]:
    with contextlib.suppress(OSError):  # it ended, or is somebody else's
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # closed while we looked
                yield str(entry.readlink())


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)
