"""What the HTTP client raises when the network fails, for rooms that may not import it."""

from __future__ import annotations

from typing import Final

import aiohttp

TRANSPORT_ERRORS: Final[tuple[type[Exception], ...]] = (aiohttp.ClientError, OSError, TimeoutError)
