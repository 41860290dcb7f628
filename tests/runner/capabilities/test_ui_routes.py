"""Where a route may lead: below the extension's own prefix, or to what the operator listed; anything else is no route."""

from __future__ import annotations

import posixpath
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from runner.capabilities.ui_routes import ApiPaths, RouteError, check_api_paths, parse_api_paths, resolve
from shared.limits import UI_PROXY_ROUTE_MAX_CHARS

OWN = "0b9f2c3e-0000-4000-8000-000000000001"
OTHER = "0b9f2c3e-0000-4000-8000-000000000002"
BASE = "/api/internal/ui-proxy"
LISTED = parse_api_paths("/api/v1/tickets, /api/v1/reports/*")


def path_of(route: str, listed: ApiPaths = LISTED) -> str:
    return resolve(route, base_path=BASE, extension_id=OWN, listed=listed)


@pytest.mark.parametrize(
    "route",
    [
        "tickets",
        "tickets/list",
        "tickets/T-1042:close",
        "a.b/c..d/.e",
        "x=1&y=2,(z)*'!$+~_@",
        "Z%C3%BCrich/caf%c3%a9%20au%20lait",
        "internal/execute",
        f"{OTHER}/status",
    ],
)
def test_a_route_stays_below_the_extensions_own_prefix_and_goes_out_as_it_was_said(route: str) -> None:
    assert path_of(route) == f"{BASE}/{OWN}/{route}"


NO_ROUTES = [
    *("", "/", "//", "a//b", "a/", "//host.example/x", "/a/", "a/./b", "./a", "..", "a/..", "../other", "a/../../x"),
    *(
        "...",
        "a/.../b",
        "..%20",
        "%20",
        "a/%20%20/b",
        "https://host.example/x",
        "http:////x",
        "a\\b",
        "..\\x",
        "\\\\host\\x",
    ),
    *(
        "a?b",
        "a?",
        "?x=1",
        "a#b",
        "#",
        "a;b",
        "..;/x",
        "..;a/x",
        ";",
        "a b",
        " a",
        "a ",
        "a\x00b",
        "a\r\nb",
        "a\tb",
        "a\x7f",
    ),
    *(
        "%2e",
        "%2E%2e/x",
        ".%2e/x",
        "%2e./x",
        "a%2fb",
        "a%2Fb",
        "a%5cb",
        "%252e%252e",
        "a%252fb",
        "a%25b",
        "a%3fb",
        "a%23b",
    ),
    *(
        "a%3b",
        "a%00b",
        "a%0d%0ab",
        "a%0a",
        "a%7f",
        "a%c2%85b",
        "a%e2%80%a8b",
        "a%e2%80%aeb",
        "%c0%ae%c0%ae/x",
        "a%c0%afb",
    ),
    *("a%e0%80%afb", "%ff", "%c3", "%ef%bc%8e%ef%bc%8e/x", "a%ef%bc%8fb", "a%ef%bc%bcb", "%e2%80%a4%e2%80%a4/x"),
    *(
        "%e2%80%a5/x",
        "a%ef%bc%85b",
        "%",
        "%2",
        "%zz",
        "a%2",
        "%u002e",
        "zürich",
        "a\u2028b",
        "\uff0e\uff0e/x",
        "a\ud800",
    ),
    *('a"b', "a<b>", "a|b", "a^b", "a`b", "{a}", "[a]"),
]


@pytest.mark.parametrize("route", NO_ROUTES, ids=ascii)
def test_whatever_a_server_might_read_as_another_path_is_no_route(route: str) -> None:
    for said in (route, f"api/{route}", f"/api/v1/reports/{route}"):
        with pytest.raises(RouteError):
            path_of(said)


def test_a_refusal_says_what_would_be_valid_and_repeats_nothing() -> None:
    for route in [*NO_ROUTES, "/api/v1/canary"]:
        with pytest.raises(RouteError) as refused:
            path_of(route)
        assert "canary" not in str(refused.value)
        assert "route" in str(refused.value)
    with pytest.raises(RouteError, match="when the operator lists it in UI_PROXY_API_PATHS"):
        path_of("/api/v1/users")


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_a_route_below_at_and_above_the_limit(extra: int) -> None:
    route = "a" * (UI_PROXY_ROUTE_MAX_CHARS + extra)
    if extra <= 0:
        assert path_of(route).endswith(route)
    else:
        with pytest.raises(RouteError, match=f"at most {UI_PROXY_ROUTE_MAX_CHARS}"):
            path_of(route)


# ---- the host application's own API -------------------------------------------------------------------------


