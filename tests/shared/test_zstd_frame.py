"""One zstd frame, block by block: the content is right, and no step gives more than a block."""

from __future__ import annotations

import io

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from shared.zstd_frame import FrameError, FrameLimits, FrameTooLargeError, read_frame

LIMITS = FrameLimits(
    compressed_bytes=1 << 24,
    unpacked_bytes=1 << 25,
    window_bytes=1 << 27,
    blocks=1 << 16,
    ratio=200,
    ratio_free_bytes=1 << 25,
)


@given(
    data=st.binary(max_size=4_000).map(lambda part: part * 7),
    level=st.integers(-5, 19),
    checksum=st.booleans(),
    size=st.booleans(),
)
def test_what_zstd_writes_is_read(data, level, checksum, size):
    compressor = zstandard.ZstdCompressor(level=level, write_checksum=checksum, write_content_size=size)
    assert b"".join(read_frame(io.BytesIO(compressor.compress(data)), LIMITS)) == data


@pytest.mark.parametrize("data", [bytes(8 << 20), bytes(range(256)) * (1 << 13)])
def test_no_piece_is_larger_than_a_block(data):
    pieces = list(read_frame(io.BytesIO(zstandard.ZstdCompressor().compress(data)), LIMITS))
    assert max(map(len, pieces)) <= 128 * 1024
    assert b"".join(pieces) == data


@given(st.binary(min_size=1, max_size=300), st.data())
def test_no_flipped_byte_of_a_frame_with_a_checksum_gives_other_content(data, draw):
    frame = bytearray(zstandard.ZstdCompressor(write_checksum=True).compress(data))
    frame[draw.draw(st.integers(0, len(frame) - 1))] ^= draw.draw(st.integers(1, 255))
    try:
        found = b"".join(read_frame(io.BytesIO(bytes(frame)), LIMITS))
    except (FrameError, FrameTooLargeError):
        return
    assert found == data
