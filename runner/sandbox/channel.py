"""The sandbox's end of its socket: blocking, one frame at a time, safe from two threads.

Guest output arrives on a thread of wasmtime's runtime while the guest's own thread may be sending, hence the lock.
When the parent is gone there is nobody to answer to: the process ends.
"""

from __future__ import annotations

import os
import socket
import threading
from typing import Final

from runner.sandbox import frames

_READ_BYTES: Final = 65536


class Channel:
    """Frames over a connected stream socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._reader = frames.FrameReader()
        self._ready: list[bytes] = []
        self._lock = threading.Lock()

    def send(self, frame: frames.FromSandbox) -> None:
        """Write one frame; blocks while the parent is slow. Ends the process when the parent is gone."""
        data = frames.encode(frame)
        try:
            with self._lock:
                self._socket.sendall(data)
        except OSError:
            os._exit(0)

    def receive(self) -> frames.ToSandbox:
        """The next frame; blocks. Ends the process when the parent is gone."""
        while not self._ready:
            try:
                data = self._socket.recv(_READ_BYTES)
            except OSError:
                os._exit(0)
            if not data:
                os._exit(0)
            self._ready = self._reader.feed(data)
        frame: frames.ToSandbox = frames.decode_to_sandbox(self._ready.pop(0))
        return frame
