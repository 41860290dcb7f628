"""The archive reader under any input: members made by hand, frames made by hand, and a real bundle cut and mutated.

Whatever is read, the outcome is the members or one of two typed errors with the name of a member; and what is accepted
is what another tar program would have found, so that nobody can be shown something else than was checked.
"""

from __future__ import annotations

import io
import json
import tarfile
import unicodedata

import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.bundle_names import fold
from shared.bundle_reader import ReadLimits, read_bundle
from shared.bundle_writer import write_bundle
from shared.errors import BundleInvalid, BundleLimits
from tests.shared.tar_parts import END, header, member, packed, padded, pax, record

SMALL = ReadLimits(
    compressed_bytes=1 << 20,
    unpacked_bytes=1 << 20,
    files=20,
    window_bytes=1 << 20,
    blocks=200,
    member_bytes=lambda _name: 1 << 16,
)


def outcome(data: bytes) -> dict[str, bytes] | str:
    """The members, or the code of the typed error. Anything else goes up and fails the test."""
    try:
        found = list(read_bundle(io.BytesIO(data), limits=SMALL))
    except (BundleInvalid, BundleLimits) as error:
        assert isinstance(error.extra["path"], str)
        json.dumps(error.extra["path"]).encode()  # can be answered and logged
        assert error.detail
        return error.code
    names = [one.name for one in found]
    assert len({fold(name) for name in names}) == len(names)
    assert not any(name.startswith("/") or ".." in name.split("/") or "\\" in name for name in names)
    assert not any(unicodedata.category(letter) == "Cc" for name in names for letter in name)
    return {one.name: one.data for one in found}


# ---- members made by hand -----------------------------------------------------------------------------------

