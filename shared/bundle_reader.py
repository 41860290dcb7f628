"""Reads a bundle (tar inside one zstd frame) with a reader of our own: bounded memory, nothing touches the disk.

`tarfile` is not used: its extraction has had published holes in every interpreter an image may carry, and it repairs
what ought to be refused. Here an archive has exactly the form our writer gives it, or it is refused with the name of
the member: regular files only; ustar with pax `path` and `size` records and nothing that contradicts them; names as
`shared.bundle_names` has them, no two of which could meet on any file system; every limit counted while streaming.

Digest and signature of the archive are verified before it is given to this reader.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO, Final

import msgspec

from shared.bundle_names import MemberNameError, Names, member_max_bytes
from shared.errors import BundleInvalid, BundleLimits
from shared.limits import (
    BUNDLE_MAX_BYTES,
    BUNDLE_MAX_FILES,
    BUNDLE_TAR_PADDING_MAX_BYTES,
    BUNDLE_UNPACKED_MAX_BYTES,
    ZSTD_BLOCKS_MAX_COUNT,
    ZSTD_RATIO_FREE_BYTES,
    ZSTD_RATIO_MAX,
    ZSTD_WINDOW_MAX_BYTES,
)
from shared.zstd_frame import FrameError, FrameLimits, FrameTooLargeError, read_frame

_BLOCK: Final = 512
_ZEROS: Final = bytes(_BLOCK)
_PAX_MAX_BYTES: Final = 8 * 1024  # a path of 1,024 bytes and what archivers note about times and owners
_PAX_HARMLESS: Final = frozenset({"atime", "ctime", "mtime", "uid", "gid", "uname", "gname"})  # read past, never used
_KINDS: Final = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"5": "a directory",
    b"6": "a pipe",
    b"S": "a sparse file",
}


class Member(msgspec.Struct, frozen=True):
    """One file of a bundle."""

    name: str
    data: bytes


class ReadLimits(msgspec.Struct, frozen=True):
    """What an archive may cost; the platform's limits by default, smaller ones in tests."""

    compressed_bytes: int = BUNDLE_MAX_BYTES
    unpacked_bytes: int = BUNDLE_UNPACKED_MAX_BYTES
    files: int = BUNDLE_MAX_FILES
    window_bytes: int = ZSTD_WINDOW_MAX_BYTES
    blocks: int = ZSTD_BLOCKS_MAX_COUNT
    ratio: int = ZSTD_RATIO_MAX
    ratio_free_bytes: int = ZSTD_RATIO_FREE_BYTES
    member_bytes: Callable[[str], int] = member_max_bytes


def everything(_name: str) -> bool:
    """The default of `read_bundle`: every member is wanted."""
    return True


def read_bundle(
    source: BinaryIO, want: Callable[[str], bool] = everything, limits: ReadLimits | None = None
) -> Iterator[Member]:
    """The wanted members of a bundle, in the order of the archive.

    Every rule and limit is enforced for every member, wanted or not; one that is not wanted is never held in memory.
    Some are judged at the end of the archive: nothing that was yielded counts before the iterator is exhausted.

    Args:
        source: the archive, positioned at its first byte; read to its end.
        want: asked once for each name.
        limits: the platform's by default.

    Raises:
        BundleInvalid: not exactly one zstd frame with a well-formed tar; `extra["path"]` is the member.
        BundleLimits: larger than a limit; `extra["path"]` is the member.
    """
    archive = _Archive(source, limits or ReadLimits())
    while True:
        try:
            found = archive.next_member(want)
        except FrameError as error:
            raise BundleInvalid(str(error), path=archive.member) from error
        except FrameTooLargeError as error:
            raise BundleLimits(str(error), path=archive.member) from error
        if found is None:
            return
        name, data = found
        if data is not None:
            yield Member(name, data)


class _Header(msgspec.Struct, frozen=True):
    """One tar header, parsed. `size_bytes` is what follows it, without padding."""

    kind: bytes
    name: str
    size_bytes: int


