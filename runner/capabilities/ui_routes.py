"""Routes of the UI proxy: where a guest's words may lead inside the host application. Pure; nothing is repaired.

    tickets/list        the extension's own: `{base}/{extension_id}/tickets/list`
    /api/v1/tickets     the host application's own API, only where the operator listed it (`UI_PROXY_API_PATHS`)

A route is plain segments (RFC 3986 §3.3) with one `/` between them. Whatever some server, proxy or framework might read as
another path is none: `.` and `..` in any spelling, empty segments, backslashes, matrix parameters, queries, fragments,
control characters, and anything percent-encoded that means one of these, be it encoded twice, overlong or full-width.
Parameters belong into the payload.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final
from urllib.parse import quote, unquote_to_bytes

import msgspec

from shared.limits import UI_PROXY_ROUTE_MAX_CHARS

API_PATHS: Final = "UI_PROXY_API_PATHS"

_SEGMENT: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,=:@-]|%[0-9A-Fa-f]{2})+")
_ENCODED: Final = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_PLAIN: Final = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
_ID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_NEVER_ENCODED: Final = frozenset("/\\.%?#;")


class RouteError(ValueError):
    """A route that is none; the text says what would be valid and repeats nothing of it."""


class ApiPaths(msgspec.Struct, frozen=True):
    """Paths of the host application's own API that guests may call.

    Attributes:
        exact: a path each.
        below: what longer paths start with, each with its last `/`.
    """

    exact: frozenset[str] = frozenset()
    below: tuple[str, ...] = ()

    def have(self, path: str) -> bool:
        """Whether the operator listed `path`."""
        return path in self.exact or path.startswith(self.below)


def parse_api_paths(value: str) -> ApiPaths:
    """Comma-separated paths; `/api/reports` is that one, `/api/reports/*` everything below it. Raises `ValueError`."""
    exact: set[str] = set()
    below: dict[str, None] = {}
    for entry in (word.strip() for word in value.split(",")):
        if not entry:
            continue
        path = entry.removesuffix("/*")
        if not _PLAIN.fullmatch(path) or any(_is_dots(part) for part in path.split("/")[1:]):
            raise ValueError("must be comma-separated paths such as /api/v1/tickets or /api/v1/tickets/*")
        if path == entry:
            exact.add(path)
        else:
            below[path + "/"] = None
    return ApiPaths(frozenset(exact), tuple(below))


def check_api_paths(listed: ApiPaths, base_path: str) -> None:
    """Raise `ValueError` for a listed path that could lead to the routes of extensions, where every other one's are, too.

    Args:
        listed: the operator's.
        base_path: of `UI_PROXY_BASE_URL`, without a slash at its end; compared as servers that ignore case do.
    """
    base = base_path.casefold() + "/"
    for path in (*listed.exact, *listed.below):
        folded = path.casefold()
        if base == "/":
            clash = _ID.fullmatch(folded.split("/")[1]) is not None
        else:
            clash = (folded + "/").startswith(base) or (path in listed.below and base.startswith(folded))
        if clash:
            raise ValueError(f"{path} covers routes of extensions; list paths outside of {base_path or '/'}")


def resolve(route: str, *, base_path: str, extension_id: str, listed: ApiPaths) -> str:
    """The path of the host application that `route` means.

    Args:
        route: as the guest said it.
        base_path: of `UI_PROXY_BASE_URL`, without a slash at its end.
        extension_id: whose routes they are.
        listed: paths of the host application's own API.

    Raises:
        RouteError: it is no route, or not one this extension may call.
    """
    if len(route) > UI_PROXY_ROUTE_MAX_CHARS:
        raise RouteError(f"a route has at most {UI_PROXY_ROUTE_MAX_CHARS} characters")
    absolute = route.startswith("/")
    for segment in route.removeprefix("/").split("/"):
        _check(segment)
    if not absolute:
        return f"{base_path}/{quote(extension_id, safe='')}/{route}"
    if listed.have(route):
        return route
    raise RouteError(
        "a route is relative to the extension's own and has no / in front; "
        f"a path of the host application's API is reachable when the operator lists it in {API_PATHS}"
    )


def _check(segment: str) -> None:
    if not segment:
        raise RouteError("a route is segments with one / between them, such as tickets/list")
    if not _SEGMENT.fullmatch(segment):
        raise RouteError(
            "a segment of a route is letters, digits, percent-encoded UTF-8 and any of . _ ~ ! $ & ' ( ) * + , = : @ -; "
            "parameters belong into the payload"
        )
    for run in _ENCODED.findall(segment):
        _check_encoded(run)
    if _is_dots(unquote_to_bytes(segment).decode()):
        raise RouteError("a segment of a route is more than dots and blanks")


def _check_encoded(run: str) -> None:
    try:
        text = unquote_to_bytes(run).decode()  # strict: an overlong form of a separator is no UTF-8
    except UnicodeDecodeError as error:
        raise RouteError("what is percent-encoded in a route is UTF-8") from error
    if any(unicodedata.category(char)[0] == "C" or unicodedata.category(char) in ("Zl", "Zp") for char in text):
        raise RouteError("a route holds no control characters")
    if not _NEVER_ENCODED.isdisjoint(unicodedata.normalize("NFKC", text)):
        raise RouteError("a route holds no percent-encoded separator, dot or percent sign")


def _is_dots(segment: str) -> bool:
    """Whether nothing is left of it for a server that drops dots and blanks at the end of names."""
    return all(char == "." or char.isspace() for char in segment)
