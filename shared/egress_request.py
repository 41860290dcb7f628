"""What a guest may say in a request: methods and headers, checked before anything is on the wire.

The platform owns framing, routing and its own namespace; a guest that could set `transfer-encoding` or `host` could
smuggle a second request past the policy, and one that could set `x-alga-tenant` could speak for the platform. A
request that breaks a rule is refused whole, never cleaned.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from shared.egress import Denied, Reason
from shared.limits import EGRESS_HEADER_BLOCK_MAX_BYTES, EGRESS_REDIRECTS_MAX_COUNT

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
FOLLOW_REDIRECTS: Final = "x-ext-follow-redirects"
"""The one `x-ext-*` header a guest may set: how many redirects to follow. It is consumed, never sent."""

FORBIDDEN_HEADERS: Final = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
    }
)
FORBIDDEN_PREFIXES: Final = ("proxy-", "x-alga-", "x-ext-", "x-forwarded-")
CREDENTIAL_HEADERS: Final = frozenset({"authorization", "cookie"})

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # everything but the tab; CR, LF and NUL above all
_COUNT: Final = re.compile(r"[0-9]")

Headers = tuple[tuple[str, str], ...]


class Outgoing(msgspec.Struct, frozen=True):
    """A request line and headers that may be sent.

    Attributes:
        headers: names in lower case, without `x-ext-follow-redirects`.
        redirects_max: how many hops the guest asked to have followed; 0 unless it did.
    """

    method: str
    headers: Headers
    redirects_max: int = 0


def check_request(method: str, headers: Sequence[tuple[str, str]]) -> Outgoing | Denied:
    """The request as it may be sent, or why it may not.

    Args:
        method: one of `METHODS`, in capitals.
        headers: as the guest gave them.
    """
    if method not in METHODS:
        return Denied(Reason.METHOD, f"the method must be one of {' '.join(METHODS)}")
    redirects_max = 0
    kept: list[tuple[str, str]] = []
    for name, value in headers:
        lower = name.lower()
        denied = _check_header(name, lower, value)
        if denied is not None:
            return denied
        if lower == FOLLOW_REDIRECTS:
            redirects_max = int(value)
        else:
            kept.append((lower, value))
    if sum(len(name) + len(value.encode()) + 4 for name, value in kept) > EGRESS_HEADER_BLOCK_MAX_BYTES:
        return Denied(Reason.HEADER_INVALID, f"all headers together have at most {EGRESS_HEADER_BLOCK_MAX_BYTES} bytes")
    return Outgoing(method, tuple(kept), redirects_max)


def _check_header(name: str, lower: str, value: str) -> Denied | None:
    if not _TOKEN.fullmatch(name):
        return Denied(Reason.HEADER_INVALID, "a header name has letters, digits and !#$%&'*+-.^_`|~ only")
    if _CONTROL.search(value):
        return Denied(Reason.HEADER_INVALID, f"the value of {lower} must have no control characters")
    if lower == FOLLOW_REDIRECTS:
        if _COUNT.fullmatch(value) and int(value) <= EGRESS_REDIRECTS_MAX_COUNT:
            return None
        return Denied(Reason.HEADER_INVALID, f"{lower} must be a number from 0 to {EGRESS_REDIRECTS_MAX_COUNT}")
    if lower in FORBIDDEN_HEADERS or lower.startswith(FORBIDDEN_PREFIXES):
        return Denied(Reason.HEADER_FORBIDDEN, f"{lower} is set by the platform; leave it out")
    return None


def without_credentials(headers: Headers) -> Headers:
    """The headers that may follow a redirect to another origin."""
    return tuple((name, value) for name, value in headers if name not in CREDENTIAL_HEADERS)
