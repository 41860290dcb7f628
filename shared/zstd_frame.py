"""Reads exactly one zstd frame (RFC 8878), block by block, so that a hostile one cannot cost more than it is worth.

libzstd decompresses; this module walks the frame's structure beside it. That gives what the library's own stream
does not: a bound on what one step can produce (a block is at most 128 KiB, while 64 KiB of input may hold blocks for
2 GiB), the window before memory is set aside for it, and the exact end of the frame, behind which nothing may follow.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Final

import msgspec
import zstandard

_MAGIC: Final = bytes.fromhex("28b52ffd")
_BLOCK_MAX_BYTES: Final = 128 * 1024  # RFC 8878 §3.1.1.2.4
_RAW, _RLE, _COMPRESSED = 0, 1, 2
_SIZE_FIELD_BYTES: Final = (0, 2, 4, 8)  # of Frame_Content_Size, by its flag (§3.1.1.1.4)
_DICTIONARY_FIELD_BYTES: Final = (0, 1, 2, 4)


class FrameError(ValueError):
    """Not exactly one well-formed zstd frame. The message says what is wrong."""


class FrameTooLargeError(ValueError):
    """A limit of the caller's was exceeded. The message names it."""


class FrameLimits(msgspec.Struct, frozen=True):
    """What a frame may cost.

    Attributes:
        compressed_bytes: of the whole frame.
        unpacked_bytes: of its content.
        window_bytes: memory for back-references.
        blocks: their number, since an empty one costs the sender three bytes.
        ratio: content ÷ frame, judged at the end of the frame.
        ratio_free_bytes: content up to this size may have any ratio.
    """

    compressed_bytes: int
    unpacked_bytes: int
    window_bytes: int
    blocks: int
    ratio: int
    ratio_free_bytes: int


class _Input:
    """Exact reads that count; the source may give less than it is asked for."""

    def __init__(self, source: BinaryIO, limit_bytes: int) -> None:
        self._source = source
        self._limit_bytes = limit_bytes
        self.count_bytes = 0

    def take(self, size: int) -> bytes:
        parts: list[bytes] = []
        left = size
        while left:
            part = self._source.read(left)
            if not part:
                raise FrameError("the archive ends in the middle of its zstd frame")
            parts.append(part)
            left -= len(part)
        self.count_bytes += size
        if self.count_bytes > self._limit_bytes:
            raise FrameTooLargeError(f"more than {self._limit_bytes} bytes, compressed")
        return b"".join(parts)

    def at_end(self) -> bool:
        return not self._source.read(1)


def read_frame(source: BinaryIO, limits: FrameLimits) -> Iterator[bytes]:
    """The content of the one frame in `source`, in pieces of at most 128 KiB.

    Nothing that was yielded may be trusted before the iterator is exhausted: ratio, checksum and what stands behind
    the frame are judged at its end.

    Args:
        source: positioned at the first byte; read to its end.
        limits: what the frame may cost.

    Raises:
        FrameError: not zstd, skippable or several frames, a dictionary, a wrong checksum, truncated, data behind it.
        FrameTooLargeError: one of `limits`.
    """
    given = _Input(source, limits.compressed_bytes)
    header, window_bytes, has_checksum = _header(given, limits)
    decompressor = zstandard.ZstdDecompressor(max_window_size=limits.window_bytes).decompressobj()
    _feed(decompressor, header)
    unpacked_bytes = blocks = 0
    last = False
    while not last:
        blocks += 1
        if blocks > limits.blocks:
            raise FrameTooLargeError(f"more than {limits.blocks} zstd blocks")
        block, last = _block(given, min(window_bytes, _BLOCK_MAX_BYTES))
        data = _feed(decompressor, block)
        unpacked_bytes += len(data)
        if unpacked_bytes > limits.unpacked_bytes:
            raise FrameTooLargeError(f"more than {limits.unpacked_bytes} bytes unpacked")
        if data:
            yield data
    if has_checksum:
        _feed(decompressor, given.take(4))
    if not decompressor.eof:
        raise FrameError("the zstd frame does not end with its last block")
    if not given.at_end():
        raise FrameError("there is data behind the zstd frame; a bundle is exactly one frame")
    if unpacked_bytes > limits.ratio_free_bytes and unpacked_bytes > limits.ratio * given.count_bytes:
        raise FrameTooLargeError(f"compressed more than {limits.ratio} times")


def _header(given: _Input, limits: FrameLimits) -> tuple[bytes, int, bool]:
    """The frame header (RFC 8878 §3.1.1.1), the window in bytes, and whether a checksum follows the blocks."""
    magic = given.take(4)
    if magic != _MAGIC:
        raise FrameError("the archive is not a zstd frame")
    descriptor = given.take(1)
    flags = descriptor[0]
    single_segment = bool(flags & 0x20)
    if flags & 0x08:
        raise FrameError("a reserved bit of the zstd frame header is set")
    window_field = b"" if single_segment else given.take(1)
    dictionary = given.take(_DICTIONARY_FIELD_BYTES[flags & 3])
    if any(dictionary):
        raise FrameError("the zstd frame needs a dictionary; a bundle is compressed without one")
    size_bytes = _SIZE_FIELD_BYTES[flags >> 6] or int(single_segment)
    size_field = given.take(size_bytes)
    content_bytes = int.from_bytes(size_field, "little") + (256 if size_bytes == 2 else 0)
    if content_bytes > limits.unpacked_bytes:
        raise FrameTooLargeError(f"more than {limits.unpacked_bytes} bytes unpacked")
    window_bytes = content_bytes
    if window_field:
        base = 1 << (10 + (window_field[0] >> 3))
        window_bytes = base + (base >> 3) * (window_field[0] & 7)
    if window_bytes > limits.window_bytes:
        raise FrameTooLargeError(f"a zstd window of {window_bytes} bytes; at most {limits.window_bytes}")
    return magic + descriptor + window_field + dictionary + size_field, window_bytes, bool(flags & 0x04)


def _block(given: _Input, most_bytes: int) -> tuple[bytes, bool]:
    """One block with its header (§3.1.1.2), and whether it is the last."""
    header = given.take(3)
    word = int.from_bytes(header, "little")
    kind, size = (word >> 1) & 3, word >> 3
    if kind not in (_RAW, _RLE, _COMPRESSED) or size > most_bytes:
        raise FrameError("a zstd block is not well formed")
    return header + given.take(1 if kind == _RLE else size), bool(word & 1)


def _feed(decompressor: zstandard.ZstdDecompressionObj, data: bytes) -> bytes:
    try:
        return decompressor.decompress(data)
    except zstandard.ZstdError as error:
        raise FrameError("the zstd frame is damaged") from error
