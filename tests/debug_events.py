"""Debug events for the tests of both services: one that says everything, and its like."""

from __future__ import annotations

from typing import Any

import msgspec

from shared.debug_event import ExtDebugEvent

EXTENSION = "018f3f2e-7b1a-7c3d-9e4f-000000000001"
OTHER_EXTENSION = "018f3f2e-7b1a-7c3d-9e4f-0000000000ff"

EVENT = ExtDebugEvent(
    ts=1_700_000_000_123,
    seq=2,
    level="warn",
    stream="log",
    tenant_id="acme",
    extension_id=EXTENSION,
    install_id="018f3f2e-7b1a-7c3d-9e4f-000000000002",
    request_id="r-1",
    version_id="018f3f2e-7b1a-7c3d-9e4f-000000000003",
    content_hash=f"sha256:{'ab' * 32}",
    message='a "line" with\nbreaks, \x1b[31mescapes and 日本',
    truncated=True,
    data={"kind": "host.call", "took_us": "12"},
    execution_id="0123456789abcdef",
)


def event(message: str = "a line", **changes: Any) -> ExtDebugEvent:
    """An event of its own."""
    plain: dict[str, Any] = {"message": message, "truncated": False, "data": None, "level": "info"}
    return msgspec.structs.replace(EVENT, **{**plain, **changes})
