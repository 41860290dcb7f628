"""The URL grammar: what is accepted means the same to every other parser, and nothing is ever repaired."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from shared.egress_url import (
    Endpoint,
    Host,
    Target,
    UrlError,
    UserinfoError,
    parse_endpoint,
    parse_host,
    parse_url,
    redirect_url,
)
from shared.limits import URL_MAX_BYTES

LABELS = st.from_regex(r"[a-z0-9_-]{0,20}[a-z_-]", fullmatch=True)
NAMES = st.lists(LABELS, min_size=2, max_size=5).map(".".join)
IPV4 = st.ip_addresses(v=4).map(str)
IPV6 = st.ip_addresses(v=6).map(lambda ip: f"[{ip}]")
HOSTS = st.one_of(NAMES, IPV4, IPV6)
PORTS = st.one_of(st.just(""), st.integers(1, 65535).map(lambda port: f":{port}"))
PATHS = st.one_of(st.just(""), st.from_regex(r"/[!-\[\]-~]{0,40}", fullmatch=True).filter(lambda text: "#" not in text))
URLS = st.builds("{}://{}{}{}".format, st.sampled_from(["http", "https"]), HOSTS, PORTS, PATHS)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://api.example.com", Target("https", Host("api.example.com", False), 443, "/")),
        ("http://api.example.com/", Target("http", Host("api.example.com", False), 80, "/")),
        ("https://api.example.com?x=1", Target("https", Host("api.example.com", False), 443, "/?x=1")),
        ("https://API.Example.COM/A?b=C", Target("https", Host("api.example.com", False), 443, "/A?b=C")),
        ("HTTPS://api.example.com/", Target("https", Host("api.example.com", False), 443, "/")),
        ("https://api.example.com./", Target("https", Host("api.example.com", False), 443, "/")),
        ("https://api.example.com:8443/x", Target("https", Host("api.example.com", False), 8443, "/x")),
        ("https://api.example.com/a#frag", Target("https", Host("api.example.com", False), 443, "/a")),
        ("https://_dmarc.example.com/", Target("https", Host("_dmarc.example.com", False), 443, "/")),
        ("https://93.184.216.34/", Target("https", Host("93.184.216.34", True), 443, "/")),
        ("https://[2606:4700:0:0::1111]:8443/", Target("https", Host("2606:4700::1111", True), 8443, "/")),
        ("https://api.example.com/%2e%2e/%zz", Target("https", Host("api.example.com", False), 443, "/%2e%2e/%zz")),
        ("https://api.example.com/a/../b//c", Target("https", Host("api.example.com", False), 443, "/a/../b//c")),
    ],
)
def test_a_url_is_read_without_changing_what_is_sent(url, target):
    assert parse_url(url) == target


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/relative",
        "//api.example.com/",
        "api.example.com/",
        "ftp://api.example.com/",
        "file:///etc/passwd",
        "https:api.example.com/",
        "https:/api.example.com/",
        "https:///path",
        " https://api.example.com/",
        "https://api.example.com/ ",
        "https://api.example.com/a b",
        "https://api.example.com/\t",
        "https://api.example.com/\n",
        "https://api.example.com/\x00",
        "https://api.example.com/\x7f",
        "https://api.example.com/ü",
        "https://api.exämple.com/",
        "https://api。example.com/",
        "https://api.example.com\\@evil.example/",
        "https:\\\\api.example.com/",
        "https://api%2eexample.com/",
        "https://localhost/",
        "https://example/",
        "https://a..example.com/",
        "https://.example.com/",
        "https://example.com../",
        "https://exa mple.com/",
        "https://exa$mple.com/",
        "https://api.example.com:/",
        "https://api.example.com:0/",
        "https://api.example.com:080/",
        "https://api.example.com:65536/",
        "https://api.example.com:+80/",
        "https://api.example.com:80:80/",
        "https://2606:4700::1111/",
        "https://[2606:4700::1111/",
        "https://[2606:4700::1111]x/",
        "https://[fe80::1%25eth0]/",
        "https://[fe80::1%eth0]/",
        "https://[v1.x]/",
        "https://[]/",
        "https://[127.0.0.1]/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://127.0.0.1./",
        "http://127.0.0.01/",
        "http://127.0.0.256/",
        "http://1.2.3.4.5/",
        "http://api.example.0x/",
        "http://api.example.12/",
    ],
)
def test_anything_outside_the_grammar_is_refused(url):
    with pytest.raises(UrlError):
        parse_url(url)


@pytest.mark.parametrize(
    "url", ["https://user@api.example.com/", "https://u:p@api.example.com/", "https://@api.example.com/"]
)
def test_userinfo_is_refused_by_its_own_name(url):
    with pytest.raises(UserinfoError, match="names no user"):
        parse_url(url)


def test_an_at_sign_in_the_path_is_no_userinfo():
    assert parse_url("https://api.example.com/@scope/name?to=a@b").path == "/@scope/name?to=a@b"


@pytest.mark.parametrize(("extra", "allowed"), [(-1, True), (0, True), (1, False)])
def test_a_url_is_accepted_up_to_its_limit(extra, allowed):
    url = "https://api.example.com/".ljust(URL_MAX_BYTES + extra, "a")
    if allowed:
        assert parse_url(url).url == url
    else:
        with pytest.raises(UrlError, match=str(URL_MAX_BYTES)):
            parse_url(url)


@pytest.mark.parametrize(("label", "allowed"), [(62, True), (63, True), (64, False)])
def test_a_label_is_accepted_up_to_its_limit(label, allowed):
    text = "a" * label + ".example"
    if allowed:
        assert parse_host(text).name == text
    else:
        with pytest.raises(UrlError, match="63"):
            parse_host(text)


@pytest.mark.parametrize(("chars", "allowed"), [(252, True), (253, True), (254, False)])
def test_a_name_is_accepted_up_to_its_limit(chars, allowed):
    text = ("abcdefg." * 40)[:chars].rstrip(".").ljust(chars, "a")
    if allowed:
        assert parse_host(text).name == text
    else:
        with pytest.raises(UrlError, match="253"):
            parse_host(text)


@given(URLS)
def test_an_accepted_url_survives_its_own_text(url):
    try:
        target = parse_url(url)
    except UrlError:
        return
    assert parse_url(target.url) == target


@given(URLS)
def test_an_accepted_url_means_the_same_to_other_parsers(url):
    target = parse_url(url)
    theirs = urlsplit(target.url)
    assert (theirs.scheme, theirs.username) == (target.scheme, None)
    assert parse_host(f"[{theirs.hostname}]" if ":" in theirs.hostname else theirs.hostname) == target.host
    assert (theirs.port or {"http": 80, "https": 443}[theirs.scheme]) == target.port
    client = URL(target.url, encoded=True)  # what aiohttp connects to
    assert (client.scheme, client.port, client.user) == (target.scheme, target.port, None)
    assert client.raw_path_qs.removesuffix("?") == target.path.removesuffix("?")  # an empty query is the same query
    assert client.raw_host is not None
    assert client.raw_host.lower() == theirs.hostname


@given(st.text())
def test_no_text_can_do_more_than_be_refused(text):
    for candidate in (text, f"https://{text}", f"https://{text}.example.com/", f"https://api.example.com/{text}"):
        try:
            target = parse_url(candidate)
        except UrlError:
            continue
        assert target.url.isascii()
        assert target.url.isprintable()
        assert "\\" not in target.url


@given(st.text(alphabet="0123456789abcdefx.", max_size=20))
def test_a_host_that_looks_like_a_number_is_a_canonical_address_or_nothing(text):
    try:
        host = parse_host(text)
    except UrlError:
        return
    last = host.name.rpartition(".")[2]
    if last.isdigit():
        assert host.is_address
        assert all(part == str(int(part)) and int(part) < 256 for part in host.name.split("."))


def test_the_authority_names_the_port_only_when_it_is_unusual():
    assert parse_url("https://api.example.com:443/").authority == "api.example.com"
    assert parse_url("http://api.example.com:443/").authority == "api.example.com:443"
    assert parse_url("https://[2606:4700::1]:8443/").authority == "[2606:4700::1]:8443"
    assert parse_url("https://[2606:4700::1]/").origin == "https://[2606:4700::1]"


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/other", "https://api.example.com/other"),
        ("other?x=1", "https://api.example.com/a/other?x=1"),
        ("?x=1", "https://api.example.com/a/b?x=1"),
        ("//evil.example/x", "https://evil.example/x"),
        ("http://evil.example/", "http://evil.example/"),
        ("file:///etc/passwd", "file:///etc/passwd"),
        ("https://ok.example\\@evil.example/", "https://ok.example\\@evil.example/"),
        ("/a\r\nX: y", "/a\r\nX: y"),
        ("http://[", "http://["),
    ],
)
def test_a_redirect_is_resolved_but_never_repaired(location, url):
    assert redirect_url(parse_url("https://api.example.com/a/b"), location) == url


@given(st.text())
def test_no_location_breaks_the_redirect_loop(location):
    base = parse_url("https://api.example.com/a/b")
    try:
        parse_url(redirect_url(base, location))
    except UrlError:
        return


def test_an_endpoint_names_its_port():
    assert parse_endpoint("127.0.0.1:9999") == Endpoint(Host("127.0.0.1", True), 9999)
    assert str(parse_endpoint("[::1]:9999")) == "[::1]:9999"
    with pytest.raises(UrlError, match="host:port"):
        parse_endpoint("127.0.0.1")
