"""Methods and headers of a guest's request: refused whole or passed on as they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.egress import Denied, Reason
from shared.egress_request import (
    FORBIDDEN_HEADERS,
    FORBIDDEN_PREFIXES,
    METHODS,
    Outgoing,
    check_request,
    without_credentials,
)
from shared.limits import EGRESS_HEADER_BLOCK_MAX_BYTES, EGRESS_REDIRECTS_MAX_COUNT


def reason(method="GET", *headers):
    outcome = check_request(method, headers)
    return outcome.reason if isinstance(outcome, Denied) else None


@pytest.mark.parametrize("method", METHODS)
def test_a_usual_method_passes(method):
    assert check_request(method, []) == Outgoing(method, ())


@pytest.mark.parametrize("method", ["", "get", "CONNECT", "TRACE", "GET ", "GET / HTTP/1.1\r\n", "PURGE", "GÉT"])
def test_any_other_method_is_refused(method):
    assert reason(method) is Reason.METHOD


@pytest.mark.parametrize("name", [*sorted(FORBIDDEN_HEADERS), *(f"{prefix}any" for prefix in FORBIDDEN_PREFIXES)])
def test_a_header_of_the_platform_is_refused_in_any_case(name):
    assert reason("GET", (name, "x")) is Reason.HEADER_FORBIDDEN
    assert reason("GET", (name.upper(), "x")) is Reason.HEADER_FORBIDDEN


@pytest.mark.parametrize(
    "name", ["accept", "authorization", "cookie", "x-api-key", "x-extra", "content-type", "hostile"]
)
def test_a_header_of_the_guest_passes_in_lower_case(name):
    assert check_request("POST", [(name.title(), "v")]) == Outgoing("POST", ((name, "v"),))


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\nb", "a\x00", "ä", "a\n", "(a)"])
def test_a_header_name_that_is_no_token_is_refused(name):
    assert reason("GET", (name, "x")) is Reason.HEADER_INVALID


@pytest.mark.parametrize("value", ["a\r\nX-Injected: 1", "a\nb", "a\rb", "a\x00", "\x1b[31m", "\x7f"])
def test_a_control_character_in_a_value_is_refused(value):
    assert reason("GET", ("x-a", value)) is Reason.HEADER_INVALID


def test_a_tab_and_text_beyond_ascii_are_values():
    assert reason("GET", ("x-a", "a\tb"), ("x-b", "grün")) is None


@pytest.mark.parametrize("count", range(EGRESS_REDIRECTS_MAX_COUNT + 1))
def test_a_guest_may_ask_for_redirects_and_the_header_is_consumed(count):
    outcome = check_request("GET", [("X-Ext-Follow-Redirects", str(count)), ("accept", "*/*")])
    assert outcome == Outgoing("GET", (("accept", "*/*"),), redirects_max=count)


@pytest.mark.parametrize("value", [str(EGRESS_REDIRECTS_MAX_COUNT + 1), "-1", "", "05", "5 ", "true", "٣"])
def test_more_redirects_or_none_of_a_number_are_refused(value):
    assert reason("GET", ("x-ext-follow-redirects", value)) is Reason.HEADER_INVALID


@pytest.mark.parametrize(("extra", "fine"), [(-1, True), (0, True), (1, False)])
def test_headers_are_accepted_up_to_their_limit(extra, fine):
    value = "v" * (EGRESS_HEADER_BLOCK_MAX_BYTES - len("x-a") - 4 + extra)
    assert (reason("GET", ("x-a", value)) is None) is fine


def test_credentials_do_not_follow_a_redirect_to_another_origin():
    headers = (("authorization", "Bearer x"), ("cookie", "a=b"), ("accept", "*/*"))
    assert without_credentials(headers) == (("accept", "*/*"),)


@given(st.text(max_size=10), st.lists(st.tuples(st.text(max_size=10), st.text(max_size=10)), max_size=3))
def test_nothing_that_passes_can_break_a_line(method, headers):
    outcome = check_request(method, headers)
    if isinstance(outcome, Outgoing):
        assert outcome.method in METHODS
        for name, value in outcome.headers:
            assert not set("\r\n\x00") & set(name + value)
            assert name == name.lower()
            assert name not in FORBIDDEN_HEADERS
            assert not name.startswith(FORBIDDEN_PREFIXES)
