"""What guests say, at every place where it ends up: bounded, one record a line, and nothing a terminal obeys. Row T28."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import structlog

from gateway.cli.terminal import Terminal
from gateway.debug import sse
from runner.debug.recorder import LogSink, Recorder
from runner.sandbox import frames
from runner.sandbox.pool import SandboxPool
from shared import logs, wire
from shared.debug_event import ExtDebugEvent
from shared.debug_stream import decode_event, encode_event
from shared.limits import LOG_EVENT_MAX_BYTES, LOG_EXECUTION_MAX_BYTES, LOG_EXECUTION_MAX_COUNT, MIB
from tests.runner.api.door import EXTENSION, Runner
from tests.runner.sandbox.driving import Recorded
from tests.security.guests import guest, image, native, raw, words
from tests.security.processes import Guest

GuestOf = Callable[[bytes], Guest]
FAR = 1 * MIB
LOGGING = '(import "alga:extension/logging" (instance $logging (export "log-info" (func (param "message" string)))))'


def logger(text: str, times: int) -> str:
    """A guest that logs the same line again and again."""
    data = "".join(f"\\{octet:02x}" for octet in text.encode())
    return guest(
        f"""(loop $more
              (call $log (i32.const 16384) (i32.const {len(text.encode())}))
              (local.set $n (i32.add (local.get $n) (i32.const 1)))
              (br_if $more (i32.lt_u (local.get $n) (i32.const {times}))))
            (call $answer (i32.const 256) (i32.const 4))""",
        imports=LOGGING,
        lowered={"log": ("(param i32 i32)", '(canon lower (func $logging "log-info") (memory $memory))')},
        definitions=f'(data (i32.const 16384) "{data}")',
    )


PRINTER = guest(  # prints line feeds in pieces of 4 KiB, as often as it can
    """(memory.fill (i32.const 8192) (i32.const 10) (i32.const 4096))
       (local.set $a (call $stdout))
       (loop $more
         (call $write (local.get $a) (i32.const 8192) (i32.const 4096) (i32.const 256))
         (local.set $n (i32.add (local.get $n) (i32.const 1)))
         (br_if $more (i32.lt_u (local.get $n) (i32.const 64))))
       (call $answer (i32.const 256) (i32.const 1))""",
    imports="""
  (import "wasi:io/error@0.2.3" (instance $error (export "error" (type (sub resource)))))
  (alias export $error "error" (type $io-error))
  (import "wasi:io/streams@0.2.3" (instance $streams
    (export "output-stream" (type $out (sub resource)))
    (alias outer 1 $io-error (type $e0)) (export "error" (type $e (eq $e0)))
    (type $failure (variant (case "last-operation-failed" (own $e)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $failure)))
    (type $octets (list u8))
    (export "[method]output-stream.blocking-write-and-flush"
      (func (param "self" (borrow $out)) (param "contents" $octets) (result (result (error $stream-error)))))))
  (alias export $streams "output-stream" (type $output))
  (import "wasi:cli/stdout@0.2.3" (instance $stdout
    (alias outer 1 $output (type $o0)) (export "output-stream" (type $o (eq $o0)))
    (export "get-stdout" (func (result (own $o))))))""",
    lowered={
        "stdout": ("(result i32)", '(canon lower (func $stdout "get-stdout"))'),
        "write": (
            "(param i32 i32 i32 i32)",
            '(canon lower (func $streams "[method]output-stream.blocking-write-and-flush") (memory $memory))',
        ),
    },
)


async def said(guest: Guest, **more: Any) -> list[tuple[str, str, str]]:
    """What one call said: level, stream, message."""
    calls = Recorded()
    await guest.call(calls=calls, timeout_ms=8000, **more)
    return calls.lines


def is_marker(line: tuple[str, str, str]) -> bool:
    """Whether this line says that nothing follows."""
    return line[:2] == ("warn", "system") and "the rest is dropped" in line[2]


# ---- how much -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "text", "times"),
    [
        ("empty lines", "", 20_000),
        ("short lines", "x", 20_000),
        ("long lines", "x" * 4000, 400),
        ("lines of four-byte characters", "𝄞" * 1000, 400),
    ],
)
async def test_t28_a_flood_ends_in_one_marker_and_silence(what: str, text: str, times: int, guest_of: GuestOf) -> None:
    *lines, last = await said(guest_of(native(logger(text, times))))
    assert is_marker(last), what
    assert not any(is_marker(line) for line in lines)
    assert sum(len(line[2].encode()) for line in lines) <= LOG_EXECUTION_MAX_BYTES
    assert len(lines) <= LOG_EXECUTION_MAX_COUNT
    assert {line[2] for line in lines} == {text}


async def test_t28_a_flood_of_printed_line_feeds_ends_likewise(guest_of: GuestOf) -> None:
    *lines, last = await said(guest_of(native(PRINTER)))
    assert is_marker(last)
    assert len(lines) == LOG_EXECUTION_MAX_COUNT
    assert {line[1] for line in lines} == {"stdout"}


@pytest.mark.parametrize("times", [LOG_EXECUTION_MAX_COUNT - 1, LOG_EXECUTION_MAX_COUNT])
async def test_t28_as_many_lines_as_there_may_be_all_arrive(times: int, guest_of: GuestOf) -> None:
    lines = await said(guest_of(native(logger("line", times))))
    assert lines == [("info", "log", "line")] * times


async def test_t28_a_line_of_ten_mebibytes_is_one_event_cut_at_its_limit(pool: SandboxPool) -> None:
    runner = Runner(pool, native(raw()))
    body = image(grow_pages=300, call=4, arguments=words(FAR, 10 * MIB))
    assert (await runner.call(body=body, limits=wire.Limits(memory_mb=64)))[0] == 200
    (event,) = [event for event in runner.sink.events if event.stream == "log"]
    assert event.truncated
    assert len(event.message.encode()) == LOG_EVENT_MAX_BYTES


# ---- what it looks like where it is read ----------------------------------------------------------------------


FORGED = 'harmless\n{"level":"error","msg":"forged"}\r\ndata: forged\n\nevent: forged'
CONTROLS = "".join(map(chr, (*range(32), *range(0x7F, 0xA0))))
DECEIVING = "\u061c\u200b\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"
ESCAPES = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x9b2J"
MESSAGES = [FORGED, CONTROLS, DECEIVING, ESCAPES, FORGED + CONTROLS + DECEIVING + ESCAPES + "ünïcödé stays"]
OBEYED = set(CONTROLS + DECEIVING) - {"\n"}
every_message = pytest.mark.parametrize("message", MESSAGES, ids=["forged", "controls", "marks", "escapes", "all"])


def event(message: str) -> ExtDebugEvent:
    """The event that a guest's line becomes."""
    kept: list[ExtDebugEvent] = []

    class Keep:
        def emit(self, event: ExtDebugEvent) -> None:
            kept.append(event)

    context = wire.Context(
        request_id="r-1",
        tenant_id="acme",
        extension_id=EXTENSION,
        install_id="i",
        version_id="v",
        content_hash="sha256:x",
    )
    Recorder(context, Keep()).record("info", "log", message)
    return kept[0]


