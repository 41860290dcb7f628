"""The path of `/api/ext/{extension}/{path…}`: decided on the raw bytes, decoded once, handed on in one spelling.

A router sees the decoded path, a guest sees a URL; when the two disagree about where a segment ends, a policy
checks one thing and the guest runs another. So everything is decided here, on the bytes of the request target
(never on the decoded path, never on `Host`), and whatever two readers could read in two ways is refused:
an encoded separator, a dot segment, an empty segment inside, a control character, bad UTF-8, a bad escape.

What the guest gets is the decoded path written again in one canonical form (RFC 3986: only what must be escaped
is escaped), so that its URL parser arrives at exactly the segments the policy saw, even with `?` in a segment.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final
from urllib.parse import parse_qsl, quote, unquote_to_bytes

import msgspec

from shared.errors import InvalidPath
from shared.limits import URL_MAX_BYTES

PREFIX: Final = b"/api/ext/"

_PRINTABLE: Final = re.compile(rb"[\x21-\x7e]*")
_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_SEPARATOR: Final = re.compile(rb"(?i)%2f|%5c|%00|\\")
_NOT_PATH: Final = re.compile(rb"[?#]")
_PCHAR: Final = "!$&'()*+,;=:@"  # RFC 3986 §3.3, besides the unreserved characters that `quote` always keeps


class ExtPath(msgspec.Struct, frozen=True):
    """Where a call goes.

    Attributes:
        extension: the first segment, decoded: an install id, registry id, `publisher.name` or bare name.
        segments: the rest, decoded; `("",)` for the root. The last one may be empty (a trailing slash).
        path: the rest as the guest sees it: one leading `/`, canonically escaped.
    """

    extension: str
    segments: tuple[str, ...]
    path: str


def parse(raw_path: bytes, prefix: bytes = PREFIX) -> ExtPath:
    """Split and check the raw path of a request.

    Args:
        raw_path: `scope["raw_path"]`: the request target without its query, exactly as it arrived.
        prefix: what stands before the extension, with its closing slash.

    Raises:
        InvalidPath: the path could be read in two ways, is too long or is not below `prefix`.
    """
    if len(raw_path) > URL_MAX_BYTES:
        raise InvalidPath(f"the path may have at most {URL_MAX_BYTES} bytes")
    if not raw_path.startswith(prefix):
        raise InvalidPath(f"the path must start with {prefix.decode()}, unescaped")
    rest = raw_path[len(prefix) :]
    _check_raw(rest)
    first, _, tail = rest.partition(b"/")
    extension = _decode(first)
    if not extension:
        raise InvalidPath(f"an extension must be named after {prefix.decode()}")
    segments = tuple(_decode(part) for part in tail.split(b"/"))
    _check_segments((extension, *segments[:-1]), segments[-1])
    return ExtPath(extension, segments, "/" + "/".join(quote(part, safe=_PCHAR) for part in segments))


def declared(path: str) -> ExtPath:
    """Check a handler's path as a manifest writes it: not escaped, no query; any other text is refused as above.

    Raises:
        InvalidPath: the path could be read in two ways, is too long or does not start with `/`.
    """
    if not path.startswith("/"):
        raise InvalidPath("a handler's path must start with /")
    return parse(PREFIX + b"-" + quote(path, safe="/" + _PCHAR).encode())


def query(raw_query: bytes) -> tuple[str | None, dict[str, str]]:
    """The query string as the guest will see it, and its fields (the last of equal names wins).

    Raises:
        InvalidPath: not printable ASCII, a `#` in it, or too long.
    """
    if not raw_query:
        return None, {}
    if len(raw_query) > URL_MAX_BYTES:
        raise InvalidPath(f"the query may have at most {URL_MAX_BYTES} bytes")
    if not _PRINTABLE.fullmatch(raw_query) or b"#" in raw_query:
        raise InvalidPath("the query must be printable ASCII without '#'; escape everything else")
    text = raw_query.decode("ascii")
    return text, dict(parse_qsl(text, keep_blank_values=True))


def _check_raw(rest: bytes) -> None:
    if not _PRINTABLE.fullmatch(rest):
        raise InvalidPath("the path must be printable ASCII; escape everything else")
    if _SEPARATOR.search(rest):
        raise InvalidPath("the path may not hold a backslash, %2f, %5c or %00")
    if _NOT_PATH.search(rest):
        raise InvalidPath("'?' and '#' inside a path must be escaped")
    if _BAD_ESCAPE.search(rest):
        raise InvalidPath("a '%' must be followed by two hex digits; a literal one is %25")


def _decode(part: bytes) -> str:
    try:
        text = unquote_to_bytes(part).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidPath("an escaped segment must be UTF-8") from error
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise InvalidPath("the path may not hold control characters")
    return text


def _check_segments(inner: tuple[str, ...], last: str) -> None:
    if "" in inner:
        raise InvalidPath("the path may not hold empty segments")
    if not {".", ".."}.isdisjoint((*inner, last)):
        raise InvalidPath("the path may not hold '.' or '..' segments")
