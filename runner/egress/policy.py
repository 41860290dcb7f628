"""What the operator decided about egress, parsed once at the start from the `EXT_EGRESS_*` settings."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from shared.egress import Entry, EntryError, parse_entries
from shared.egress_url import Endpoint, UrlError, parse_endpoint
from shared.settings import SettingError

OBSERVE: Final = "observe"
ENFORCE: Final = "enforce"
_DNS_PORT: Final = 53
_PROXY_PORT: Final = 3128  # what proxies listen on when a URL does not say
_TEXT_MAX_CHARS: Final = 255  # of user and password (RFC 7617 leaves it open; proxies do not)


class NameServer(msgspec.Struct, frozen=True):
    """One DNS server."""

    address: str
    port: int


class Proxy(msgspec.Struct, frozen=True):
    """The proxy that all requests go through.

    Attributes:
        host, port: where it listens; the operator's own, so the address table is not asked.
        authorization: value of `Proxy-Authorization`, or `None`.
    """

    host: str
    port: int
    authorization: str | None

    def __repr__(self) -> str:
        """Without the credential."""
        return f"Proxy({self.host}:{self.port})"


class EgressPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The operator's part of every decision.

    Attributes:
        fence: the outer limit; `None` when there is none, empty when nothing may go out.
        private: what skips the address table; local mode only.
        observe: record what the allowlist would deny and let it pass.
        proxy: the way out, when there is just one.
        name_servers: whom to ask instead of the system's.
        ca: PEM text of further certificate authorities; empty: the system's only.
    """

    fence: tuple[Entry, ...] | None = None
    private: frozenset[Endpoint] = frozenset()
    observe: bool = False
    proxy: Proxy | None = None
    name_servers: tuple[NameServer, ...] = ()
    ca: str = ""


def read_policy(
    *,
    allowlist: Sequence[str] | None,
    private: Sequence[str],
    mode: str,
    proxy: str | None,
    name_servers: tuple[NameServer, ...],
    ca: str,
) -> EgressPolicy:
    """The policy out of the settings of the same names. Raises `SettingError`, which names the variable."""
    try:
        exempt = frozenset(parse_endpoint(text) for text in private)
    except UrlError as error:
        raise SettingError(f"EXT_EGRESS_ALLOW_PRIVATE: {error}; name exact host:port pairs") from error
    try:
        fence = None if allowlist is None else parse_entries(allowlist, exempt)
    except EntryError as error:
        raise SettingError(f"EXT_EGRESS_ALLOWLIST: {error}") from error
    return EgressPolicy(
        fence=fence,
        private=exempt,
        observe=mode == OBSERVE,
        proxy=None if proxy is None else _proxy(proxy),
        name_servers=name_servers,
        ca=ca,
    )


def proxy_url(text: str) -> str:
    """The text, when it is a proxy's URL. Raises `ValueError` that says what would be valid, without the credential."""
    _proxy(text)
    return text


def parse_name_servers(text: str) -> tuple[NameServer, ...]:
    """`address` or `address:port`, IPv6 in brackets, separated by commas. Raises `ValueError`."""
    return tuple(_name_server(word.strip()) for word in text.split(",") if word.strip())


def _name_server(text: str) -> NameServer:
    address, port = text, str(_DNS_PORT)
    if text.startswith("["):
        address, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        raise ValueError("a DNS server is an IP address, with :port when it is not 53") from None
    if not (port.isascii() and port.isdigit()) or not 0 < int(port) < 1 << 16:
        raise ValueError("a port is a number from 1 to 65535")
    return NameServer(str(known), int(port))


def _proxy(url: str) -> Proxy:
    """A proxy's URL may hold user and password. It is plain HTTP: what passes through the tunnel is encrypted end to end
    whenever the guest asked for https, and a second TLS around it would protect the host's name only.
    """
    parts = urlsplit(url)
    valid = "must be http://[user:password@]host[:port], without a path"
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(valid) from None
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if parts.scheme != "http" or not host or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(valid)
    if ":" in user or len(user) > _TEXT_MAX_CHARS or len(password) > _TEXT_MAX_CHARS:
        raise ValueError(f"user and password have at most {_TEXT_MAX_CHARS} characters, the user no colon")
    credential = base64.b64encode(f"{user}:{password}".encode()).decode()
    return Proxy(host, port or _PROXY_PORT, f"Basic {credential}" if user or password else None)