def raw_characters(text: str) -> set[str]:
    """What in a text a terminal would obey, or a reader be deceived by."""
    return OBEYED & set(text)


@pytest.fixture
def log_file() -> Iterator[io.StringIO]:
    """The runner's log."""
    before, file = structlog.get_config(), io.StringIO()
    logs.configure("runner", file)
    yield file
    structlog.configure(**before)


@every_message
def test_t28_in_the_runners_log_it_is_one_line_of_json(message: str, log_file: io.StringIO, monkeypatch: Any) -> None:
    monkeypatch.setattr("runner.debug.recorder._log", structlog.get_logger("guest"))
    LogSink().emit(event(message))
    written = log_file.getvalue()
    assert written.count("\n") == 1
    assert raw_characters(written) == set()
    assert json.loads(written)["message"] == message
    assert json.loads(written)["event"] == "guest_line"


@every_message
def test_t28_in_redis_it_is_one_line_of_json(message: str) -> None:
    payload = encode_event(event(message))
    assert b"\n" not in payload
    assert raw_characters(payload.decode()) == set()
    assert decode_event(payload).message == message
    assert "ünïcödé".encode() in payload or "ünïcödé" not in message


@every_message
def test_t28_in_the_event_stream_it_cannot_begin_an_event_of_its_own(message: str) -> None:
    first, second, third, *end = sse.log("1-0", event(message)).decode().split("\n")
    assert (first, second, end) == ("id: 1-0", "event: log", ["", ""])
    assert raw_characters(third) == set()
    assert json.loads(third.removeprefix("data: "))["message"] == message


@every_message
@pytest.mark.parametrize("as_json", [False, True])
def test_t28_on_a_terminal_it_moves_nothing(message: str, as_json: bool) -> None:
    out = io.StringIO()
    terminal = Terminal(json=as_json, out=out, err=io.StringIO())
    terminal.say(message)
    terminal.table(["line"], [[message]])
    terminal.line({"message": message})
    terminal.document({"message": message})
    assert raw_characters(out.getvalue().replace("\t", "")) == set()


async def test_t28_a_name_that_a_guest_chose_is_escaped_in_what_callers_are_told(
    pool: SandboxPool, guest_of: GuestOf
) -> None:
    header = struct.pack("<4I", 65_536 + 200, 4, 65_536 + 200, 0)
    body = image(
        65_536 + 128, data={65_536 + 128: words(200, 65_536 + 160, 1), 65_536 + 160: header, 65_536 + 200: b"\x1b[2J"}
    )
    result = await guest_of(native(raw())).done(body=body, headers=[])
    assert result.headers == [("\x1b[2J", "")]
    _, answer = await Runner(pool, native(raw())).call(body=body)
    assert answer.error is not None
    assert answer.error.code == "guest_response_invalid"
    assert raw_characters(answer.error.message) == set()
    assert isinstance(result, frames.Done)
    assert raw_characters(msgspec.json.encode(answer).decode()) == set()
