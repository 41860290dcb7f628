"""The one shape of an error, pinned byte for byte, and back again."""

from __future__ import annotations

import msgspec
import pytest

from runner import problem
from shared.errors import BundleInvalid, BundleUnavailable, Internal, NotFound


def test_the_bytes_of_a_problem_never_change():
    assert problem.encode(BundleInvalid("a link", path="ui/a"), "r-1") == (
        b'{"type":"urn:alga:error:bundle_invalid","title":"The archive is not a valid bundle","status":422,'
        b'"detail":"a link","code":"bundle_invalid","blame":"caller","path":"ui/a","request_id":"r-1"}'
    )


def test_no_problem_may_be_cached_or_sniffed():
    body = problem.encode(NotFound())
    assert dict(problem.headers(NotFound(), body)) == {
        b"content-type": b"application/problem+json",
        b"content-length": str(len(body)).encode(),
        b"cache-control": b"no-store",
        b"x-content-type-options": b"nosniff",
    }


def test_when_to_come_back_is_a_header():
    error = BundleUnavailable("away", retry_after_s=2)
    assert (b"retry-after", b"2") in problem.headers(error, b"")


def test_another_service_reads_the_same_error():
    found = problem.decode(problem.encode(BundleInvalid("a link", path="ui/a")))
    assert (type(found), found.detail, found.extra) == (BundleInvalid, "a link", {"path": "ui/a"})


def test_a_code_of_a_later_release_is_internal():
    assert type(problem.decode(b'{"code":"new_code","detail":"?"}')) is Internal


@pytest.mark.parametrize("body", [b"", b"[]", b'{"detail":"x"}', b'{"code":"\xff"}'])
def test_what_is_no_problem_is_refused(body: bytes):
    with pytest.raises((msgspec.MsgspecError, UnicodeDecodeError)):
        problem.decode(body)
