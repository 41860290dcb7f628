"""The host, as a guest sees it from inside its sandbox.

What came along with the request (context, user, config) is answered here; log lines are sent without waiting;
everything else asks the parent and blocks for its reply. What is not granted is refused here, to save the trip, and
again by the parent, to be safe. Nothing in this module raises towards the guest: `linking` turns any exception into
the function's own failure value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from runner.sandbox import frames
from runner.sandbox.channel import Channel
from shared.capabilities import INTERFACES
from shared.debug_event import Level, Stream, cut_text, text_bytes
from shared.limits import (
    HOST_CALLS_MAX,
    LOG_EVENT_MAX_BYTES,
    LOG_EXECUTION_MAX_BYTES,
    LOG_EXECUTION_MAX_COUNT,
)
from shared.wit_answers import denied_answer, failed_answer, has_error_type
from shared.wit_types import Function

_LEVELS: Final[dict[str, Level]] = {"log-info": "info", "log-warn": "warn", "log-error": "error"}
_USER_V1_FIELDS: Final = 6  # `user-data` is the first six fields of `user-data-v2`


class HostCallLimitError(Exception):
    """The guest made more awaited host calls than one execution may."""


class GuestHost:
    """Answers host calls of the execution that `begin` announced."""

    def __init__(self, channel: Channel, capabilities: Mapping[str, str] = INTERFACES) -> None:
        self._channel = channel
        self._capabilities = capabilities
        self._frame: frames.Execute | None = None
        self._granted: frozenset[str] = frozenset()
        self._told: set[str] = set()
        self._refused: set[str] = set()
        self._log_bytes = 0
        self._log_lines = 0
        self.host_calls = 0
        self._local: dict[str, Callable[[frames.Execute, str, Sequence[Any]], Any]] = {
            "context": self._context,
            "user": self._user,
            "user-v2": self._user_v2,
            "config": self._config,
            "logging": self._logging,
        }

    def begin(self, frame: frames.Execute) -> None:
        """Forget the last execution and serve this one."""
        self._frame = frame
        self._granted = frozenset(frame.capabilities)
        self._told = set()
        self._refused = set()
        self._log_bytes = 0
        self._log_lines = 0
        self.host_calls = 0

    def call(self, interface: str, function: Function, arguments: Sequence[Any]) -> Any:
        """The answer to one host call, of the function's result type."""
        frame = self._frame
        if frame is None:
            raise RuntimeError("a host call outside of an execution")
        self.host_calls += 1
        capability = self._capabilities[interface]
        if capability not in self._granted:
            return self._denied(frame, interface, function, capability)
        local = self._local.get(interface)
        if local is not None:
            return local(frame, function.name, arguments)
        return self._ask(frame, interface, function, arguments)

    def refuse(self, interface: str, function: Function, reason: str) -> Any:
        """The answer to a call whose arguments are larger than may cross; said once for each interface."""
        self.host_calls += 1
        frame, capability = self._frame, self._capabilities[interface]
        if frame is not None and capability not in self._granted:
            return self._denied(frame, interface, function, capability)
        if interface not in self._refused:
            self._refused.add(interface)
            self.log("warn", "system", f"{interface}.{function.name}: not called; {reason}")
        return failed_answer(function)

    def _denied(self, frame: frames.Execute, interface: str, function: Function, capability: str) -> Any:
        if interface not in self._told:
            self._told.add(interface)
            level: Level = "warn" if has_error_type(function) else "info"
            message = f"{interface}.{function.name}: denied; granting {capability} to this install would allow it"
            self._channel.send(frames.Log(frame.seq, level, "system", message, truncated=False))
        return denied_answer(function, capability)

    def _ask(self, frame: frames.Execute, interface: str, function: Function, arguments: Sequence[Any]) -> Any:
        if self.host_calls > HOST_CALLS_MAX:
            raise HostCallLimitError
        self._channel.send(frames.HostCall(frame.seq, interface, function.name, list(arguments)))
        reply = self._channel.receive()
        if not isinstance(reply, frames.Reply) or reply.seq != frame.seq:
            raise RuntimeError("the parent answered out of turn")
        return reply.value

    # ---- answered here --------------------------------------------------------------------------------------

    def _context(self, frame: frames.Execute, _function: str, _arguments: Sequence[Any]) -> Any:
        return frame.context

    def _user_v2(self, frame: frames.Execute, _function: str, _arguments: Sequence[Any]) -> Any:
        if isinstance(frame.user, str):
            return False, frame.user
        return True, frame.user

    def _user(self, frame: frames.Execute, _function: str, _arguments: Sequence[Any]) -> Any:
        if isinstance(frame.user, str):
            return False, frame.user
        return True, frame.user[:_USER_V1_FIELDS]

    def _config(self, frame: frames.Execute, function: str, arguments: Sequence[Any]) -> Any:
        if function == "get-all":
            return frame.config
        return next((value for key, value in frame.config if key == arguments[0]), None)

    def _logging(self, _frame: frames.Execute, function: str, arguments: Sequence[Any]) -> None:
        self.log(_LEVELS[function], "log", arguments[0])

    def log(self, level: Level, stream: Stream, text: str) -> None:
        """Send one line, cut to the event limit; beyond the execution's limits one marker, then silence."""
        frame = self._frame
        if frame is None or self._log_full():
            return
        message, truncated = cut_text(text, LOG_EVENT_MAX_BYTES)
        self._log_bytes += text_bytes(message)
        self._log_lines += 1
        if self._log_full():
            level, stream, truncated = "warn", "system", True
            message = (
                f"this execution logged more than {LOG_EXECUTION_MAX_BYTES} bytes or {LOG_EXECUTION_MAX_COUNT} lines; "
                "the rest is dropped"
            )
        self._channel.send(frames.Log(frame.seq, level, stream, message, truncated=truncated))

    def _log_full(self) -> bool:
        return self._log_bytes > LOG_EXECUTION_MAX_BYTES or self._log_lines > LOG_EXECUTION_MAX_COUNT


class OutputLines:
    """Collects what a guest prints and sends it line by line.

    `write` runs on a thread of wasmtime's runtime; it never raises, because an exception there would stop the
    process.
    """

    def __init__(self, host: GuestHost, stream: Stream) -> None:
        self._host = host
        self._stream: Stream = stream
        self._level: Level = "info" if stream == "stdout" else "error"
        self._rest = b""

    def write(self, data: bytes) -> None:
        """Take some bytes; complete lines leave at once, and so does a line that is too long already."""
        *lines, rest = (self._rest + data).split(b"\n")
        while len(rest) > LOG_EVENT_MAX_BYTES:
            lines.append(rest[:LOG_EVENT_MAX_BYTES])
            rest = rest[LOG_EVENT_MAX_BYTES:]
        self._rest = rest
        for line in lines:
            self._send(line)

    def flush(self) -> None:
        """Send what is left of the last line."""
        if self._rest:
            self._send(self._rest)
            self._rest = b""

    def _send(self, line: bytes) -> None:
        self._host.log(self._level, self._stream, line.decode("utf-8", "replace"))
