"""The bundle reader's limits, each below, at and above; and the zstd frame around the archive."""

from __future__ import annotations

import io
import tracemalloc
from collections import deque

import msgspec
import pytest
import zstandard

from shared.bundle_reader import ReadLimits, read_bundle
from shared.errors import BundleInvalid, BundleLimits
from tests.shared.tar_parts import END, bundle, header, member, packed, read, refused

# ---- the zstd frame -----------------------------------------------------------------------------------------


def test_a_frame_that_ends_early_is_refused_wherever_it_ends():
    data = bundle(member(b"ui/a", bytes(range(256)) * 4))
    for length in range(len(data)):
        refused(data[:length])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"\x1f\x8b\x08" + bytes(40),
        member() + END,
        bytes.fromhex("502a4d18") + b"\x04\0\0\0abcd" + bundle(member()),
        bundle(member()) + bundle(member()),
        bundle(member()) + b"\0",
        bundle(member()) + bytes.fromhex("502a4d18") + b"\x04\0\0\0abcd",
        bytes.fromhex("28b52ffd08"),
        bytes.fromhex("28b52ffd2001") + b"\x0f\0\0",
    ],
    ids=[
        "nothing",
        "text",
        "gzip",
        "bare tar",
        "skippable",
        "two frames",
        "tail",
        "skippable tail",
        "reserved",
        "block",
    ],
)
def test_what_is_not_exactly_one_frame_is_refused(data):
    refused(data)


def test_a_frame_with_a_dictionary_is_refused():
    dictionary = zstandard.ZstdCompressionDict(b"ui/a" * 100)
    with pytest.raises(BundleInvalid):
        read(packed(member(), END, dict_data=dictionary))
    named = bytes.fromhex("28b52ffd2101") + b"\x00" + b"\x01\0\0"
    assert "dictionary" in refused(named)[1]


def test_a_wrong_checksum_is_refused():
    data = bytearray(zstandard.ZstdCompressor(write_checksum=True).compress(member() + END))
    read(bytes(data))
    data[-1] ^= 1
    refused(bytes(data))


def test_a_content_size_that_lies_is_refused():
    data = bytearray(zstandard.ZstdCompressor(write_content_size=True).compress(member(data=b"x" * 700) + END))
    at = data.index((len(member(data=b"x" * 700)) + 1024 - 256).to_bytes(2, "little"))
    data[at] ^= 1
    refused(bytes(data))


def test_frames_without_a_content_size_and_of_many_blocks_are_read():
    compressor = zstandard.ZstdCompressor(level=1).compressobj()
    body = member(b"ui/a", bytes(range(256)) * 40) + END
    parts = [
        compressor.compress(body[at : at + 97]) + compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        for at in range(0, len(body), 97)
    ]
    data = b"".join(parts) + compressor.flush()
    assert read(data) == {"ui/a": bytes(range(256)) * 40}
    assert "blocks" in refused(data, BundleLimits, blocks=10)[1]


# ---- limits: below, at, above -------------------------------------------------------------------------------


def test_the_compressed_size_is_limited():
    data = bundle(member(data=b"x" * 1000))
    read(data, compressed_bytes=len(data))
    refused(data, BundleLimits, compressed_bytes=len(data) - 1)


def test_the_unpacked_size_is_limited_announced_or_not():
    body = member(data=b"x" * 1000) + END
    announced, silent = packed(body), packed(body, write_content_size=False)
    for data in (announced, silent):
        read(data, unpacked_bytes=len(body))
        refused(data, BundleLimits, unpacked_bytes=len(body) - 1)


def test_the_number_of_files_is_limited():
    data = bundle(*(member(b"ui/%d" % index) for index in range(5)))
    assert len(read(data, files=5)) == 5
    assert refused(data, BundleLimits, files=4)[0] == "ui/4"


def test_the_size_of_a_member_is_limited_by_name():
    data = bundle(member(b"ui/a", b"x" * 10), member(b"ui/b", b"x" * 11))
    read(data, member_bytes=lambda _name: 11)
    path, detail = refused(data, BundleLimits, member_bytes=lambda _name: 10)
    assert path == "ui/b"
    assert "11 bytes" in detail


def test_a_member_that_only_claims_to_be_large_is_refused_by_its_claim():
    refused(packed(header(b"ui/a", 64 << 20), END))
    assert refused(packed(header(b"ui/a", (64 << 20) + 1), END), BundleLimits)[0] == "ui/a"
    assert refused(packed(header(b"dist/main.wasm", (128 << 20) + 1), END), BundleLimits)[0] == "dist/main.wasm"


def test_the_window_is_limited_before_memory_is_set_aside():
    def frame(log):
        return bytes.fromhex("28b52ffd00") + bytes([(log - 10) << 3]) + b"\x01\0\0"

    assert "window" in refused(frame(31), BundleLimits)[1]
    assert "window" in refused(frame(28), BundleLimits)[1]
    assert "middle" in refused(frame(27))[1]
    just_above = bytes.fromhex("28b52ffd00") + bytes([((27 - 10) << 3) | 1]) + b"\x01\0\0"
    assert "window" in refused(just_above, BundleLimits)[1]


def test_the_ratio_is_limited_above_a_free_size():
    body = member(data=bytes(20_000)) + END
    data = packed(body)
    ratio = len(body) // len(data)
    read(data, ratio=ratio + 1, ratio_free_bytes=0)
    read(data, ratio=1, ratio_free_bytes=len(body))
    assert "compressed more" in refused(data, BundleLimits, ratio=ratio - 1, ratio_free_bytes=0)[1]


def test_a_bomb_costs_neither_memory_nor_an_answer():
    compressor = zstandard.ZstdCompressor(level=3).compressobj()
    bomb = b"".join(
        compressor.compress(part)
        for index in range(9)
        for part in (header(b"ui/%d" % index, 60 << 20), *[bytes(1 << 20)] * 60)
    )
    bomb += compressor.compress(END) + compressor.flush()
    assert len(bomb) < 1 << 20
    for want, most_bytes in ((lambda _name: True, 200 << 20), (lambda _name: False, 4 << 20)):
        tracemalloc.start()
        try:
            with pytest.raises(BundleLimits):
                deque(read_bundle(io.BytesIO(bomb), want), maxlen=0)
            assert tracemalloc.get_traced_memory()[1] < most_bytes
        finally:
            tracemalloc.stop()


def test_a_flood_of_empty_blocks_is_cut_off():
    flood = bytes.fromhex("28b52ffd0000") + b"\0\0\0" * 400_000
    assert "blocks" in refused(flood, BundleLimits)[1]


def test_the_default_limits_are_those_of_the_platform():
    assert msgspec.structs.asdict(ReadLimits())["files"] == 10_000
