"""A sandbox process that has been taken over and speaks to the runner as it likes. Rows T19, T20 and T28, from outside.

The process here is a real one that does nothing but hold its socket, to which the test writes. Whatever breaks the rules of
`runner/sandbox/frames.py` costs the process its life and reaches nobody.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio

from runner.sandbox import frames
from runner.sandbox.arguments import Arguments
from runner.sandbox.control import Died as DeathNotice
from runner.sandbox.process import Died, Sandbox
from runner.sandbox.zygote_client import ForkedSandbox
from shared.deadline import Deadline
from shared.limits import (
    FRAME_MAX_BYTES,
    LIFTED_LIST_MAX_COUNT,
    LOG_EVENT_MAX_BYTES,
    LOG_EXECUTION_MAX_BYTES,
    LOG_EXECUTION_MAX_COUNT,
)
from shared.wit_parser import load_world
from tests.runner.sandbox.driving import Recorded

SEQ = 7
EXECUTE = frames.Execute(
    seq=SEQ,
    component="c",
    timeout_ms=5000,
    memory_bytes=1 << 20,
    context=("r", "t", "e", None, None),
    method="GET",
    url="/",
    headers=[],
    body=None,
    capabilities=(),
    user="not-available",
    config=[],
)


class Reaper:
    """Waits for the process, as the zygote does."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    async def death_of(self, pid: int) -> DeathNotice:
        status = await asyncio.to_thread(self._process.wait)
        return DeathNotice(pid, -status, 0)


class Taken:
    """A process in somebody else's hands, in the middle of a call."""

    def __init__(self, process: subprocess.Popen[bytes], sandbox: Sandbox, ours: socket.socket) -> None:
        self.process, self.sandbox, self._socket = process, sandbox, ours
        self.calls = Recorded()
        self._running: asyncio.Task[Died | frames.Done | frames.Failed] | None = None

    async def begin(self) -> None:
        """Announce itself and take a call."""
        await self.say(frames.Ready(self.process.pid, {}))
        await self.sandbox.ready()

        async def run() -> Died | frames.Done | frames.Failed:
            return (await self.sandbox.execute(EXECUTE, Deadline.after_ms(5000), self.calls)).result

        self._running = asyncio.create_task(run())
        await self.hear()

    async def hear(self) -> None:
        """Take what the runner sent."""
        await asyncio.to_thread(self._socket.recv, 65_536)

    async def say(self, *said: frames.FromSandbox | bytes) -> None:
        """Write frames, or bytes as they are."""
        await asyncio.to_thread(self._say, *said)

    def _say(self, *said: frames.FromSandbox | bytes) -> None:
        for one in said:
            try:
                self._socket.sendall(one if isinstance(one, bytes) else frames.encode(one))
            except OSError:  # the runner has hung up already
                return

    async def end(self) -> Died | frames.Done | frames.Failed:
        """How the call ended for the runner."""
        assert self._running is not None
        self._socket.close()  # the process still has it, while it lives
        return await self._running


@pytest_asyncio.fixture(loop_scope="session")
async def taken() -> AsyncIterator[Taken]:
    theirs, ours = socket.socketpair()
    theirs.setblocking(False)
    process = subprocess.Popen(["sleep", "60"], stdin=subprocess.DEVNULL, pass_fds=[ours.fileno()])
    forked = ForkedSandbox(process.pid, os.pidfd_open(process.pid), theirs)
    sandbox = Sandbox(forked, Reaper(process), frozenset(), Arguments(load_world().interfaces))  # type: ignore[arg-type]
    await asyncio.get_running_loop().create_unix_connection(lambda: sandbox, sock=theirs)
    try:
        found = Taken(process, sandbox, ours)
        await found.begin()
        yield found
    finally:
        sandbox.close()
        await sandbox.wait_closed()
        ours.close()
        process.kill()
        process.wait()


def line(message: str, **changes: object) -> frames.Log:
    """A line of the call under way."""
    return msgspec.structs.replace(frames.Log(SEQ, "info", "log", message, truncated=False), **changes)


def array(*items: object) -> bytes:
    """A frame's bytes with whatever is in it."""
    body = msgspec.msgpack.encode(list(items))
    return frames.LENGTH.pack(len(body)) + body


