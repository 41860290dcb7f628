"""The error tree: each code once, with the status and blame that other systems already depend on."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from shared import error_base, errors
from shared.errors import BY_CODE, Blame, CallerError, GuestError, HostError, Internal, PlatformError, by_code

GOLDEN = Path(__file__).parent.parent / "contract" / "golden" / "errors.json"


def tree(cls=PlatformError):
    """The classes of `shared.errors`; whatever else a test run has imported may add to a leaf, never a code."""
    yield cls
    for sub in cls.__subclasses__():
        if sub.__module__ in (errors.__name__, error_base.__name__):
            yield from tree(sub)


def test_every_code_keeps_its_status_and_blame():
    """A new code is a new line in the golden file; a changed or missing line breaks somebody who depends on it."""
    golden = json.loads(GOLDEN.read_text())
    assert {code: [cls.status, str(cls.blame)] for code, cls in BY_CODE.items()} == golden
    assert list(golden) == sorted(golden)


def test_no_two_classes_share_a_code():
    named = [cls for cls in tree() if "code" in vars(cls) and cls is not PlatformError]
    assert len({cls.code for cls in named}) == len(named) == len(BY_CODE)


@pytest.mark.parametrize("code", sorted(BY_CODE))
def test_a_code_that_arrives_over_the_wire_finds_its_class(code):
    assert by_code(code).code == code


@pytest.mark.parametrize("code", ["", "unheard_of", "Internal", "__class__"])
def test_a_code_of_a_later_release_is_an_internal_error(code):
    assert by_code(code) is Internal


@pytest.mark.parametrize("cls", BY_CODE.values(), ids=lambda cls: cls.code)
def test_each_leaf_is_told_in_words_and_blames_one_side(cls):
    letters = "[A-Z]" if issubclass(cls, errors.StorageRefused) else "[a-z]"  # those codes came with their contract
    assert re.fullmatch(rf"{letters}+(_{letters}+)*", cls.code)
    assert cls.title[0].isalpha()
    assert not cls.title.endswith(".")
    assert 400 <= cls.status < 600
    sides = {CallerError: Blame.CALLER, GuestError: Blame.GUEST, HostError: Blame.HOST}
    assert [blame for side, blame in sides.items() if issubclass(cls, side)] == [cls.blame]


@pytest.mark.parametrize("cls", BY_CODE.values(), ids=lambda cls: cls.code)
def test_a_refusal_without_detail_says_its_title(cls):
    assert str(cls()) == cls().detail == cls.title
    assert str(cls("because")) == "because"


def test_a_guest_error_means_that_guest_code_may_have_run():
    assert errors.GuestTimeout().started
    assert not errors.GuestTimeout(started=False).started
    assert not errors.ComponentInvalid().started
    assert not errors.Overloaded().started
    assert errors.BundleUnavailable(started=True).started


def test_a_refusal_carries_when_to_come_back_and_further_members():
    error = errors.UnknownCapabilities("one is not known", names=["cap:x"])
    assert (error.retry_after_s, error.extra) == (None, {"names": ["cap:x"]})
    assert errors.Overloaded(retry_after_s=3).retry_after_s == 3
    assert errors.GuestTimeout(retry_after_s=2).retry_after_s == 2


def test_the_drawing_on_top_of_the_file_shows_every_class():
    drawn = set(re.findall(r"\w+", errors.__doc__))
    counted = {cls.__name__ for group in (errors.SignatureRefused, errors.StorageRefused) for cls in tree(group)}
    assert {cls.__name__ for cls in tree()} - drawn - counted == set()
