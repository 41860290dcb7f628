"""What a guest answered, checked before anyone else sees it, and what is said when it did not answer."""

from __future__ import annotations

import json
import re
import signal
from typing import Final

from runner.sandbox import frames
from runner.sandbox.process import Died, Outcome
from shared.errors import (
    GuestAborted,
    GuestError,
    GuestMemoryExceeded,
    GuestResponseInvalid,
    GuestTimeout,
    GuestTrapped,
    SandboxViolation,
)
from shared.limits import HEADER_BLOCK_MAX_BYTES, HEADERS_MAX_COUNT, MIB, RESPONSE_BODY_MAX_BYTES

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2 token
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\uffff]*")  # RFC 9110 §5.5, without line breaks and NUL
_SHOWN_CHARS: Final = 64  # of a name in a message
_STATUS_MIN, _STATUS_MAX = 200, 599  # 1xx is the server's own; 600 and above is no HTTP status


def check_answer(done: frames.Done) -> None:
    """Raise `GuestResponseInvalid` for an answer that must not be passed on; says which part."""
    if not _STATUS_MIN <= done.status <= _STATUS_MAX:
        raise GuestResponseInvalid(f"status {done.status} is not between {_STATUS_MIN} and {_STATUS_MAX}")
    if len(done.headers) > HEADERS_MAX_COUNT:
        raise GuestResponseInvalid(f"{len(done.headers)} headers are more than {HEADERS_MAX_COUNT}")
    size = 0
    for number, (name, value) in enumerate(done.headers, 1):
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            # Whole and as JSON, or not at all: a secret in it must stay recognisable for whoever conceals it.
            shown = json.dumps(name) if len(name) <= _SHOWN_CHARS else str(number)
            raise GuestResponseInvalid(f"header {shown} is not a valid header")
        size += len(name) + len(value)
    if size > HEADER_BLOCK_MAX_BYTES:
        raise GuestResponseInvalid(f"{size} bytes of headers are more than {HEADER_BLOCK_MAX_BYTES}")
    if done.body is not None and len(done.body) > RESPONSE_BODY_MAX_BYTES:
        raise GuestResponseInvalid(f"a body of {len(done.body)} bytes is larger than {RESPONSE_BODY_MAX_BYTES}")


def join_headers(pairs: frames.Headers) -> dict[str, str]:
    """One value a name, duplicates joined by `, ` (RFC 9110 §5.3); names in lower case."""
    joined: dict[str, str] = {}
    for name, value in pairs:
        key = name.lower()
        joined[key] = f"{joined[key]}, {value}" if key in joined else value
    return joined


def failure(outcome: Outcome, memory_limit_bytes: int) -> GuestError:
    """The error for an execution without an answer. The guest's own words never go into it."""
    result = outcome.result
    if isinstance(result, Died):
        return _death(result, memory_limit_bytes)
    if isinstance(result, frames.Done):
        raise TypeError("an answered execution has no failure")
    match result.kind:
        case "interrupt":
            return GuestTimeout("the extension did not answer before its deadline")
        case "memory":
            return _memory(memory_limit_bytes)
        case "unreachable" if outcome.used_up(memory_limit_bytes):
            return _memory(memory_limit_bytes)
        case "response":
            return GuestResponseInvalid(result.message)
        case "link":
            return GuestTrapped("the extension imports what this runner does not offer")
        case "stack":
            return GuestTrapped("the extension's call stack overflowed", trap="stack_overflow")
        case _:
            return GuestTrapped("the extension stopped with a fault of its own; its debug stream says where")


def _memory(limit_bytes: int) -> GuestMemoryExceeded:
    return GuestMemoryExceeded(f"the extension needed more than its {limit_bytes // MIB} MiB of memory")


def _death(died: Died, limit_bytes: int) -> GuestError:
    if died.violation:
        return SandboxViolation("the extension's process broke the sandbox protocol")
    if died.timed_out:
        return GuestTimeout("the extension did not answer before its deadline and was stopped")
    if died.signal() == signal.SIGSYS:
        return SandboxViolation("the extension's process tried a forbidden system call")
    if died.too_large:
        return _memory(limit_bytes)
    return GuestAborted("the process that ran the extension died; the next call gets a new one")