@pytest.mark.parametrize("route", ["/api/v1/tickets", "/api/v1/reports/weekly", "/api/v1/reports/2026/w%C3%BCrze"])
def test_a_listed_path_is_reached_at_the_origin(route: str) -> None:
    assert path_of(route) == route


@pytest.mark.parametrize(
    "route",
    [
        "/internal/execute",
        "/api/v1/tickets/1",
        "/api/v1/Tickets",
        "/api/v1/ticket",
        "/api/v1/reports",
        "/api/v1/reportsx/a",
        "/api/v1/reports/../users",
        "/api/v1/reports/%2e%2e/users",
        "/api/v1/reports//users",
        "/api/v1/reports/a;b",
        "/%61pi/v1/tickets",
        f"{BASE}/{OTHER}/status",
    ],
)
def test_a_path_that_is_not_listed_is_not(route: str) -> None:
    with pytest.raises(RouteError):
        path_of(route)


def test_without_a_list_there_is_no_path_of_its_api() -> None:
    for route in ("/api/v1/tickets", "/a", "/api/v1/reports/weekly"):
        with pytest.raises(RouteError):
            path_of(route, ApiPaths())
    assert parse_api_paths("") == ApiPaths() == parse_api_paths(" , ")


@pytest.mark.parametrize(
    "value",
    [
        "api/v1",
        "/",
        "/*",
        "*",
        "/a/*/b",
        "/a*",
        "/a/",
        "/a//b",
        "/a/..",
        "/./a",
        "/a?b",
        "/a%2fb",
        "https://a/b",
        "/a b",
    ],
)
def test_a_list_holds_plain_paths(value: str) -> None:
    with pytest.raises(ValueError, match="must be comma-separated paths such as"):
        parse_api_paths(f"/api/v1/tickets,{value}")


@pytest.mark.parametrize(
    ("base", "paths", "is_clash"),
    [
        ("/ui", "/ui", True),
        ("/ui", "/ui/x", True),
        ("/ui", "/ui/*", True),
        ("/ui", "/UI/x", True),
        ("/api/ui", "/api/*", True),
        ("/api/ui", "/api", False),
        ("/api/ui", "/api/v1/*", False),
        ("/ui", "/uix/*", False),
        ("", "/api/v1/*", False),
        ("", f"/{OTHER}/*", True),
        ("", f"/{OTHER.upper()}", True),
    ],
)
def test_a_list_never_covers_other_extensions_routes(base: str, paths: str, is_clash: bool) -> None:
    listed = parse_api_paths(paths)
    if is_clash:
        with pytest.raises(ValueError, match="covers routes of extensions"):
            check_api_paths(listed, base)
    else:
        check_api_paths(listed, base)


# ---- whatever a guest says ----------------------------------------------------------------------------------

PIECES = [
    "a",
    "tickets",
    ".",
    "..",
    "/",
    "//",
    "\\",
    "%2e",
    "%2E",
    "%2f",
    "%5c",
    "%252e",
    "%00",
    "%c0%ae",
    "%20",
    "?",
    "#",
    ";",
]
ROUTES = st.text(max_size=40) | st.lists(
    st.sampled_from([*PIECES, ":", "@", "/api/v1/reports", OTHER, "é"]), max_size=8
).map("".join)


def spellings(path: str) -> set[str]:
    """The path as servers might read it: decoded again and again, without parameters, backslashes turned."""
    found = {path}
    for _ in range(4):
        found |= {unquote(one) for one in found}
        found |= {one.replace("\\", "/") for one in found}
        found |= {"/".join(part.partition(";")[0] for part in one.split("/")) for one in found}
        found |= {one.partition("?")[0].partition("#")[0].partition("\x00")[0] for one in found}
    return found


@given(ROUTES)
@example("..;/x")
@example("%2e%2e/x")
@example("/api/v1/reports/..%2fusers")
def test_no_reading_of_what_goes_out_leads_elsewhere(route: str) -> None:
    try:
        path = path_of(route)
    except RouteError:
        return
    own = f"{BASE}/{OWN}/"
    within = (own, "/api/v1/reports/", "/api/v1/tickets")
    for one in spellings(path):
        assert posixpath.normpath(one).startswith(within)
        assert posixpath.normpath(one).startswith(own) is path.startswith(own)
    origin = "https://app.example.com"
    for url in (
        origin + path,
        urljoin(origin + own, path),
        str(URL(origin + path)),
        str(URL(origin + path, encoded=True)),
    ):
        assert urlsplit(url).netloc == "app.example.com"
        assert unquote(urlsplit(url).path) == unquote(path)
        assert (urlsplit(url).query, urlsplit(url).fragment) == ("", "")