ASKED = frames.HostCall(SEQ, "storage", "get", ["a", "b"])
PAIRS = [("", "")] * (LIFTED_LIST_MAX_COUNT + 1)
MANY_HEADERS = array(12, SEQ, "http", "fetch", [["GET", "https://a.example/", PAIRS, None]])
MANY_HEADERS_BACK = array(13, SEQ, 200, PAIRS, None, 0, 0)
DONE = frames.Done(seq=SEQ, status=200, headers=[], body=b"", cpu_us=0, host_calls=0)


@pytest.mark.parametrize(
    ("what", "said", "violation"),
    [
        ("no MessagePack", [frames.LENGTH.pack(1) + b"\xc1"], "not a frame"),
        ("an unknown kind", [array(99, SEQ)], "not a frame"),
        ("a kind of the runner's own", [array(2, SEQ, None)], "not a frame"),
        ("a wrong type", [array(13, SEQ, "200", [], None, 0)], "not a frame"),
        ("a field too many", [array(11, SEQ, "info", "log", "m", False, 1)], "not a frame"),
        ("an unknown level", [array(11, SEQ, "fatal", "log", "m", False)], "not a frame"),
        ("a length above the limit", [frames.LENGTH.pack(FRAME_MAX_BYTES + 1)], "not a frame"),
        ("a length of all ones", [b"\xff\xff\xff\xff"], "not a frame"),
        ("a nesting without end", [frames.LENGTH.pack(200_000) + b"\x91" * 200_000], "not a frame"),
        ("a question nobody answers", [array(12, SEQ, "storage", "drop-all", [])], "not a frame"),
        ("a question with too few words", [array(12, SEQ, "storage", "get", ["a"])], "not a frame"),
        ("a question with a word of another type", [array(12, SEQ, "storage", "get", ["a", 1])], "not a frame"),
        ("a question made of lists within lists", [array(12, SEQ, "storage", "get", ["a", [[[[]]]]])], "not a frame"),
        ("a list longer than may cross", [MANY_HEADERS], "not a frame"),
        ("an answer of more headers than may cross", [MANY_HEADERS_BACK], "not a frame"),
        ("another call's number", [msgspec.structs.replace(DONE, seq=SEQ - 1)], "out of turn"),
        ("ready a second time", [frames.Ready(1, {})], "ready twice"),
        ("two questions at once", [ASKED, ASKED], "two host calls at once"),
        ("an answer while it asks", [ASKED, DONE], "an answer while a host call waits"),
        ("a line that is too long", [line("x" * (LOG_EVENT_MAX_BYTES + 1))], "more log than a sandbox sends"),
        ("a line of too many bytes", [line("ä" * LOG_EVENT_MAX_BYTES)], "more log than a sandbox sends"),
        (
            "more bytes of lines than an honest one",
            [line("x" * LOG_EVENT_MAX_BYTES)] * (3 * LOG_EXECUTION_MAX_BYTES // LOG_EVENT_MAX_BYTES),
            "more log than a sandbox sends",
        ),
        ("more lines than an honest one", [line("")] * (3 * LOG_EXECUTION_MAX_COUNT), "more log than a sandbox sends"),
    ],
)
async def test_t20_a_process_that_breaks_the_protocol_is_killed_at_once(
    what: str, said: list[frames.FromSandbox | bytes], violation: str, taken: Taken
) -> None:
    taken.calls.gate = asyncio.Event()
    await taken.say(*said)
    result = await taken.end()
    assert isinstance(result, Died), what
    assert violation in result.violation
    assert result.signal() == signal.SIGKILL


async def test_t28_a_flood_from_a_process_that_was_taken_over_is_cut_at_twice_what_an_honest_one_sends(
    taken: Taken,
) -> None:
    await taken.say(*[line("forged")] * (10 * LOG_EXECUTION_MAX_COUNT))
    result = await taken.end()
    assert isinstance(result, Died)
    assert len(taken.calls.lines) == 2 * LOG_EXECUTION_MAX_COUNT


async def test_t20_a_process_that_keeps_to_the_protocol_is_heard(taken: Taken) -> None:
    await taken.say(line("fine"), ASKED)
    await taken.hear()
    await taken.say(DONE)
    assert await taken.end() == DONE
    assert taken.calls.lines == [("info", "log", "fine")]
