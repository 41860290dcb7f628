"""The node's disk cache under `EXT_CACHE_ROOT`: named blobs, bounded, least recently used first, shared by all workers.

The cache promises nothing about what it returns: every reader verifies the bytes against a signature or a digest it
was given, and calls `drop` when they fail. It promises that a blob is old or new and never half (temporary file,
fsync, rename, fsync of the directory), and that a full, read-only or broken disk is a cache that misses, never an
error of a request.

    <root>/blobs/<kind>/<name>     what is kept; its modification time is its last use
    <root>/tmp/                    being written; swept at the start
    <root>/locks/<xxxx>            65,536 flocks, chosen by a name's digest: the single flight between processes
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
import structlog

from runner.bundles.scratch import Scratch
from shared.deadline import Deadline
from shared.digest import sha256_hex

LOCK_POLL_S: Final = 0.02  # flock has no waiting that can be cancelled
TMP_STALE_S: Final = 600  # no write takes ten minutes; older leftovers are of a process that died
_COPY_BYTES: Final = 1 << 20
_NAME: Final = re.compile(r"[a-z]+/[A-Za-z0-9][A-Za-z0-9._-]{0,200}")

_log = structlog.get_logger()


class Blob(msgspec.Struct, frozen=True):
    """One kept file, as eviction sees it."""

    path: Path
    size_bytes: int
    used_at_s: float


class DiskCache:
    """See the module. Methods that touch the disk do so in a thread.

    Args:
        root: `EXT_CACHE_ROOT`; made with mode 0700.
        max_bytes: `EXT_CACHE_MAX_BYTES`.
    """

    def __init__(self, root: Path, max_bytes: int) -> None:
        self._root = root
        self._blobs = root / "blobs"
        self._tmp = root / "tmp"
        self._locks = root / "locks"
        self._max_bytes = max_bytes
        self._writable = True

    async def open(self) -> None:
        """Make the directories and sweep what a crash left behind. A disk that refuses leaves a cache that misses."""
        await asyncio.to_thread(self._open)

    @property
    def workspace(self) -> Path:
        """Where temporary files may be made; leftovers are swept at the next start."""
        return self._tmp

    @property
    def writable(self) -> bool:
        """Whether the disk took the last thing it was given; reported by `/readyz`."""
        return self._writable

    async def read(self, name: str, max_bytes: int) -> bytes | None:
        """The blob `kind/name`, unverified; `None` when there is none or it is longer than `max_bytes`."""
        return await asyncio.to_thread(self._read, self._path(name), max_bytes)

    async def open_blob(self, name: str) -> BinaryIO | None:
        """The blob as an open file, unverified, for what should not be read into memory at once."""
        return await asyncio.to_thread(self._open_blob, self._path(name))

    async def write(self, name: str, data: bytes) -> bool:
        """Keep a blob, evicting others as needed. Whether the disk took it."""
        return await asyncio.to_thread(self._keep, self._path(name), len(data), lambda out: _write_all(out, data))

    async def adopt(self, name: str, file: BinaryIO) -> bool:
        """Keep a copy of an open file, from its first byte. Whether the disk took it."""
        size = os.fstat(file.fileno()).st_size
        return await asyncio.to_thread(self._keep, self._path(name), size, lambda out: _copy_all(out, file, size))

    async def drop(self, name: str) -> None:
        """Forget a blob, for instance because its bytes failed their check."""
        await asyncio.to_thread(_remove, self._path(name))

    async def size_bytes(self) -> int:
        """What is kept right now, for `ext_bundle_cache_bytes`."""
        return await asyncio.to_thread(lambda: sum(blob.size_bytes for blob in self._kept()))

    def scratch(self) -> Scratch:
        """A nameless file that moves to this disk when it outgrows memory."""
        return Scratch(self._tmp)

    @contextlib.asynccontextmanager
    async def exclusive(self, name: str, deadline: Deadline) -> AsyncIterator[bool]:
        """Hold a name's lock among all workers of this node; the value says whether it had to be waited for.

        Where no lock can be had (the disk refuses, the deadline passes) the block runs without it: double work, not
        a failure.
        """
        descriptor = await asyncio.to_thread(self._lock_file, name)
        if descriptor is None:
            yield False
            return
        try:
            yield await _locked(descriptor, deadline)
        finally:
            os.close(descriptor)  # the lock goes with it

    # ---- the blocking half, in threads ----------------------------------------------------------------------

    def _open(self) -> None:
        try:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for directory in (self._blobs, self._tmp, self._locks):
                directory.mkdir(mode=0o700, exist_ok=True)
            for leftover in os.scandir(self._tmp):
                if leftover.stat(follow_symlinks=False).st_mtime >= time.time() - TMP_STALE_S:
                    continue
                if leftover.is_dir(follow_symlinks=False):
                    shutil.rmtree(leftover.path, ignore_errors=True)
                else:
                    _remove(Path(leftover.path))
        except OSError as error:
            self._refused(error)

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ValueError(f"not a name of the cache: {name!r}")
        return self._blobs / name

    def _open_blob(self, path: Path) -> BinaryIO | None:
        try:
            file = path.open("rb")
        except OSError:
            return None
        with contextlib.suppress(OSError):  # a read-only disk cannot note the use
            os.utime(file.fileno())
        return file

    def _read(self, path: Path, max_bytes: int) -> bytes | None:
        file = self._open_blob(path)
        if file is None:
            return None
        try:
            with file:
                data = file.read(max_bytes + 1)
        except OSError as error:
            self._refused(error)
            return None
        return data if len(data) <= max_bytes else None

    def _keep(self, path: Path, size: int, fill: Callable[[BinaryIO], None]) -> bool:
        if size > self._max_bytes:
            return False
        self._evict(self._max_bytes - size)
        try:
            try:
                self._replace(path, fill)
            except OSError as error:
                if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                    raise
                self._evict(sum(blob.size_bytes for blob in self._kept()) - 2 * size)  # the disk is smaller than told
                self._replace(path, fill)
        except OSError as error:
            self._refused(error)
            return False
        self._writable = True
        return True

    def _replace(self, path: Path, fill: Callable[[BinaryIO], None]) -> None:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=self._tmp)
        try:
            with os.fdopen(descriptor, "wb") as out:
                fill(out)
                out.flush()
                os.fsync(out.fileno())
            Path(name).rename(path)
        except BaseException:
            _remove(Path(name))
            raise
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _evict(self, keep_bytes: int) -> None:
        """Remove the least recently used blobs until no more than `keep_bytes` are kept.

        The directory is read anew each time, since other workers write to it too. That costs about 3 µs for each
        blob, once for each cold load.
        """
        kept = self._kept()
        total = sum(blob.size_bytes for blob in kept)
        for blob in sorted(kept, key=lambda blob: blob.used_at_s):
            if total <= keep_bytes:
                return
            _remove(blob.path)
            total -= blob.size_bytes

    def _kept(self) -> list[Blob]:
        found: list[Blob] = []
        try:
            for kind in os.scandir(self._blobs):
                for entry in os.scandir(kind.path):
                    with contextlib.suppress(FileNotFoundError):  # another worker evicted it
                        stat = entry.stat(follow_symlinks=False)
                        found.append(Blob(Path(entry.path), stat.st_size, stat.st_mtime))
        except OSError as error:
            self._refused(error)
        return found

    def _lock_file(self, name: str) -> int | None:
        try:
            return os.open(self._locks / sha256_hex(name.encode())[:4], os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            self._refused(error)
            return None

    def _refused(self, error: OSError) -> None:
        if self._writable:
            _log.warning("cache_disk_refuses", reason=error.strerror)
        self._writable = False


async def _locked(descriptor: int, deadline: Deadline) -> bool:
    waited = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waited = True
            if deadline.passed():
                return waited
            await asyncio.sleep(min(LOCK_POLL_S, deadline.remaining_s()))
        else:
            return waited


def _write_all(out: BinaryIO, data: bytes) -> None:
    out.write(data)


def _copy_all(out: BinaryIO, file: BinaryIO, size: int) -> None:
    offset = 0
    while offset < size:
        part = os.pread(file.fileno(), _COPY_BYTES, offset)  # leaves the file's position alone
        if not part:
            raise OSError(errno.EIO, "the file is shorter than it was")
        out.write(part)
        offset += len(part)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
