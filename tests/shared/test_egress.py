"""The allowlist: what an entry means, what grants and fence allow together, and that a denial names its remedy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.egress import (
    Allowed,
    Denied,
    Entry,
    EntryError,
    Reason,
    decide,
    parse_entries,
    parse_entry,
    parse_fence,
    parse_private,
)
from shared.egress_url import Host, UrlError

LABELS = st.sampled_from(["a", "b", "api", "www", "x-y", "_z"])
NAMES = st.lists(LABELS, min_size=1, max_size=3).map(lambda labels: ".".join([*labels, "example", "com"]))
SCHEMES = st.sampled_from(["", "https://", "http://"])
PORTS = st.sampled_from(["", ":80", ":443", ":8443"])
ENTRIES = st.builds(
    "{}{}{}{}".format, SCHEMES, st.sampled_from(["", "*."]), st.one_of(NAMES, st.just("example.com")), PORTS
).map(parse_entry)
ENTRY_LISTS = st.lists(ENTRIES, max_size=4).map(tuple)
FENCES = st.one_of(st.none(), ENTRY_LISTS)
URLS = st.builds("{}{}{}/x".format, st.sampled_from(["https://", "http://"]), NAMES, PORTS)


def allowed(url, *entries, fence=None):
    return isinstance(decide(url, parse_entries(entries), fence), Allowed)


# ---- the grammar of an entry --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("api.example.com", Entry("https", Host("api.example.com", False), 443)),
        ("API.Example.com", Entry("https", Host("api.example.com", False), 443)),
        ("api.example.com.", Entry("https", Host("api.example.com", False), 443)),
        ("https://api.example.com", Entry("https", Host("api.example.com", False), 443)),
        ("http://api.example.com", Entry("http", Host("api.example.com", False), 80)),
        ("api.example.com:8443", Entry("https", Host("api.example.com", False), 8443)),
        ("*.example.com", Entry("https", Host("example.com", False), 443, wildcard=True)),
        ("http://*.example.com:8080", Entry("http", Host("example.com", False), 8080, wildcard=True)),
        ("93.184.216.34", Entry("https", Host("93.184.216.34", True), 443)),
        ("https://[2606:4700::1111]:8443", Entry("https", Host("2606:4700::1111", True), 8443)),
        ("github.io", Entry("https", Host("github.io", False), 443)),
        ("*.corp.internal", Entry("https", Host("corp.internal", False), 443, wildcard=True)),
    ],
)
def test_an_entry_is_read_by_the_grammar(text, entry):
    assert parse_entry(text) == entry


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "write"),
        ("*", "write"),
        ("*.", "write"),
        ("**.example.com", "write"),
        ("*.*.example.com", "write"),
        ("api.*.com", "write"),
        ("*api.example.com", "write"),
        ("https://", "write"),
        ("https://api.example.com/", "without path"),
        ("https://api.example.com/v1", "without path"),
        ("api.example.com?x", "without path"),
        ("https://user@api.example.com", "without path"),
        ("10.0.0.0/8", "address range"),
        ("93.184.216.0/24", "address range"),
        ("api.example.com:80-90", "port"),
        ("api.example.com:*", "write"),
        ("api.example.com:0", "port"),
        ("api.example.com:", "port"),
        ("ftp://api.example.com", "write"),
        ("//api.example.com", "write"),
        (" api.example.com", "write"),
        ("api.example.com ", "write"),
        ("a.example.com,b.example.com", "two labels"),
        ("localhost", "two labels"),
        ("com", "two labels"),
        ("*.com", "two labels"),
        ("*.co.uk", "public suffix"),
        ("*.github.io", "public suffix"),
        ("*.s3.amazonaws.com", "public suffix"),
        ("*.93.184.216.34", "not with an address"),
        ("*.[2606:4700::1111]", "not with an address"),
        ("2130706433", "canonical IPv4"),
        ("127.1", "canonical IPv4"),
        ("127.0.0.1", "only public"),
        ("10.1.2.3", "only public"),
        ("169.254.169.254", "only public"),
        ("[::1]", "only public"),
        ("[::ffff:8.8.8.8]", "only public"),
    ],
)
def test_a_text_outside_the_grammar_is_refused_with_what_would_be_valid(text, says):
    with pytest.raises(EntryError, match=says):
        parse_entry(text)


@given(st.text(max_size=40))
def test_no_text_does_worse_than_be_refused(text):
    try:
        entry = parse_entry(text)
    except EntryError as error:
        assert repr(text) in str(error)
    else:
        assert parse_entry(str(entry)) == entry


@given(ENTRIES)
def test_an_entry_survives_its_own_text(entry):
    assert parse_entry(str(entry)) == entry


def test_a_fence_is_a_comma_list_and_the_empty_text_is_the_empty_fence():
    assert parse_fence("") == ()
    assert parse_fence(" , ") == ()
    assert [str(entry) for entry in parse_fence("a.example.com, *.example.org,a.example.com")] == [
        "https://a.example.com",
        "https://*.example.org",
    ]
    with pytest.raises(EntryError):
        parse_fence("a.example.com, *")


# ---- matching -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "url", "yes"),
    [
        ("api.example.com", "https://api.example.com/a?b", True),
        ("api.example.com", "https://API.EXAMPLE.COM./", True),
        ("api.example.com", "https://api.example.com:443/", True),
        ("api.example.com", "http://api.example.com/", False),
        ("api.example.com", "https://api.example.com:8443/", False),
        ("api.example.com", "https://b.api.example.com/", False),
        ("api.example.com", "https://example.com/", False),
        ("api.example.com", "https://xapi.example.com/", False),
        ("api.example.com:8443", "https://api.example.com:8443/", True),
        ("api.example.com:8443", "https://api.example.com/", False),
        ("http://api.example.com", "http://api.example.com/", True),
        ("http://api.example.com", "https://api.example.com:80/", False),
        ("*.example.com", "https://api.example.com/", True),
        ("*.example.com", "https://a.b.example.com/", True),
        ("*.example.com", "https://example.com/", False),
        ("*.example.com", "https://notexample.com/", False),
        ("*.example.com", "https://api.example.com.evil.example/", False),
        ("*.example.com", "http://api.example.com/", False),
        ("93.184.216.34", "https://93.184.216.34/", True),
        ("93.184.216.34", "https://93.184.216.35/", False),
        ("[2606:4700::1111]", "https://[2606:4700:0::1111]/", True),
    ],
)
def test_an_entry_allows_exactly_what_it_says(entry, url, yes):
    assert allowed(url, entry) is yes


def test_an_install_without_entries_reaches_nothing():
    verdict = decide("https://api.example.com/", (), None)
    assert isinstance(verdict, Denied)
    assert verdict.reason is Reason.NOT_GRANTED
    assert str(verdict.would_allow) == "https://api.example.com"
    assert '"https://api.example.com" in its egress list would allow it' in verdict.detail


def test_a_host_must_be_granted_and_inside_the_fence():
    url, entries = "https://api.example.com/", ["api.example.com"]
    assert allowed(url, *entries, fence=None)
    assert allowed(url, *entries, fence=parse_fence("*.example.com"))
    assert not allowed(url, *entries, fence=parse_fence("other.example.org"))
    assert not allowed(url, *entries, fence=())
    assert not allowed(url, fence=parse_fence("*.example.com"))


def test_a_denial_by_the_fence_names_the_operators_setting():
    verdict = decide("https://api.example.com:8443/", parse_entries(["*.example.com:8443"]), ())
    assert isinstance(verdict, Denied)
    assert verdict.reason is Reason.OUTSIDE_FENCE
    assert '"https://api.example.com:8443" in EXT_EGRESS_ALLOWLIST would allow it' in verdict.detail


def test_observe_mode_finds_the_target_only_when_nothing_but_the_allowlist_objects():
    assert decide("https://api.example.com/", (), None).target is not None
    assert decide("https://api.example.com/", parse_entries(["api.example.com"]), ()).target is not None
    for url in ("nonsense", "https://a@api.example.com/", "https://127.0.0.1/"):
        verdict = decide(url, (), None)
        assert isinstance(verdict, Denied)
        assert (verdict.target, verdict.would_allow) == (None, None)


# ---- local mode ---------------------------------------------------------------------------------------------


def test_a_private_endpoint_is_reachable_only_where_the_operator_lists_that_very_port():
    private = parse_private("127.0.0.1:9999, upstream.test:8080")
    entries = (parse_entry("http://127.0.0.1:9999", private), parse_entry("http://upstream.test:8080"))
    verdict = decide("http://127.0.0.1:9999/", entries, None, private)
    assert isinstance(verdict, Allowed)
    assert verdict.any_address
    assert decide("http://upstream.test:8080/", entries, None, private).any_address
    assert not decide("http://upstream.test:8080/", entries, None).any_address
    for url in ("http://127.0.0.1:9998/", "http://127.0.0.2:9999/", "http://[::1]:9999/"):
        denied = decide(url, entries, None, private)
        assert isinstance(denied, Denied)
        assert denied.reason is Reason.ADDRESS
    with pytest.raises(EntryError, match="only public"):
        parse_entry("http://127.0.0.1:9998", private)


def test_a_private_endpoint_still_has_to_be_granted():
    private = parse_private("127.0.0.1:9999")
    verdict = decide("http://127.0.0.1:9999/", (), None, private)
    assert isinstance(verdict, Denied)
    assert verdict.reason is Reason.NOT_GRANTED
    assert parse_entry(str(verdict.would_allow), private).matches(verdict.target)


@pytest.mark.parametrize("text", ["127.0.0.1", "127.0.0.1:x", "10.0.0.0/8:80", "localhost:80"])
def test_a_private_endpoint_that_is_not_exact_stops_the_start(text):
    with pytest.raises(UrlError):
        parse_private(text)


# ---- properties of the whole policy -------------------------------------------------------------------------


@given(URLS, ENTRY_LISTS, FENCES)
def test_what_is_allowed_is_granted_and_inside_the_fence(url, entries, fence):
    verdict = decide(url, entries, fence)
    if isinstance(verdict, Allowed):
        assert verdict.entry in entries
        assert verdict.entry.matches(verdict.target)
        assert fence is None or any(entry.matches(verdict.target) for entry in fence)
    else:
        assert verdict.reason in (Reason.NOT_GRANTED, Reason.OUTSIDE_FENCE)


@given(URLS, ENTRY_LISTS, FENCES, ENTRIES)
def test_a_further_grant_never_takes_anything_away(url, entries, fence, further):
    if isinstance(decide(url, entries, fence), Allowed):
        assert isinstance(decide(url, (*entries, further), fence), Allowed)


@given(URLS, ENTRY_LISTS, ENTRY_LISTS)
def test_a_fence_never_opens_anything(url, entries, fence):
    if isinstance(decide(url, entries, fence), Allowed):
        assert isinstance(decide(url, entries, None), Allowed)


@given(URLS, ENTRY_LISTS, FENCES)
def test_the_entry_a_denial_names_really_allows_the_request(url, entries, fence):
    verdict = decide(url, entries, fence)
    if isinstance(verdict, Allowed):
        return
    assert verdict.would_allow is not None
    remedy = parse_entry(str(verdict.would_allow))
    assert isinstance(decide(url, (*entries, remedy), None if fence is None else (*fence, remedy)), Allowed)


@given(NAMES)
def test_a_wildcard_never_covers_its_own_apex(name):
    assert not allowed(f"https://{name}/", f"*.{name}")
    assert allowed(f"https://below.{name}/", f"*.{name}")


@given(st.text(max_size=60), ENTRY_LISTS)
def test_no_url_raises(text, entries):
    for url in (text, f"https://{text}", f"https://api.example.com{text}"):
        verdict = decide(url, entries, None)
        if isinstance(verdict, Denied):
            assert verdict.reason.guest_error in ("invalid-url", "not-allowed")
            assert verdict.detail


def test_the_guest_is_told_apart_only_what_its_own_code_can_put_right():
    assert {reason: reason.guest_error for reason in Reason} == {
        Reason.INVALID_URL: "invalid-url",
        Reason.USERINFO: "invalid-url",
        Reason.ADDRESS: "not-allowed",
        Reason.NOT_GRANTED: "not-allowed",
        Reason.OUTSIDE_FENCE: "not-allowed",
        Reason.METHOD: "not-allowed",
        Reason.HEADER_INVALID: "not-allowed",
        Reason.HEADER_FORBIDDEN: "not-allowed",
        Reason.REDIRECT: "not-allowed",
        Reason.SECRET: "not-allowed",
        Reason.TOO_MANY: "not-allowed",
        Reason.TOO_MANY_AT_ONCE: "not-allowed",
    }