NAMES = st.sampled_from(
    [b"ui/a", b"ui/A", b"ui", b"ui/a/b", b"../x", b"/x", b"ui/./x", b"ui//x", b"ui\\x", b"", b"\xff", b"ui/\xc3\xa9"]
) | st.binary(max_size=100)
KINDS = st.sampled_from([b"0", b"\0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"x", b"g", b"L", b"K", b"S", b"\xff"])
NUMBERS = st.sampled_from(
    [b"00000000001\0", b"77777777777\0", b"           1", b"\x80" + bytes(10) + b"\x01", b"-1" + b"\0" * 10]
)
KEYS = st.sampled_from([b"path", b"size", b"linkpath", b"mtime", b"GNU.sparse.size", b"GNU.sparse.name", b"\xff", b""])
RECORDS = st.builds(record, KEYS, st.binary(max_size=30) | NAMES | st.sampled_from([b"0", b"1", b"01", b"9" * 30]))
HEADERS = st.builds(
    header,
    NAMES,
    st.integers(0, 1100),
    KINDS,
    prefix=NAMES | st.just(b""),
    size_field=st.none() | NUMBERS,
    magic=st.sampled_from([b"ustar\x0000", b"ustar  \0", bytes(8)]),
    checksum=st.none() | st.sampled_from([b"0000000\0", b"777777\0 "]),
)
MEMBERS = st.builds(member, NAMES, st.binary(max_size=600), kind=KINDS)
PARTS = st.one_of(
    MEMBERS,
    HEADERS,
    st.builds(lambda records, rest: pax(*records) + rest, st.lists(RECORDS, max_size=3), MEMBERS),
    st.builds(lambda data: header(b"x", len(data), b"x") + padded(data), st.binary(max_size=40)),
    st.sampled_from([END, bytes(512), bytes(100), b"x" * 512]),
)


@settings(max_examples=400)
@given(st.lists(PARTS, max_size=5), st.booleans())
@example([pax(record(b"path", b"ui/a"), record(b"path", b"../x")), member(b"b")], True)
@example([header(b"ui/a", 5, b"S"), member(b"GNUSparseFile.0/x")], True)
def test_members_made_by_hand_are_read_or_refused_by_a_typed_error(parts, ends):
    tar = b"".join(parts) + (END if ends else b"")
    found = outcome(packed(tar, level=1))
    if isinstance(found, str):
        return
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        entries = list(archive)
        assert all(entry.isreg() for entry in entries)
        assert {entry.name: archive.extractfile(entry).read() for entry in entries} == found  # type: ignore[union-attr]


# ---- frames made by hand ------------------------------------------------------------------------------------

TAR = member(b"manifest.json", b"{}" * 20) + member(b"ui/a", b"x" * 700) + END
BLOCKS = st.builds(
    lambda kind, last, size, data: (size << 3 | kind << 1 | last).to_bytes(3, "little") + data,
    st.integers(0, 3),
    st.booleans(),
    st.integers(0, (1 << 21) - 1) | st.integers(0, 64),
    st.binary(max_size=64),
)


@settings(max_examples=400)
@given(st.binary(min_size=1, max_size=14), st.lists(BLOCKS, max_size=6))
def test_frames_made_by_hand_are_read_or_refused_by_a_typed_error(head, blocks):
    outcome(bytes.fromhex("28b52ffd") + head + b"".join(blocks))


@given(st.integers(0, len(TAR)), st.booleans(), st.binary(max_size=8))
def test_a_tar_in_several_frames_is_never_read(cut, skippable, note):
    between = b"\x50\x2a\x4d\x18" + len(note).to_bytes(4, "little") + note if skippable else b""
    compress = zstandard.ZstdCompressor(level=1).compress
    assert outcome(compress(TAR[:cut]) + between + compress(TAR[cut:])) == "bundle_invalid"


# ---- a real bundle ------------------------------------------------------------------------------------------


@pytest.fixture(name="real", scope="module")
def a_real_bundle(tmp_path_factory):
    tree = tmp_path_factory.mktemp("real")
    (tree / "ui").mkdir()
    manifest = {"name": "com.acme.tickets", "publisher": "acme", "version": "1.4.0", "runtime": "wasm-js@1"}
    (tree / "manifest.json").write_text(json.dumps(manifest | {"ui": {"type": "iframe", "entry": "ui/index.html"}}))
    (tree / "ui" / "index.html").write_text("<!doctype html>")
    (tree / "ui" / "é.txt").write_text("é")
    write_bundle(tree, tree / "bundle")
    return (tree / "bundle").read_bytes()


def test_a_bundle_cut_short_at_any_byte_is_refused(real):
    assert isinstance(outcome(real), dict)
    for length in range(len(real)):
        assert outcome(real[:length]) == "bundle_invalid"


def test_a_tar_cut_short_at_any_byte_is_refused(real):
    tar = zstandard.ZstdDecompressor().decompress(real)
    for length in range(0, len(tar), 31):
        assert outcome(packed(tar[:length], level=1)) == "bundle_invalid"


def test_a_bundle_with_anything_behind_it_is_refused(real):
    for more in (b"\0", b"\n", real, real[:4], bytes(512), b"\x50\x2a\x4d\x18\0\0\0\0"):
        assert outcome(real + more) == "bundle_invalid"


@settings(max_examples=300)
@given(st.data())
def test_a_mutated_bundle_is_refused_or_the_same(real, data):
    at = data.draw(st.integers(0, len(real) - 1))
    drop = data.draw(st.integers(0, 4))
    changed = real[:at] + data.draw(st.binary(max_size=4)) + real[at + drop :]
    found = outcome(changed)
    assert isinstance(found, str) or found == outcome(real)  # the frame's checksum covers every byte of its content


@settings(max_examples=300)
@given(st.data())
def test_a_mutated_tar_is_read_or_refused_by_a_typed_error(real, data):
    tar = bytearray(zstandard.ZstdDecompressor().decompress(real))
    for _ in range(data.draw(st.integers(1, 3))):
        tar[data.draw(st.integers(0, len(tar) - 1))] = data.draw(st.integers(0, 255))
    outcome(packed(bytes(tar), level=1))
