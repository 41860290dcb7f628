"""How large a request's head may be: target and headers, before anything looks at them.

The server bounds what it buffers of a head that is not complete; one that arrives at once is measured here.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.policy.headers import check_block
from shared.errors import InvalidPath
from shared.limits import URL_MAX_BYTES


class Heads:
    """Refuses requests whose target or header block is larger than the limits."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or a lifespan that passes through."""
        if scope["type"] == "http":
            if len(scope["raw_path"]) + len(scope["query_string"]) > URL_MAX_BYTES:
                raise InvalidPath(f"path and query may have at most {URL_MAX_BYTES} bytes together")
            check_block(scope["headers"])
        await self._app(scope, receive, send)
