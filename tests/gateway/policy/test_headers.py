"""Two allowlists: what a guest sees of a client's headers, and what a client sees of a guest's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy import headers
from shared.errors import GuestResponseInvalid, HeadersTooLarge, InvalidRequest
from shared.limits import HEADER_BLOCK_MAX_BYTES, HEADERS_MAX_COUNT

IDS = {"tenant_id": "acme", "extension_id": "ext-1", "request_id": "req-1"}
PLATFORM = {"x-request-id": "req-1", "x-alga-tenant": "acme", "x-alga-extension": "ext-1"}


@pytest.mark.parametrize("name", sorted(headers.LISTS_TO_GUEST | headers.SINGLES_TO_GUEST))
def test_an_allowed_request_header_reaches_the_guest(name: bytes) -> None:
    assert headers.to_guest([(name, b" value ")], **IDS) == {name.decode(): "value", **PLATFORM}


@pytest.mark.parametrize(
    "name",
    [b"authorization", b"cookie", b"x-api-key", b"x-tenant-id", b"x_tenant_id", b"x-forwarded-for", b"host", b"origin",
     b"x-alga-session", b"connection", b"transfer-encoding", b"content-length", b"referer", b"x-ext-app-a"],
)  # fmt: skip
def test_any_other_request_header_never_reaches_the_guest(name: bytes) -> None:
    assert headers.to_guest([(name, b"value")], **IDS) == PLATFORM


def test_the_platforms_own_headers_win_over_the_callers() -> None:
    sent = [(b"x-alga-tenant", b"globex"), (b"x-alga-extension", b"other"), (b"x-request-id", b"forged")]
    assert headers.to_guest(sent, **IDS) == PLATFORM


def test_a_list_header_in_two_lines_is_joined() -> None:
    sent = [(b"accept", b"text/html"), (b"accept", b"*/*")]
    assert headers.to_guest(sent, **IDS)["accept"] == "text/html, */*"


@pytest.mark.parametrize("name", sorted(headers.SINGLES_TO_GUEST))
def test_a_single_header_in_two_lines_is_refused(name: bytes) -> None:
    with pytest.raises(InvalidRequest, match="only once"):
        headers.to_guest([(name, b"a"), (name, b"b")], **IDS)


@pytest.mark.parametrize("value", [b"a\r\nx: y", b"a\x00b", b"a\x7fb", b"\x1b[2J"])
def test_a_request_header_with_control_characters_is_refused(value: bytes) -> None:
    with pytest.raises(InvalidRequest, match="control"):
        headers.to_guest([(b"user-agent", value)], **IDS)


def test_the_header_block_is_limited_in_bytes() -> None:
    headers.check_block([(b"x", b"a" * (HEADER_BLOCK_MAX_BYTES - 1))])
    with pytest.raises(HeadersTooLarge):
        headers.check_block([(b"x", b"a" * HEADER_BLOCK_MAX_BYTES)])


def test_the_header_block_is_limited_in_number() -> None:
    headers.check_block([(b"x", b"a")] * HEADERS_MAX_COUNT)
    with pytest.raises(HeadersTooLarge):
        headers.check_block([(b"x", b"a")] * (HEADERS_MAX_COUNT + 1))


@pytest.mark.parametrize("sent", [[], [(b"content-length", b"5")], [(b"transfer-encoding", b"chunked")]])
def test_a_body_with_one_length_is_accepted(sent: list[tuple[bytes, bytes]]) -> None:
    headers.check_framing(sent)


@pytest.mark.parametrize(
    "names",
    [(b"content-length", b"transfer-encoding"), (b"content-length",) * 2, (b"transfer-encoding",) * 2],
)
def test_a_body_with_two_lengths_is_refused(names: tuple[bytes, ...]) -> None:
    with pytest.raises(InvalidRequest):
        headers.check_framing([(name, b"5") for name in names])


@pytest.mark.parametrize("value", [b"script", b"worker", b"serviceworker", b"sharedworker", b"ServiceWorker"])
def test_a_load_as_code_is_recognised(value: bytes) -> None:
    assert headers.loads_as_script([(b"sec-fetch-dest", value)])


@pytest.mark.parametrize("sent", [[], [(b"sec-fetch-dest", b"empty")], [(b"sec-fetch-dest", b"document")]])
def test_any_other_load_is_not(sent: list[tuple[bytes, bytes]]) -> None:
    assert not headers.loads_as_script(sent)


@pytest.mark.parametrize("status", [200, 204, 404, 599])
def test_a_final_status_passes(status: int) -> None:
    headers.check_status(status)


@pytest.mark.parametrize("status", [-1, 0, 100, 101, 199, 600, 999])
def test_any_other_status_is_the_guests_fault(status: int) -> None:
    with pytest.raises(GuestResponseInvalid):
        headers.check_status(status)


def _passed(*sent: tuple[str, str]) -> dict[bytes, bytes]:
    return dict(headers.to_client(sent))


@pytest.mark.parametrize("name", [*sorted(headers.TO_CLIENT), "x-ext-app-page"])
def test_an_allowed_response_header_reaches_the_client(name: str) -> None:
    assert _passed((name.title(), "value"))[name.encode()] == b"value"


@pytest.mark.parametrize(
    "name",
    ["set-cookie", "clear-site-data", "service-worker-allowed", "access-control-allow-origin", "refresh", "link",
     "content-security-policy-report-only", "x-ext-platform-replay", "x-ext-app-", "x-ext-app-a b", "connection",
     "transfer-encoding", "content-length", "www-authenticate", "strict-transport-security", "sourcemap", "server",
     "x-request-id", "x-frame-options", "cross-origin-opener-policy", "content-encoding", "vary"],
)  # fmt: skip
def test_any_other_response_header_is_dropped(name: str) -> None:
    assert name.encode() not in _passed((name, "value"))


def test_every_answer_is_inert_on_the_gateways_origin() -> None:
    passed = _passed(("content-type", "text/html"), ("content-security-policy", "default-src *"))
    assert passed == {
        b"content-type": b"text/html",
        b"cache-control": b"no-store",
        b"x-content-type-options": b"nosniff",
        b"content-security-policy": b"sandbox; default-src 'none'",
        b"cross-origin-resource-policy": b"same-origin",
    }


def test_an_answer_without_a_type_is_a_stream_of_bytes() -> None:
    assert _passed()[b"content-type"] == b"application/octet-stream"


def test_a_second_content_type_is_dropped_and_the_first_stays() -> None:
    sent = headers.to_client([("content-type", "text/plain"), ("Content-Type", "text/html")])
    assert [value for name, value in sent if name == b"content-type"] == [b"text/plain"]


@pytest.mark.parametrize("value", ["a\r\nset-cookie: b=c", "a\nb", "a\x00b", "naïve ✓"])
def test_a_value_that_no_header_can_carry_is_the_guests_fault(value: str) -> None:
    with pytest.raises(GuestResponseInvalid):
        headers.to_client([("etag", value)])


@pytest.mark.parametrize("value", ["/", "/a/b?c=d#e", "/@evil.example", "/a;b=1"])
def test_a_local_redirect_passes(value: str) -> None:
    assert _passed(("location", value))[b"location"] == value.encode()


@pytest.mark.parametrize(
    "value",
    ["//evil.example", "https://evil.example/", "/\\evil.example", "\\/evil", "a/b", "", " /a", "/a\tb", "/a//b",
     "javascript:alert(1)", "/\r\nset-cookie: a=b", "/é"],
)  # fmt: skip
def test_any_other_redirect_is_dropped(value: str) -> None:
    assert b"location" not in _passed(("location", value))


@pytest.mark.parametrize(
    ("asked", "left"),
    [
        ("", "no-store"),
        ("no-store", "no-store"),
        ("no-store, max-age=60", "no-store"),
        ("public", "private"),
        ("public, max-age=60", "private, max-age=60"),
        ("Private, Max-Age=60", "private, max-age=60"),
        ("max-age=60, must-revalidate", "private, max-age=60, must-revalidate"),
        ("no-cache", "private, no-cache"),
        ("s-maxage=60", "no-store"),
        ("immutable, stale-while-revalidate=60", "no-store"),
        ("max-age=60, s-maxage=600", "private, max-age=60"),
        ("max-age=-1", "no-store"),
        ("max-age=99999999999", "no-store"),
        ('private="x-secret"', "no-store"),
    ],
)
def test_caching_is_for_the_one_reader_only(asked: str, left: str) -> None:
    assert headers.cache_control(asked) == left


@given(st.lists(st.tuples(st.text(max_size=24), st.text(max_size=40)), max_size=8))
def test_whatever_a_guest_sends_only_allowed_lines_leave(sent: list[tuple[str, str]]) -> None:
    try:
        passed = headers.to_client(sent)
    except GuestResponseInvalid:
        return
    allowed = {name.encode() for name in headers.TO_CLIENT} | {name for name, _ in headers.FIXED}
    for name, value in passed:
        assert name in allowed | {b"location", b"cache-control"} or name.startswith(b"x-ext-app-")
        assert not set(b"\r\n\x00") & set(name + value)
    assert set(headers.FIXED) <= set(passed)


@given(st.text(max_size=60))
def test_no_cache_directive_ever_allows_a_shared_cache(value: str) -> None:
    words = {word.strip() for word in headers.cache_control(value).split(",")}
    assert words & {"no-store", "private"}
    assert "public" not in words
