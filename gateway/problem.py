"""The one error shape: RFC 9457 `application/problem+json`, for every answer that is not a guest's own.

    {type, title, status, detail, code, request_id, …}

`code` is the contract; `type` is its URI form; further members belong to the code.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from shared.errors import PlatformError

CONTENT_TYPE: Final = "application/problem+json"

RawHeaders = list[tuple[bytes, bytes]]


def encode(error: PlatformError, request_id: str) -> bytes:
    """The body for `error`."""
    body: dict[str, Any] = {
        "type": f"urn:alga:error:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        "request_id": request_id,
    }
    extra = {name: value for name, value in error.extra.items() if name not in body}
    return msgspec.json.encode(body | extra)


def headers(error: PlatformError, body: bytes) -> RawHeaders:
    """The headers that go with `body`: nothing about a refusal may be cached or sniffed."""
    found: RawHeaders = [
        (b"content-type", CONTENT_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    if error.status == 401:
        found.append((b"www-authenticate", b"Bearer"))  # RFC 9110 §11.6.1
    if error.retry_after_s is not None:
        found.append((b"retry-after", str(error.retry_after_s).encode()))
    found += [(name.encode(), value.encode()) for name, value in error.fields.items()]
    return found
