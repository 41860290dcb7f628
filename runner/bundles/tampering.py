"""Says that bytes somebody else could write were not what was signed: one log line and one count, the alert's source.

Whoever meets such bytes drops them and asks the next source, so the only trace of an attack on a disk or a bucket is
this one. The count is `ext_cache_tampered_total{where}`; the line is `cache_tampered`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import structlog

Where = Literal["disk", "store"]

_log = structlog.get_logger()


class Tampering:
    """Reports what failed its check.

    Args:
        count: called with where it was found; by default nobody counts.
    """

    def __init__(self, count: Callable[[str], object] = lambda _where: None) -> None:
        self._count = count

    def found(self, where: Where, reason: str, **what: str) -> None:
        """Report bytes that were not used. `what` names them: a digest, never a path or contents."""
        _log.error("cache_tampered", where=where, reason=reason, **what)
        self._count(where)
