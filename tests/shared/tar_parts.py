"""Archives made piece by piece, so that a test can get any single piece wrong; and how they are read."""

from __future__ import annotations

import io

import pytest
import zstandard

from shared.bundle_reader import ReadLimits, read_bundle
from shared.errors import BundleInvalid

END = bytes(1024)


def header(
    name: bytes = b"ui/a",
    size: int = 0,
    kind: bytes = b"0",
    *,
    prefix: bytes = b"",
    size_field: bytes | None = None,
    magic: bytes = b"ustar\x0000",
    tail: bytes = bytes(12),
    checksum: bytes | None = None,
) -> bytes:
    numbers = b"0000644\0" + b"0000000\0" * 2 + (size_field or b"%011o\0" % size) + b"00000000000\0"
    start = name.ljust(100, b"\0") + numbers
    end = kind + bytes(100) + magic + bytes(64) + b"0000000\0" * 2 + prefix.ljust(155, b"\0") + tail
    total = sum(start) + 8 * 32 + sum(end)
    return start + (checksum or b"%06o\0 " % total) + end


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def member(name: bytes = b"ui/a", data: bytes = b"x", **fields) -> bytes:
    return header(name, len(data), **fields) + padded(data)


def record(key: bytes, value: bytes) -> bytes:
    body = b" " + key + b"=" + value + b"\n"
    length = len(body) + 1
    while len(body) + len(str(length)) != length:
        length = len(body) + len(str(length))
    return str(length).encode() + body


def pax(*records: bytes) -> bytes:
    data = b"".join(records)
    return header(b"././@PaxHeader", len(data), b"x") + padded(data)


def packed(*parts: bytes, level: int = 3, **options) -> bytes:
    return zstandard.ZstdCompressor(level=level, **options).compress(b"".join(parts))


def bundle(*parts: bytes) -> bytes:
    return packed(*parts, END)


def read(data: bytes, want=lambda _name: True, **limits) -> dict[str, bytes]:
    return {found.name: found.data for found in read_bundle(io.BytesIO(data), want, ReadLimits(**limits))}


def refused(data: bytes, error=BundleInvalid, **limits) -> tuple[str, str]:
    for want in (lambda _name: True, lambda _name: False):
        with pytest.raises(error) as caught:
            read(data, want, **limits)
    return caught.value.extra["path"], caught.value.detail
