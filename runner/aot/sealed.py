"""Verified native code in memory: sealed memfds, and the few of them a worker process keeps at hand.

A process that maps the same memfd shares its pages, so an artefact that some sandbox runs costs nothing more here.
What is kept also carries the runner through a disk that takes nothing.
"""

from __future__ import annotations

import os
import weakref
from collections import OrderedDict
from typing import Final

from shared.limits import MIB

KEPT_MAX_BYTES: Final = 256 * MIB  # seven of the largest supported guests, in one worker
KEPT_MAX_COUNT: Final = 64  # descriptors


class SealedMemory:
    """One sealed memfd; closed when the last reference to this object goes.

    Args:
        descriptor: becomes this object's.
        size_bytes: its length.
    """

    def __init__(self, descriptor: int, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self._descriptor = descriptor
        self._closer = weakref.finalize(self, os.close, descriptor)

    def duplicate(self) -> int:
        """A descriptor of the same memory, close-on-exec, the caller's to close."""
        return os.dup(self._descriptor)


class Kept:
    """The least recently used artefacts make room for new ones.

    Args:
        max_bytes: of all of them together; a single larger one is not kept.
    """

    def __init__(self, max_bytes: int = KEPT_MAX_BYTES, max_count: int = KEPT_MAX_COUNT) -> None:
        self._max_bytes = max_bytes
        self._max_count = max_count
        self._bytes = 0
        self._found: OrderedDict[str, SealedMemory] = OrderedDict()

    def get(self, component_sha256: str) -> SealedMemory | None:
        """The native code of a component."""
        found = self._found.get(component_sha256)
        if found is not None:
            self._found.move_to_end(component_sha256)
        return found

    def put(self, component_sha256: str, memory: SealedMemory) -> None:
        """Keep native code while there is room."""
        if memory.size_bytes > self._max_bytes or component_sha256 in self._found:
            return
        self._found[component_sha256] = memory
        self._bytes += memory.size_bytes
        while self._bytes > self._max_bytes or len(self._found) > self._max_count:
            _, oldest = self._found.popitem(last=False)
            self._bytes -= oldest.size_bytes

    def clear(self) -> None:
        """Let go of everything."""
        self._found.clear()
        self._bytes = 0
