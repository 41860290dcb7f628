"""Member names: what an unpacked bundle could not hold on some file system is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bundle_names import MemberNameError, Names, check_name, fold, member_max_bytes
from shared.limits import (
    BUNDLE_FILE_MAX_BYTES,
    BUNDLE_NAME_MAX_BYTES,
    BUNDLE_NAME_PART_MAX_BYTES,
    COMPONENT_MAX_BYTES,
    MANIFEST_MAX_BYTES,
)


@pytest.mark.parametrize("name", ["manifest.json", "ui/a/b.js", "ui/ä.png", "ui/...", "ui/a b", "ui/.hidden", "ui/a:b"])
def test_an_ordinary_name_is_accepted(name):
    check_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "/etc/passwd",
        "../x",
        "../../etc/cron.d/x",
        "ui/../x",
        "ui/./x",
        "ui//x",
        "ui/",
        ".",
        "..",
        "ui\\x",
        "C:\\x",
        "ui/a\0b",
        "ui/a\nb",
        "ui/a\x1b[2J",
        "ui/a\x7f",
        "ui/a\x85",
        "ui/a\u2028b",
        "ui/a\udc80",
    ],
)
def test_a_name_that_leaves_its_folder_or_hides_something_is_refused(name):
    with pytest.raises(MemberNameError):
        check_name(name)


def test_a_part_is_accepted_up_to_its_limit_in_bytes_and_no_longer():
    check_name("ui/" + "a" * BUNDLE_NAME_PART_MAX_BYTES)
    check_name("ui/" + "é" * (BUNDLE_NAME_PART_MAX_BYTES // 2))
    for part in ("a" * (BUNDLE_NAME_PART_MAX_BYTES + 1), "é" * 128):
        with pytest.raises(MemberNameError, match="255"):
            check_name("ui/" + part)


def test_a_name_is_accepted_up_to_its_limit_in_bytes_and_no_longer():
    longest = ("a" * 127 + "/") * 8
    assert len(longest) == BUNDLE_NAME_MAX_BYTES
    check_name(longest[:-1] + "b")
    with pytest.raises(MemberNameError, match=r"1024"):
        check_name(longest + "b")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("ui/a", "ui/a"),
        ("ui/A", "ui/a"),
        ("ui/straße", "ui/STRASSE"),
        ("ui/é", "ui/e\u0301"),
        ("ui/É", "ui/e\u0301"),
        ("ui/\u212b", "ui/å"),
        ("ui/ﬁ", "ui/FI"),
    ],
)
def test_twins_are_refused(first, second):
    for one, two in ((first, second), (second, first)):
        names = Names()
        names.add(one)
        with pytest.raises(MemberNameError, match="equal"):
            names.add(two)


@pytest.mark.parametrize(("first", "second"), [("ui/a", "ui/a/b"), ("UI/A", "ui/a/b/c"), ("ui", "ui/x")])
def test_a_name_that_is_file_and_directory_is_refused_in_either_order(first, second):
    for one, two in ((first, second), (second, first)):
        names = Names()
        names.add("ui0")
        names.add(one)
        with pytest.raises(MemberNameError, match="directory"):
            names.add(two)


def test_names_that_only_start_alike_stand_together():
    names = Names()
    for name in ("ui/a", "ui/a.b", "ui/a b", "ui/ab", "ui/a-b/c", "ui/b/a", "u/i", "ui/a0"):
        names.add(name)
    assert len(names) == 8


PARTS = st.sampled_from(["a", "A", "b", "é", "e\u0301", "ß", "ss", "a.b", "-"])


@given(st.lists(st.lists(PARTS, min_size=1, max_size=3).map("/".join), max_size=12))
def test_a_set_of_names_is_accepted_exactly_when_no_two_conflict(wanted):
    names, accepted = Names(), []
    for name in wanted:
        parts = fold(name).split("/")
        others = [fold(other).split("/") for other in accepted]
        conflict = any(parts[: len(other)] == other or other[: len(parts)] == parts for other in others)
        try:
            names.add(name)
        except MemberNameError:
            assert conflict
        else:
            assert not conflict
            accepted.append(name)


@given(st.text())
def test_folding_never_makes_a_separator(name):
    try:
        check_name(name)
    except MemberNameError:
        return
    assert "/" not in fold(name.replace("/", "-"))


def test_a_component_may_be_larger_than_an_asset():
    assert member_max_bytes("dist/main.wasm") == COMPONENT_MAX_BYTES
    assert member_max_bytes("ui/main.wasm") == BUNDLE_FILE_MAX_BYTES
    assert member_max_bytes("ui/app.js") == BUNDLE_FILE_MAX_BYTES


def test_a_manifest_is_no_larger_than_anyone_reads():
    assert member_max_bytes("manifest.json") == MANIFEST_MAX_BYTES
    assert member_max_bytes("ui/manifest.json") == BUNDLE_FILE_MAX_BYTES
