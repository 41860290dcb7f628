"""The bundle reader: every rule holds for every member, wanted or not, and any input is read or refused."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bundle_reader import read_bundle
from shared.errors import BundleInvalid, BundleLimits
from shared.limits import BUNDLE_TAR_PADDING_MAX_BYTES
from tests.shared.tar_parts import END, bundle, header, member, packed, padded, pax, read, record, refused

# ---- accepted -----------------------------------------------------------------------------------------------


def test_members_come_in_the_order_of_the_archive():
    data = bundle(member(b"ui/z", b"1"), member(b"manifest.json", b"{}"), member(b"ui/empty", b""))
    assert list(read(data).items()) == [("ui/z", b"1"), ("manifest.json", b"{}"), ("ui/empty", b"")]


def test_only_what_is_wanted_is_given():
    data = bundle(member(b"ui/a", b"1" * 700), member(b"ui/b", b"2"), member(b"ui/c", b"3"))
    assert read(data, lambda name: name == "ui/b") == {"ui/b": b"2"}


def test_an_empty_archive_has_no_members():
    assert read(bundle()) == {}


def test_a_prefix_and_a_pax_path_make_long_names():
    name = "ui/" + "é" * 100
    data = bundle(
        member(b"b" * 90, b"1", prefix=b"ui/" + b"a" * 100),
        pax(record(b"path", name.encode())) + member(b"ignored", b"2"),
    )
    assert read(data) == {"ui/" + "a" * 100 + "/" + "b" * 90: b"1", name: b"2"}


def test_pax_notes_about_time_and_owner_are_read_past():
    data = bundle(pax(record(b"mtime", b"1.5"), record(b"uid", b"7"), record(b"uname", b"me")) + member(b"ui/a", b"1"))
    assert read(data) == {"ui/a": b"1"}


def test_the_older_mark_of_a_regular_file_is_accepted():
    assert read(bundle(member(b"ui/a", b"1", kind=b"\0"))) == {"ui/a": b"1"}


def test_a_source_that_gives_a_byte_at_a_time_is_read():
    class Slow(io.BytesIO):
        def read(self, _size=-1):
            return super().read(1)

    data = bundle(member(b"ui/a", b"1" * 600))
    assert [found.name for found in read_bundle(Slow(data))] == ["ui/a"]


def test_zeros_behind_the_end_are_accepted_up_to_a_limit():
    most = bytes(BUNDLE_TAR_PADDING_MAX_BYTES)
    assert read(packed(member(), END, most)) == {"ui/a": b"x"}
    assert "behind the end" in refused(packed(member(), END, most, b"\0"))[1]


# ---- names and kinds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (b"1", "hard link"),
        (b"2", "symbolic link"),
        (b"3", "character device"),
        (b"4", "block device"),
        (b"5", "directory"),
        (b"6", "pipe"),
        (b"7", "type"),
        (b"S", "sparse"),
        (b"g", "type"),
        (b"L", "type"),
        (b"K", "type"),
        (b"V", "type"),
        (b"?", "type"),
    ],
)
def test_what_is_no_regular_file_is_refused_by_name(kind, word):
    path, detail = refused(bundle(member(), header(b"ui/odd", 0, kind)))
    assert path == "ui/odd"
    assert word in detail


@pytest.mark.parametrize(
    "name", [b"../../etc/cron.d/x", b"/etc/passwd", b"ui/./a", b"ui//a", b"ui/", b"", b"ui\\a", b"ui/a\x1b", b"ui/\x7f"]
)
def test_a_name_that_leaves_the_bundle_is_refused_in_either_header(name):
    assert refused(bundle(member(name)))[0] == name.decode()
    assert refused(bundle(pax(record(b"path", name)) + member(b"ui/a")))[0] == name.decode()


def test_a_name_that_is_not_utf_8_is_refused():
    assert refused(bundle(member(b"ui/\xff")))[0] == "ui/\\xff"
    assert refused(bundle(pax(record(b"path", b"ui/\xff")) + member()))[0] == "ui/\\xff"


@pytest.mark.parametrize(
    ("first", "second"),
    [("ui/a", "ui/a"), ("ui/a", "UI/A"), ("ui/é", "ui/e\u0301"), ("ui/a", "ui/a/b"), ("ui/a/b", "ui/a")],
)
def test_two_names_that_could_meet_are_refused(first, second):
    assert refused(bundle(member(first.encode()), member(second.encode())))[0] == second


# ---- headers that contradict themselves ---------------------------------------------------------------------


def test_pax_and_ustar_sizes_must_agree():
    assert read(bundle(pax(record(b"size", b"3")) + member(b"ui/a", b"abc"))) == {"ui/a": b"abc"}
    for size in (b"2", b"4", b"0003", b"-3", b"3.0", b""):
        path, detail = refused(bundle(pax(record(b"size", size)) + member(b"ui/a", b"abc")))
        assert path == "ui/a"
        assert "sizes" in detail


@pytest.mark.parametrize(
    "key", [b"GNU.sparse.major", b"GNU.sparse.name", b"linkpath", b"SCHILY.xattr.user.a", b"hdrcharset", b"", b"PATH"]
)
def test_a_pax_record_that_could_change_the_meaning_is_refused(key):
    refused(bundle(pax(record(key, b"1")) + member()))


@pytest.mark.parametrize(
    "data",
    [
        record(b"path", b"a") * 2,
        b"0 path=a\n",
        b"11 path=a\n",
        b"8 path=a\n",
        b"99 path=a\n",
        b" path=a\n",
        b"x path=a\n",
        b"010 path=ab\n",
        b"9 path=ab",
        b"\0" * 30,
        b"5 a\nb\n",
    ],
)
def test_a_pax_header_that_is_not_well_formed_is_refused(data):
    refused(bundle(header(b"p", len(data), b"x") + padded(data) + member()))


def test_a_pax_header_needs_its_file_and_has_a_limit():
    refused(bundle(pax(record(b"path", b"ui/a"))))
    refused(bundle(pax(record(b"path", b"ui/a")) * 2 + member()))
    refused(bundle(pax(record(b"uname", b"x" * 9_000)) + member()), BundleLimits)


@pytest.mark.parametrize(
    "fields",
    [
        {"magic": b"ustar  \0"},
        {"magic": bytes(8)},
        {"size_field": b"\x80" + bytes(10) + b"\x01"},
        {"size_field": b"-0000000001\0"},
        {"size_field": b"00000 00001\0"},
        {"size_field": b"0000000000x\0"},
        {"size_field": bytes(12)},
        {"size_field": b"0000000\x001234"},
        {"checksum": b"000000\0 "},
        {"checksum": b"        "},
        {"tail": b"x" + bytes(11)},
        {"name": b"ui/a\0hidden"},
        {"prefix": b"ui\0hidden"},
    ],
)
def test_a_header_that_tar_programs_read_differently_is_refused(fields):
    refused(bundle(member(**fields)))


def test_padding_must_be_zero():
    assert refused(bundle(header(b"ui/a", 1) + b"x" + b"y" * 511))[0] == "ui/a"
    data = record(b"path", b"ui/a")
    refused(bundle(header(b"p", len(data), b"x") + data + b"y" * (512 - len(data)) + member()))


def test_a_single_zero_block_does_not_end_the_archive():
    refused(packed(member(), bytes(512), member(b"ui/b"), END))


@pytest.mark.parametrize("behind", [b"x", member(b"ui/hidden"), bytes(511) + b"x"])
def test_data_behind_the_end_is_refused(behind):
    refused(packed(member(), END, behind))


def test_an_archive_that_ends_early_is_refused_wherever_it_ends():
    whole = member(b"ui/a", b"x" * 600) + END
    for length in (*range(0, len(whole), 97), len(whole) - 1):
        refused(packed(whole[:length]))


# ---- any input ----------------------------------------------------------------------------------------------

PLAIN = b"".join(
    (
        member(b"manifest.json", b"{}" * 30),
        pax(record(b"path", "ui/é".encode()), record(b"size", b"5")) + member(b"x", b"hello"),
        member(b"b" * 20, b"x" * 600, prefix=b"ui/" + b"a" * 30),
        END,
    )
)
FRAME = packed(PLAIN, level=1)


def _mutated(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for at, drop, new in edits:
        start = at % (len(data) + 1)
        data = data[:start] + new + data[start + drop :]
    return data


EDITS = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 3), st.binary(max_size=3)), min_size=1, max_size=4)


@given(EDITS)
def test_a_mutated_frame_is_read_or_refused(edits):
    try:
        read(_mutated(FRAME, edits))
    except (BundleInvalid, BundleLimits) as error:
        assert "path" in error.extra


@given(EDITS)
def test_a_mutated_archive_is_read_or_refused_and_wanting_less_changes_nothing(edits):
    data = packed(_mutated(PLAIN, edits), level=1)

    def outcome(want):
        try:
            read(data, want)
        except (BundleInvalid, BundleLimits) as error:
            return error.code, error.detail, error.extra["path"]
        return "read"

    assert outcome(lambda _name: True) == outcome(lambda _name: False)


@given(st.dictionaries(st.from_regex(r"ui/[a-z]{1,20}", fullmatch=True), st.binary(max_size=1100), max_size=8))
def test_what_was_packed_is_read(files):
    data = bundle(*(member(name.encode(), content) for name, content in files.items()))
    assert read(data) == files


@given(st.binary(max_size=64), st.booleans())
def test_any_bytes_are_refused(data, framed):
    refused((bytes.fromhex("28b52ffd") if framed else b"") + data, (BundleInvalid, BundleLimits))
