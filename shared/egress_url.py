"""URLs a guest may ask for: one strict grammar that never repairs what it is given.

Two parsers that disagree about a URL are how allowlists are walked around, so this is the only one: what it returns
is what the allowlist looks at *and* what the connector connects to and sends. It accepts less than RFC 3986 and far
less than the WHATWG URL standard: no userinfo, no backslash, no percent or non-ASCII in the host, no numeric host
except a canonical dotted quad. Nothing is trimmed, decoded or re-encoded; the path goes out byte for byte.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address
from typing import Final, Literal
from urllib.parse import urljoin

import msgspec

from shared.limits import URL_MAX_BYTES

Scheme = Literal["http", "https"]

DEFAULT_PORT: Final[dict[Scheme, int]] = {"http": 80, "https": 443}
SCHEMES: Final[dict[str, Scheme]] = {"http": "http", "https": "https"}

_PRINTABLE: Final = re.compile(r"[!-~]*")
_URL: Final = re.compile(r"([A-Za-z]+)://([^/?#]*)(/[^?#]*)?(\?[^#]*)?(?:#.*)?")
_LABEL: Final = re.compile(r"[a-z0-9_-]{1,63}")
_NUMERIC: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")  # what some resolver would read as a number (inet_aton)
_OCTET: Final = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4: Final = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")
NAME_MAX_CHARS: Final = 253  # RFC 1035 §2.3.4, without the trailing dot


class UrlError(ValueError):
    """A URL, host or port outside the grammar. The text says what would be valid."""


class UserinfoError(UrlError):
    """An `@` in the authority: `https://good.example@evil.example/` means evil.example."""


class Host(msgspec.Struct, frozen=True):
    """A host in its one canonical form.

    Attributes:
        name: lower-case DNS name without a trailing dot, dotted quad, or compressed IPv6 without brackets.
        is_address: whether `name` is an IP literal.
    """

    name: str
    is_address: bool

    def __str__(self) -> str:
        return f"[{self.name}]" if ":" in self.name else self.name


class Endpoint(msgspec.Struct, frozen=True):
    """One host and port; what `EXT_EGRESS_ALLOW_PRIVATE` lists."""

    host: Host
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Target(msgspec.Struct, frozen=True):
    """A parsed URL: where to connect, and what to ask for there.

    Attributes:
        path: the request target (RFC 9112 §3.2.1): path and query exactly as given, `/` when there was none.
    """

    scheme: Scheme
    host: Host
    port: int
    path: str

    @property
    def endpoint(self) -> Endpoint:
        """Host and port."""
        return Endpoint(self.host, self.port)

    @property
    def authority(self) -> str:
        """The value of the `Host` header: the port only when it is not the scheme's own."""
        return str(self.host) if self.port == DEFAULT_PORT[self.scheme] else f"{self.host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme, host and port (RFC 6454), as text."""
        return f"{self.scheme}://{self.authority}"

    @property
    def url(self) -> str:
        """The whole URL; parsing it again gives an equal target."""
        return self.origin + self.path


def parse_url(url: str) -> Target:
    """The target of an absolute `http` or `https` URL. A fragment is not part of a request and is left out.

    Raises:
        UserinfoError: the authority holds an `@`.
        UrlError: anything else outside the grammar; the text says what would be valid.
    """
    if len(url) > URL_MAX_BYTES:
        raise UrlError(f"a URL has at most {URL_MAX_BYTES} bytes")
    if not _PRINTABLE.fullmatch(url) or "\\" in url:
        raise UrlError("a URL has printable ASCII only, without spaces and backslashes")
    found = _URL.fullmatch(url)
    scheme = SCHEMES.get(found[1].lower()) if found else None
    if found is None or scheme is None:
        raise UrlError("a URL is absolute and starts with http:// or https://")
    if "@" in found[2]:
        raise UserinfoError("a URL names no user: write no @ before the path")
    host, port = split_authority(found[2])
    return Target(scheme, host, DEFAULT_PORT[scheme] if port is None else port, (found[3] or "/") + (found[4] or ""))


def split_authority(text: str) -> tuple[Host, int | None]:
    """`host` or `host:port`; the port is `None` when it is not written. Raises `UrlError`."""
    host, colon, port = text, "", ""
    if text.startswith("["):
        host, bracket, rest = text.partition("]")
        host += bracket
        colon, port = rest[:1], rest[1:]
        if rest and colon != ":":
            raise UrlError("after an IPv6 address in brackets only :port may follow")
    else:
        host, colon, port = text.partition(":")
    if not colon:
        return parse_host(host), None
    if not _PORT.fullmatch(port) or int(port) > 65535:
        raise UrlError("a port is a number from 1 to 65535 without leading zeros")
    return parse_host(host), int(port)


def parse_host(text: str) -> Host:
    """A DNS name of two labels or more, a canonical IPv4 address, or an IPv6 address in brackets. Raises `UrlError`."""
    if text.startswith("["):
        return _ipv6(text)
    lower = text.lower() if text.isascii() else text
    if _IPV4.fullmatch(lower):
        return Host(lower, is_address=True)
    name = lower.removesuffix(".")
    labels = name.split(".")
    if _NUMERIC.fullmatch(labels[-1]):
        raise UrlError("a host whose last label is a number must be a canonical IPv4 address such as 192.0.2.1")
    if len(labels) < 2 or len(name) > NAME_MAX_CHARS or not all(map(_LABEL.fullmatch, labels)):
        raise UrlError(
            f"a host has at least two labels of 1 to 63 characters a-z 0-9 _ - and at most {NAME_MAX_CHARS} in all"
        )
    return Host(name, is_address=False)


def _ipv6(text: str) -> Host:
    if not text.endswith("]") or "%" in text:
        raise UrlError("an IPv6 address stands in brackets and has no zone")
    try:
        return Host(IPv6Address(text[1:-1]).compressed, is_address=True)
    except AddressValueError as error:
        raise UrlError("what stands in brackets is not an IPv6 address") from error


def parse_endpoint(text: str) -> Endpoint:
    """`host:port`, the port always written. Raises `UrlError`."""
    host, port = split_authority(text)
    if port is None:
        raise UrlError("write host:port")
    return Endpoint(host, port)


def redirect_url(base: Target, location: str) -> str:
    """The URL a `Location` header points to, seen from `base` (RFC 9110 §10.2.2). It is *not* checked yet: give it
    to the whole policy again. What the grammar would refuse comes back as it is, so that it is refused there.
    """
    if not _PRINTABLE.fullmatch(location) or "\\" in location:
        return location
    try:
        return urljoin(base.url, location)
    except ValueError:  # brackets that hold no IPv6 address
        return location
