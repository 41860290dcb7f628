"""The egress policy: which URL an install may fetch. Pure; `runner/egress` connects, the gateway validates grants.

Deny by default. A target must be granted to the install (`entries`) *and* lie inside the operator's fence; an install
without entries reaches nothing, a fence of no entries lets nothing out, no fence (`None`) leaves it to the grants.

An entry is `[http://|https://]host[:port]`:

    api.example.com           https, port 443, this name only
    http://api.example.com    http, port 80
    *.example.com:8443        any name below example.com, one or more labels, never example.com itself
    https://93.184.216.34     a public address

No path, query, user, CIDR, bare or inner `*`, port range; no wildcard over a public suffix, since `*.co.uk` or
`*.github.io` would be everybody. An entry outside the grammar makes its manifest or install invalid, so an entry that
exists always means something.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Final, Literal

import msgspec
from publicsuffixlist import PublicSuffixList

from shared.egress_addresses import address_denied
from shared.egress_url import (
    DEFAULT_PORT,
    SCHEMES,
    Endpoint,
    Host,
    Scheme,
    Target,
    UrlError,
    UserinfoError,
    parse_endpoint,
    parse_url,
    split_authority,
)

_ENTRY: Final = re.compile(r"(?:(https?)://)?(\*\.)?([^/?#@%*\\\s]+)", re.IGNORECASE)
_NO_ENDPOINTS: Final[frozenset[Endpoint]] = frozenset()

GuestError = Literal["invalid-url", "not-allowed", "transport", "internal"]
"""What a guest is told (enum `http-error`); the reason itself goes to the log and the debug stream."""


class EntryError(ValueError):
    """A text that is not an egress entry. The message says what would be valid."""


class Reason(StrEnum):
    """Why a request was refused: the label in logs and metrics, a closed set."""

    INVALID_URL = "invalid-url"
    USERINFO = "userinfo-denied"
    ADDRESS = "ip-denied"
    NOT_GRANTED = "not-granted"
    OUTSIDE_FENCE = "outside-fence"
    METHOD = "method-denied"
    HEADER_INVALID = "header-invalid"
    HEADER_FORBIDDEN = "header-forbidden"
    REDIRECT = "redirect-denied"
    SECRET = "secret-denied"
    TOO_MANY = "too-many"
    TOO_MANY_AT_ONCE = "too-many-at-once"

    @property
    def guest_error(self) -> GuestError:
        """The guest's view, which tells apart only what its own code can put right."""
        return "invalid-url" if self in (Reason.INVALID_URL, Reason.USERINFO) else "not-allowed"


