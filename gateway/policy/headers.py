"""Which headers pass: from the client to the guest, and from the guest to the client. Two allowlists, pure.

A guest sees nothing that identifies the caller beyond what the platform tells it (no credential, no cookie, no
proxy's note), and can tell a browser nothing that would act on the gateway's origin: no cookie, no CORS, no CSP
of its own, no shared caching, no redirect to another origin. Every guest answer carries `FIXED`, so that a
document a guest sends is inert when somebody opens it on that origin.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from shared.errors import GuestResponseInvalid, HeadersTooLarge, InvalidRequest
from shared.limits import HEADER_BLOCK_MAX_BYTES, HEADERS_MAX_COUNT

RawHeaders = Iterable[tuple[bytes, bytes]]

LISTS_TO_GUEST: Final = frozenset({b"accept", b"accept-encoding", b"accept-language", b"if-none-match", b"if-match"})
"""Allowed request headers whose value is a list: several lines are joined by a comma (RFC 9110 §5.3)."""

SINGLES_TO_GUEST: Final = frozenset({b"content-type", b"user-agent", b"x-idempotency-key", b"traceparent"})
"""Allowed request headers that may stand once; two of them would let two readers disagree."""

TO_CLIENT: Final = frozenset(
    {"content-type", "content-language", "content-disposition", "etag", "last-modified", "retry-after"}
)
"""Response headers that pass unchanged; `cache-control`, `location` and `x-ext-app-*` have rules of their own."""

FIXED: Final[tuple[tuple[bytes, bytes], ...]] = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"sandbox; default-src 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""On every guest answer, whatever its type."""

SCRIPT_DESTINATIONS: Final = frozenset(
    {b"script", b"worker", b"sharedworker", b"serviceworker", b"audioworklet", b"paintworklet", b"xslt"}
)
"""`Sec-Fetch-Dest` values (Fetch standard) whose answer a browser would run on the gateway's origin."""

_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110 §5.5: field-vchar, obs-text, space, tab
_APP_HEADER: Final = re.compile(r"x-ext-app-[a-z0-9-]{1,64}")
_LOCATION: Final = re.compile(r"/[\x21-\x5b\x5d-\x7e]*")  # printable, one leading slash, no backslash
_MAX_AGE: Final = re.compile(r"max-age=[0-9]{1,10}")
_KEPT_CACHE: Final = ("no-store", "no-cache", "private", "must-revalidate")
_FORMLESS: Final = frozenset({204, 205, 304})  # statuses that never have a body (RFC 9110 §15)


def check_block(headers: RawHeaders) -> None:
    """Raise `HeadersTooLarge` when names and values together, or their number, exceed the limits."""
    count = size = 0
    for name, value in headers:
        count += 1
        size += len(name) + len(value)
    if size > HEADER_BLOCK_MAX_BYTES or count > HEADERS_MAX_COUNT:
        raise HeadersTooLarge(
            f"at most {HEADERS_MAX_COUNT} headers with {HEADER_BLOCK_MAX_BYTES} bytes together are accepted"
        )


def check_framing(headers: RawHeaders) -> None:
    """Raise `InvalidRequest` when two headers say how long the body is (RFC 9112 §6.3): two readers would disagree."""
    names = [name for name, _ in headers if name in (b"content-length", b"transfer-encoding")]
    if len(names) > 1:
        raise InvalidRequest("send either one content-length or one transfer-encoding")


def loads_as_script(headers: RawHeaders) -> bool:
    """Whether a browser asks for something it would run as code (`Sec-Fetch-Dest`)."""
    return any(name == b"sec-fetch-dest" and value.strip().lower() in SCRIPT_DESTINATIONS for name, value in headers)


def to_guest(headers: RawHeaders, *, tenant_id: str, extension_id: str, request_id: str) -> dict[str, str]:
    """The headers a guest sees: the allowed ones, then the platform's own, which always win.

    Args:
        headers: as the server delivered them, names in lower case.
        tenant_id: injected as `x-alga-tenant`.
        extension_id: injected as `x-alga-extension`.
        request_id: injected as `x-request-id`.

    Raises:
        InvalidRequest: an allowed header stands twice where it may stand once, or has control characters.
    """
    passed: dict[str, str] = {}
    for raw_name, raw_value in headers:
        if raw_name not in LISTS_TO_GUEST and raw_name not in SINGLES_TO_GUEST:
            continue
        name, value = raw_name.decode("ascii"), raw_value.decode("latin-1").strip(" \t")
        if not _VALUE.fullmatch(value):
            raise InvalidRequest(f"the header {name} has control characters")
        if name not in passed:
            passed[name] = value
        elif raw_name in LISTS_TO_GUEST:
            passed[name] = f"{passed[name]}, {value}"
        else:
            raise InvalidRequest(f"the header {name} may stand only once")
    return passed | {"x-request-id": request_id, "x-alga-tenant": tenant_id, "x-alga-extension": extension_id}


def check_status(status: int) -> None:
    """Raise `GuestResponseInvalid` unless `status` is a final one, 200 to 599."""
    if not 200 <= status <= 599:
        raise GuestResponseInvalid("the extension must answer with a final status, 200 to 599")


def has_body(status: int) -> bool:
    """Whether an answer with this status may have a body at all."""
    return status not in _FORMLESS


def to_client(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """The headers of a guest's answer that a client gets: the allowed ones, a cache rule, and `FIXED`.

    What is not allowed is dropped in silence: a guest toolchain adds headers its author never wrote.

    Raises:
        GuestResponseInvalid: an allowed header's value could not stand in a header line.
    """
    passed: list[tuple[bytes, bytes]] = []
    cache: list[str] = []
    seen: set[str] = set()
    for raw_name, value in headers:
        name = raw_name.lower()
        if name == "cache-control":
            cache.append(value)
        elif name == "location":
            if name not in seen and _local(value):
                passed.append((b"location", value.encode("ascii")))
                seen.add(name)
        elif (name in TO_CLIENT and name not in seen) or _APP_HEADER.fullmatch(name):
            passed.append((name.encode("ascii"), _line(name, value)))
            seen.add(name)
    if "content-type" not in seen:
        # Without a type a browser may still guess one from the bytes, nosniff or not (MIME Sniffing §7).
        passed.append((b"content-type", b"application/octet-stream"))
    return [*passed, (b"cache-control", cache_control(",".join(cache)).encode("ascii")), *FIXED]


def cache_control(value: str) -> str:
    """What is left of a guest's `cache-control`: only directives that keep an answer with its one reader.

    An answer depends on the credential, so what may be stored at all is `private`: with `must-revalidate` a shared
    cache may otherwise keep even the answer to an authorised request (RFC 9111 §3.5). Nothing usable: `no-store`.
    """
    asked = [part.strip().lower() for part in value.split(",")]
    if "no-store" in asked:
        return "no-store"
    kept = [word for word in asked if word in _KEPT_CACHE or _MAX_AGE.fullmatch(word)]
    if "public" not in asked and not kept:
        return "no-store"
    return ", ".join(dict.fromkeys(["private", *kept]))


def _local(value: str) -> bool:
    return bool(_LOCATION.fullmatch(value)) and "//" not in value


def _line(name: str, value: str) -> bytes:
    if not _VALUE.fullmatch(value):
        raise GuestResponseInvalid(f"the extension's header {name} has characters that no header can carry")
    return value.strip(" \t").encode("latin-1")
