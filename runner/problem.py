"""Errors as `application/problem+json` (RFC 9457): the one shape of every answer that is not the guest's own."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from shared.errors import PlatformError, by_code

CONTENT_TYPE: Final = "application/problem+json"


def encode(error: PlatformError, request_id: str | None = None) -> bytes:
    """The body for `error`: `type, title, status, detail, code, blame`, its extra members, the request id."""
    body: dict[str, Any] = {
        "type": f"urn:alga:error:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        "blame": str(error.blame),
        **error.extra,
    }
    if request_id is not None:
        body["request_id"] = request_id
    return msgspec.json.encode(body)


def headers(error: PlatformError, body: bytes) -> list[tuple[bytes, bytes]]:
    """The headers that go with `body`; nothing about a refusal may be cached."""
    found = [
        (b"content-type", CONTENT_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    if error.retry_after_s is not None:
        found.append((b"retry-after", str(error.retry_after_s).encode()))
    return found


class _Problem(msgspec.Struct, frozen=True):
    code: str
    detail: str = ""
    path: str | None = None


def decode(body: bytes) -> PlatformError:
    """The error another of our services answered with.

    Raises:
        msgspec.MsgspecError, UnicodeDecodeError: `body` is none.
    """
    found = msgspec.json.decode(body, type=_Problem)
    extra: dict[str, Any] = {} if found.path is None else {"path": found.path}
    return by_code(found.code)(found.detail, **extra)