class Entry(msgspec.Struct, frozen=True):
    """One allowed origin, or with `wildcard` every origin below a name."""

    scheme: Scheme
    host: Host
    port: int
    wildcard: bool = False

    def __str__(self) -> str:
        port = "" if self.port == DEFAULT_PORT[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{'*.' if self.wildcard else ''}{self.host}{port}"

    def matches(self, target: Target) -> bool:
        """Whether this entry allows `target`: same scheme and port, and the name itself or one below it."""
        if (self.scheme, self.port) != (target.scheme, target.port):
            return False
        if self.wildcard:
            return not target.host.is_address and target.host.name.endswith(f".{self.host.name}")
        return self.host == target.host


class Allowed(msgspec.Struct, frozen=True):
    """The request may go out.

    Attributes:
        target: where to, and what to ask for.
        entry: the grant that allowed it.
        any_address: the operator listed this host and port, so the address table is not asked (local mode).
    """

    target: Target
    entry: Entry
    any_address: bool = False


class Denied(msgspec.Struct, frozen=True):
    """The request stays here.

    Attributes:
        reason: for log and metric.
        detail: one sentence for the extension's author: what was wrong and what would be valid.
        would_allow: the entry that would allow it, or `None` when no entry could.
        target: set when nothing but the allowlist is against it; observe mode records this and goes on.
        any_address: as in `Allowed`, for observe mode.
    """

    reason: Reason
    detail: str
    would_allow: Entry | None = None
    target: Target | None = None
    any_address: bool = False


Verdict = Allowed | Denied


def parse_entry(text: str, private: frozenset[Endpoint] = _NO_ENDPOINTS) -> Entry:
    """The entry that `text` writes.

    Args:
        text: `[http://|https://]host[:port]`; no scheme means https, no port the scheme's own.
        private: addresses and ports which the operator opened in local mode; elsewhere empty.

    Raises:
        EntryError: outside the grammar, a wildcard over a public suffix, or an address that is not public.
    """
    found = _ENTRY.fullmatch(text)
    if not found:
        raise EntryError(
            f"{text!r} is not an egress entry: write [http://|https://]host[:port] or *.host, "
            "without path, query, user or address range"
        )
    scheme = SCHEMES[(found[1] or "https").lower()]
    try:
        host, port = split_authority(found[3])
    except UrlError as error:
        raise EntryError(f"{text!r} is not an egress entry: {error}") from error
    entry = Entry(scheme, host, DEFAULT_PORT[scheme] if port is None else port, wildcard=bool(found[2]))
    _check(entry, text, private)
    return entry


def _check(entry: Entry, text: str, private: frozenset[Endpoint]) -> None:
    if entry.wildcard and entry.host.is_address:
        raise EntryError(f"{text!r}: *. goes with a name, not with an address")
    if entry.wildcard and _suffixes().is_public(entry.host.name):
        raise EntryError(f"{text!r}: {entry.host} is a public suffix, shared by strangers; name a domain below it")
    if entry.host.is_address and Endpoint(entry.host, entry.port) not in private:
        why = address_denied(entry.host.name)
        if why is not None:
            raise EntryError(f"{text!r}: {why}; only public addresses can be granted")


def parse_entries(texts: Iterable[str], private: frozenset[Endpoint] = _NO_ENDPOINTS) -> tuple[Entry, ...]:
    """Every entry, in order and once. Raises `EntryError` for the first that is not one."""
    return tuple(dict.fromkeys(parse_entry(text, private) for text in texts))


def parse_fence(text: str, private: frozenset[Endpoint] = _NO_ENDPOINTS) -> tuple[Entry, ...]:
    """The operator's `EXT_EGRESS_ALLOWLIST`: entries separated by commas; the empty text is the empty fence."""
    return parse_entries(filter(None, (word.strip() for word in text.split(","))), private)


def parse_private(text: str) -> frozenset[Endpoint]:
    """The operator's `EXT_EGRESS_ALLOW_PRIVATE`: `host:port` separated by commas. Raises `UrlError`."""
    return frozenset(parse_endpoint(word.strip()) for word in text.split(",") if word.strip())


def decide(
    url: str,
    entries: Iterable[Entry],
    fence: tuple[Entry, ...] | None,
    private: frozenset[Endpoint] = _NO_ENDPOINTS,
) -> Verdict:
    """Whether an install may fetch `url`; to be asked again for every hop of a redirect.

    The addresses behind a name are not known here: the connector resolves once and asks
    `shared.egress_addresses.any_denied`, unless the verdict says `any_address`.

    Args:
        url: as the guest gave it.
        entries: what the install was granted.
        fence: the operator's outer limit; `None` when there is none.
        private: what the operator exempted from the address table in local mode.
    """
    try:
        target = parse_url(url)
    except UserinfoError as error:
        return Denied(Reason.USERINFO, str(error))
    except UrlError as error:
        return Denied(Reason.INVALID_URL, str(error))
    any_address = target.endpoint in private
    if target.host.is_address and not any_address:
        why = address_denied(target.host.name)
        if why is not None:
            return Denied(Reason.ADDRESS, f"{why}; only public addresses are contacted, and no entry changes that")
    return _by_allowlist(target, entries, fence, any_address)


def _by_allowlist(
    target: Target, entries: Iterable[Entry], fence: tuple[Entry, ...] | None, any_address: bool
) -> Verdict:
    would_allow = Entry(target.scheme, target.host, target.port)
    granted = next((entry for entry in entries if entry.matches(target)), None)
    if granted is None:
        detail = f'{target.origin} is not granted to this install; "{would_allow}" in its egress list would allow it'
        return Denied(Reason.NOT_GRANTED, detail, would_allow, target, any_address)
    if fence is not None and not any(entry.matches(target) for entry in fence):
        detail = (
            f"{target.origin} is granted but lies outside the operator's fence; "
            f'"{would_allow}" in EXT_EGRESS_ALLOWLIST would allow it'
        )
        return Denied(Reason.OUTSIDE_FENCE, detail, would_allow, target, any_address)
    return Allowed(target, granted, any_address)


@functools.cache
def _suffixes() -> PublicSuffixList:
    """The public suffix list that ships with the library, its private section included; read when first needed."""
    return PublicSuffixList()
