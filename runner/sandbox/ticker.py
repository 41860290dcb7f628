"""The epoch ticker of a sandbox: one timer, armed only while a guest runs, silent when idle.

A thread sleeps on a timerfd. Arming costs a system call only when the new deadline is earlier than the armed one;
an idle process wakes nobody. The epoch is raised while the interpreter lock is held and after comparing with the
current deadline, so that a late tick cannot hit the next call.
"""

from __future__ import annotations

import ctypes
import math
import os
import struct
import threading
import time
from typing import Any, Final

from runner.sandbox.codec import layout

_CLOCK_MONOTONIC: Final = 1
_TFD_CLOEXEC: Final = 0o2000000
_SPEC: Final = struct.Struct("<qqqq")  # interval s, ns; value s, ns

_libc: Final = ctypes.CDLL(None, use_errno=True)
_held_libc: Final = ctypes.PyDLL(None, use_errno=True)


class Ticker:
    """Raises `engine`'s epoch once the deadline set by `arm` has passed."""

    def __init__(self, engine: Any) -> None:
        self._engine = ctypes.cast(engine.ptr(), ctypes.c_void_p).value
        self._fd = _libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._deadline_s = math.inf
        self._armed_s = math.inf
        self._spec = ctypes.create_string_buffer(_SPEC.size)

    def start(self) -> None:
        """Start the thread; after this the process has two."""
        threading.Thread(target=self._run, name="ticker", daemon=True).start()

    def arm(self, timeout_ms: int) -> None:
        """Interrupt whatever runs `timeout_ms` from now; replaces the earlier deadline."""
        self._deadline_s = time.monotonic() + timeout_ms / 1000
        if self._deadline_s < self._armed_s:
            self._set(self._deadline_s)

    def disarm(self) -> None:
        """No deadline; the timer may still fire once, and finds nothing to do."""
        self._deadline_s = math.inf

    def passed(self) -> bool:
        """Whether the deadline of the current call has passed."""
        return time.monotonic() >= self._deadline_s

    def _set(self, at_s: float) -> None:
        left_ns = max(1, int((at_s - time.monotonic()) * 1e9))
        _SPEC.pack_into(self._spec, 0, 0, 0, left_ns // 1_000_000_000, left_ns % 1_000_000_000)
        self._armed_s = at_s
        _held_libc.timerfd_settime(self._fd, 0, self._spec, None)

    def _run(self) -> None:
        while True:
            os.read(self._fd, 8)
            self._armed_s = math.inf
            if time.monotonic() >= self._deadline_s:
                layout.engine_increment_epoch(self._engine)
            elif self._deadline_s < math.inf:
                self._set(self._deadline_s)
