"""The path of `/api/ext/…` is decided on the raw bytes; what two readers could read in two ways is refused."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy import paths
from shared.errors import InvalidPath
from shared.limits import URL_MAX_BYTES


@pytest.mark.parametrize(
    ("raw", "extension", "path"),
    [
        (b"/api/ext/acme.notes", "acme.notes", "/"),
        (b"/api/ext/acme.notes/", "acme.notes", "/"),
        (b"/api/ext/acme.notes/agreements/sync", "acme.notes", "/agreements/sync"),
        (b"/api/ext/acme.notes/agreements/", "acme.notes", "/agreements/"),
        (b"/api/ext/acme%2Enotes/a", "acme.notes", "/a"),
        (b"/api/ext/x/a%20b", "x", "/a%20b"),
        (b"/api/ext/x/a%3fb%23c", "x", "/a%3Fb%23c"),
        (b"/api/ext/x/%61%62", "x", "/ab"),
        (b"/api/ext/x/caf%c3%a9", "x", "/caf%C3%A9"),
        (b"/api/ext/x/a|b", "x", "/a%7Cb"),
        (b"/api/ext/x/...", "x", "/..."),
    ],
)
def test_an_acceptable_path_is_decoded_once_and_written_canonically(raw: bytes, extension: str, path: str) -> None:
    parsed = paths.parse(raw)
    assert (parsed.extension, parsed.path) == (extension, path)


def test_a_doubly_encoded_segment_stays_text() -> None:
    parsed = paths.parse(b"/api/ext/x/%252e%252e/%252f")
    assert parsed.segments == ("%2e%2e", "%2f")
    assert parsed.path == "/%252e%252e/%252f"


@pytest.mark.parametrize(
    "raw",
    [
        b"/api/ext/x/a%2fb",
        b"/api/ext/x/a%2Fb",
        b"/api/ext/x/a%5cb",
        b"/api/ext/x/a%5Cb",
        b"/api/ext/x/a\\b",
        b"/api/ext/x/a%00b",
        b"/api/ext/x/..",
        b"/api/ext/x/../y/z",
        b"/api/ext/x/%2e%2e/y",
        b"/api/ext/x/%2E./y",
        b"/api/ext/x/./y",
        b"/api/ext/../x/y",
        b"/api/ext/%2e%2e/y",
        b"/api/ext/x/a%0ab",
        b"/api/ext/x/a%0d%0aHost:%20evil",
        b"/api/ext/x/a%1f",
        b"/api/ext/x/a%7f",
        b"/api/ext/x/a%c2%85",
        b"/api/ext/x//y",
        b"/api/ext/x//",
        b"/api/ext//y",
        b"/api/ext/",
        b"/api/ext/x/%",
        b"/api/ext/x/%4",
        b"/api/ext/x/%zz",
        b"/api/ext/x/%ff",
        b"/api/ext/x/%c0%ae",
        b"/api/ext/x/a#b",
        b"/api/ext/x/a?b",
        b"/api/ext/x/a b",
        b"/api/ext/x/caf\xc3\xa9",
        b"/api%2fext/x/y",
        b"/api/%65xt/x/y",
        b"//api/ext/x/y",
        b"@evil.example/api/ext/x/y",
        b"http://evil.example/api/ext/x/y",
        b"*",
        b"",
    ],
)
def test_a_path_with_two_readings_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidPath):
        paths.parse(raw)


def test_the_length_of_a_path_is_limited_at_the_byte() -> None:
    stem = b"/api/ext/x/"
    assert paths.parse(stem + b"a" * (URL_MAX_BYTES - len(stem))).extension == "x"
    with pytest.raises(InvalidPath, match=str(URL_MAX_BYTES)):
        paths.parse(stem + b"a" * (URL_MAX_BYTES - len(stem) + 1))


@given(st.binary(max_size=60))
def test_whatever_bytes_arrive_the_answer_is_a_clean_path_or_a_refusal(tail: bytes) -> None:
    try:
        parsed = paths.parse(b"/api/ext/x/" + tail)
    except InvalidPath:
        return
    assert re.fullmatch(r"/(?!/)[!-\[\]-~]*", parsed.path)
    assert tuple(unquote(part) for part in parsed.path[1:].split("/")) == parsed.segments
    assert not {".", ".."} & set(parsed.segments)
    assert "" not in parsed.segments[:-1]


_SEGMENT = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/\\"), min_size=1, max_size=8
).filter(lambda text: text not in {".", ".."})


@given(st.lists(_SEGMENT, min_size=1, max_size=4))
def test_every_segment_of_text_survives_the_way_through(segments: list[str]) -> None:
    raw = b"/api/ext/x/" + "/".join(quote(part, safe="") for part in segments).encode()
    parsed = paths.parse(raw)
    assert parsed.segments == tuple(segments)
    assert paths.parse(b"/api/ext/x" + parsed.path.encode()) == parsed


@pytest.mark.parametrize(
    ("raw", "text", "fields"),
    [
        (b"", None, {}),
        (b"force=true", "force=true", {"force": "true"}),
        (b"a=1&a=2&b=", "a=1&a=2&b=", {"a": "2", "b": ""}),
        (b"q=a%20b+c", "q=a%20b+c", {"q": "a b c"}),
        (b"next=//x%2f..", "next=//x%2f..", {"next": "//x/.."}),
    ],
)
def test_a_query_passes_as_it_is_and_as_fields(raw: bytes, text: str | None, fields: dict[str, str]) -> None:
    assert paths.query(raw) == (text, fields)


@pytest.mark.parametrize("raw", [b"a=\x00", b"a=b c", b"a=\xc3\xa9", b"a=1#b", b"a" * (URL_MAX_BYTES + 1)])
def test_a_query_that_is_no_query_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidPath):
        paths.query(raw)


def test_a_query_may_be_as_long_as_the_limit() -> None:
    assert paths.query(b"a" * URL_MAX_BYTES)[0] == "a" * URL_MAX_BYTES
