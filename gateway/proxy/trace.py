"""W3C Trace Context (level 1): the caller's trace goes on, under a new span of the gateway's; else one begins."""

from __future__ import annotations

import re
import secrets
from typing import Final

_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(-.*)?")


def child(traceparent: str | None) -> str:
    """The `traceparent` of the hop to the runner.

    Args:
        traceparent: the caller's header; one that is not valid is as good as none (Trace Context §3.2.2).
    """
    found = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    trace_id, flags = (found[1], found[2]) if found else (secrets.token_hex(16), "00")
    return f"00-{trace_id}-{secrets.token_hex(8)}-{flags}"