class _Archive:
    """The tar stream: headers in, members out. `member` is the name that an error is about."""

    def __init__(self, source: BinaryIO, limits: ReadLimits) -> None:
        frame = FrameLimits(
            compressed_bytes=limits.compressed_bytes,
            unpacked_bytes=limits.unpacked_bytes,
            window_bytes=limits.window_bytes,
            blocks=limits.blocks,
            ratio=limits.ratio,
            ratio_free_bytes=limits.ratio_free_bytes,
        )
        self._stream = _Stream(read_frame(source, frame))
        self._limits = limits
        self._names = Names()
        self.member = ""

    def next_member(self, want: Callable[[str], bool]) -> tuple[str, bytes | None] | None:
        """The next file and, if it is wanted, its bytes; `None` behind the last one."""
        block = self._stream.take(_BLOCK)
        if block == _ZEROS:
            self._finish()
            return None
        header, records = _header(block), {}
        if header.kind == b"x":
            records = self._extended(header)
            header = _header(self._stream.take(_BLOCK))
        name = self._check(header, records)
        data = None
        if want(name):
            data = self._stream.take(header.size_bytes)
        else:
            self._stream.skip(header.size_bytes)
        if any(self._stream.take(-header.size_bytes % _BLOCK)):
            raise self._invalid("the padding behind the file is not zero")
        return name, data

    def _extended(self, header: _Header) -> dict[str, str]:
        if header.size_bytes > _PAX_MAX_BYTES:
            raise BundleLimits(f"a pax header has at most {_PAX_MAX_BYTES} bytes", path=self.member)
        records = _pax(self._stream.take(header.size_bytes))
        if any(self._stream.take(-header.size_bytes % _BLOCK)):
            raise self._invalid("the padding behind a pax header is not zero")
        unknown = sorted(records.keys() - _PAX_HARMLESS - {"path", "size"})
        if unknown:
            raise self._invalid(f"pax record {unknown[0]!r} is not accepted; path and size are")
        return records

    def _check(self, header: _Header, records: dict[str, str]) -> str:
        name = self.member = records.get("path", header.name)
        if header.kind not in (b"0", b"\0"):
            kind = _KINDS.get(header.kind, f"an entry of type {header.kind!r}")
            raise self._invalid(f"{kind} cannot be part of a bundle; regular files can")
        if records.get("size", str(header.size_bytes)) != str(header.size_bytes):
            raise self._invalid("the sizes in the pax and the ustar header differ")
        try:
            self._names.add(name)
        except MemberNameError as error:
            raise self._invalid(str(error)) from error
        if len(self._names) > self._limits.files:
            raise BundleLimits(f"a bundle has at most {self._limits.files} files", path=name)
        most = self._limits.member_bytes(name)
        if header.size_bytes > most:
            raise BundleLimits(f"the file has {header.size_bytes} bytes; at most {most} are accepted", path=name)
        return name

    def _finish(self) -> None:
        """Two zero blocks end the archive; zeros may follow, up to a full record, and nothing else."""
        if self._stream.take(_BLOCK) != _ZEROS:
            raise self._invalid("a single zero block stands between members")
        padding_bytes = 0
        for piece in self._stream.rest():
            padding_bytes += len(piece)
            if any(piece) or padding_bytes > BUNDLE_TAR_PADDING_MAX_BYTES:
                raise self._invalid("there is data behind the end of the archive")

    def _invalid(self, detail: str) -> BundleInvalid:
        return BundleInvalid(detail, path=self.member)


class _Stream:
    """Exact reads from an iterator of pieces; holds one piece, or what one `take` asks for."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = memoryview(b"")

    def take(self, size: int) -> bytes:
        return b"".join(self._parts(size))

    def skip(self, size: int) -> None:
        for _ in self._parts(size):
            continue

    def rest(self) -> Iterator[bytes]:
        yield bytes(self._piece)
        yield from self._pieces

    def _parts(self, size: int) -> Iterator[memoryview]:
        left = size
        while left:
            if not self._piece:
                try:
                    self._piece = memoryview(next(self._pieces))
                except StopIteration:
                    raise FrameError("the archive ends in the middle of a member") from None
            part = self._piece[:left]
            self._piece = self._piece[left:]
            left -= len(part)
            yield part


# ---- headers ------------------------------------------------------------------------------------------------


def _header(block: bytes) -> _Header:
    """A ustar header (IEEE 1003.1, "ustar Interchange Format"). Raises `BundleInvalid`."""
    if block[257:265] != b"ustar\x0000":
        raise BundleInvalid("a header is not POSIX ustar; pack with alga-ext", path="")
    if _octal(block[148:156]) != sum(block[:148]) + 8 * ord(" ") + sum(block[156:]):
        raise BundleInvalid("a header's checksum is wrong", path="")
    name, prefix = _text(block[:100]), _text(block[345:500])
    if any(block[500:]):
        raise BundleInvalid("a header has data behind its last field", path="")
    return _Header(block[156:157], f"{prefix}/{name}" if prefix else name, _octal(block[124:136]))


def _octal(field: bytes) -> int:
    digits = field.rstrip(b"\0 ")
    if not digits or any(digit not in b"01234567" for digit in digits):
        raise BundleInvalid("a number in a header is not octal", path="")
    return int(digits, 8)


def _text(field: bytes) -> str:
    text, _, rest = field.partition(b"\0")
    if any(rest):
        raise BundleInvalid("a header has data behind the end of a name", path="")
    return _decoded(text)


def _decoded(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        shown = text.decode("utf-8", "backslashreplace")
        raise BundleInvalid("a name is not UTF-8", path=shown) from error


def _pax(data: bytes) -> dict[str, str]:
    """The records of a pax header: length, key, value and a newline each; no key twice. Raises `BundleInvalid`."""
    records: dict[str, str] = {}
    while data:
        digits, _, _ = data[:6].partition(b" ")
        length = int(digits) if digits.isdigit() and not digits.startswith(b"0") else 0
        record = data[len(digits) + 1 : length]
        key, equals, value = record.partition(b"=")
        if length > len(data) or not equals or not value.endswith(b"\n") or _decoded(key) in records:
            raise BundleInvalid("a pax header is not well formed", path="")
        records[_decoded(key)] = _decoded(value[:-1])
        data = data[length:]
    return records
