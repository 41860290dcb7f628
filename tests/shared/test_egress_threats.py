"""Threats T01 to T08 with their exact inputs, as far as the pure policy decides them; the connector's half is tried
against real sockets beside it.
"""

from __future__ import annotations

import pytest

from shared.egress import Allowed, Denied, Entry, EntryError, Reason, decide, parse_entries, parse_entry
from shared.egress_addresses import any_denied
from shared.egress_request import check_request
from shared.egress_url import DEFAULT_PORT, parse_host, parse_url, redirect_url

pytestmark = pytest.mark.security

ALLOWLIST = parse_entries(["https://api.example.com", "http://api.example.com"])


def forced(host, scheme="http"):
    """An entry that the grammar would refuse, as if a row had been written behind its back."""
    return Entry(scheme, parse_host(host), DEFAULT_PORT[scheme])


def refusal(url, entries=ALLOWLIST):
    verdict = decide(url, entries, None)
    assert isinstance(verdict, Denied)
    return verdict.reason


def test_t01_the_metadata_address_is_denied_even_when_granted():
    url = "http://169.254.169.254/latest/meta-data/"
    assert refusal(url, (forced("169.254.169.254"),)) is Reason.ADDRESS
    with pytest.raises(EntryError, match="only public"):
        parse_entry("169.254.169.254")


@pytest.mark.parametrize("url", ["http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/", "http://127.1/"])
def test_t02_a_number_in_disguise_is_invalid_before_dns(url):
    assert refusal(url) is Reason.INVALID_URL


@pytest.mark.parametrize("host", ["[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]"])
def test_t03_an_ipv4_address_inside_ipv6_is_denied(host):
    assert refusal(f"http://{host}/", (forced(host),)) is Reason.ADDRESS


def test_t04_a_name_that_also_resolves_to_loopback_is_denied_whatever_the_order():
    assert any_denied(["93.184.216.34", "127.0.0.1"])
    assert any_denied(["127.0.0.1", "93.184.216.34"])
    assert any_denied(["93.184.216.34"]) is None


def test_t05_a_redirect_to_the_metadata_address_is_refused_at_its_hop():
    first = decide("https://api.example.com/", ALLOWLIST, None)
    assert isinstance(first, Allowed)
    assert refusal(redirect_url(first.target, "http://169.254.169.254/")) is Reason.ADDRESS


@pytest.mark.parametrize("location", ["//evil.example/", "https://api.example.com@evil.example/", "\\\\evil.example/"])
def test_t05_a_redirect_elsewhere_is_a_new_decision(location):
    assert isinstance(decide(redirect_url(parse_url("https://api.example.com/"), location), ALLOWLIST, None), Denied)


def test_t06_a_url_that_two_parsers_would_read_differently_is_refused():
    assert refusal("https://api.example.com\\@evil.example/") is Reason.INVALID_URL
    assert refusal("https://api.example.com@evil.example/") is Reason.USERINFO


def test_t07_the_environment_has_no_say(monkeypatch):
    before = decide("https://api.example.com/", ALLOWLIST, None)
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://10.0.0.5:3128")
    assert decide("https://api.example.com/", ALLOWLIST, None) == before


def test_t08_nothing_with_a_line_break_reaches_the_wire():
    header = check_request("GET", [("X-A", "a\r\nX-Injected: 1")])
    assert isinstance(header, Denied)
    assert header.reason is Reason.HEADER_INVALID
    assert refusal("https://api.example.com/a\r\nHost: x") is Reason.INVALID_URL
    method = check_request("GET / HTTP/1.1\r\n", [])
    assert isinstance(method, Denied)
    assert method.reason is Reason.METHOD
