"""A file without a name: in memory while it is small, on the node's disk beyond that, gone with its last descriptor.

Downloads and unpacked assets live here. Nobody else can open it, so what was verified on the way in stays verified,
and no crash leaves anything to sweep.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from shared.errors import CacheFull
from shared.limits import MIB

MEMORY_MAX_BYTES: Final = 64 * MIB  # of one scratch; most bundles are below 10 MiB
_COPY_BYTES: Final = 1 * MIB


class Scratch:
    """A growing file. Not for use by two threads at once.

    Args:
        directory: where it moves when it outgrows memory; it may be read-only or full until then.
        memory_max_bytes: when that is.
    """

    def __init__(self, directory: Path, memory_max_bytes: int = MEMORY_MAX_BYTES) -> None:
        self._directory = directory
        self._memory_max_bytes = memory_max_bytes
        self._in_memory = True
        self._size = 0
        self.file: BinaryIO = os.fdopen(os.memfd_create("alga-scratch", os.MFD_CLOEXEC), "w+b", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def size_bytes(self) -> int:
        """How much was written."""
        return self._size

    def write(self, part: bytes | memoryview) -> None:
        """Append `part`. Raises `CacheFull` when it fits neither into memory nor onto the disk."""
        try:
            if self._in_memory and self._size + len(part) > self._memory_max_bytes:
                self._move()
            rest = memoryview(part)
            while rest:
                rest = rest[self.file.write(rest) :]
        except OSError as error:
            raise CacheFull(f"the node's disk takes no more: {error.strerror}", retry_after_s=10) from error
        self._size += len(part)

    def clear(self) -> None:
        """Back to an empty file, for a second attempt."""
        self.file.seek(0)
        self.file.truncate()
        self._size = 0

    def rewound(self) -> BinaryIO:
        """The file, at its beginning."""
        self.file.seek(0)
        return self.file

    def close(self) -> None:
        """Give memory or disk back."""
        self.file.close()

    def _move(self) -> None:
        disk: BinaryIO = tempfile.TemporaryFile(dir=self._directory, buffering=0)  # noqa: SIM115  it outlives this function
        try:
            self.file.seek(0)
            while part := self.file.read(_COPY_BYTES):
                disk.write(part)
        except BaseException:
            disk.close()
            raise
        self.file.close()
        self.file = disk
        self._in_memory = False
