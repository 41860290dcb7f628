"""Who asks on the internal listener for a running guest: a host token, and nothing else.

The gateway minted it for one call (tenant, install, grants, the install's generation, how many events led here) and
verifies it on each use. That the install still is what the token says is checked where the work is done, in the same
statement; here nothing is looked up.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from shared.errors import Forbidden, Unauthorized
from shared.keys import PublicKey
from shared.tokens import Clock, HostClaims, Verifier

AUDIENCE: Final = "gateway"


class HostTokens:
    """Verifies host tokens.

    Args:
        keys: of the gateways.
        clock: seconds since the epoch.
    """

    def __init__(self, keys: Iterable[PublicKey], clock: Clock = time.time) -> None:
        self._verifier = Verifier(keys, {AUDIENCE}, clock)

    def verify(self, headers: Iterable[tuple[bytes, bytes]], capability: str) -> HostClaims:
        """The call that asks, which was granted `capability`.

        Args:
            headers: as they came, names in lower case.

        Raises:
            Unauthorized: no host token of ours, or one whose time is over.
            Forbidden: its call was not granted the capability.
        """
        values = [value for name, value in headers if name == b"authorization"]
        scheme, _, token = values[0].partition(b" ") if len(values) == 1 else (b"", b"", b"")
        if scheme.lower() != b"bearer":
            raise Unauthorized("send the running call's host token: Authorization: Bearer <token>")
        claims = self._verifier.verify(token.strip().decode("latin-1"), HostClaims)
        if capability not in claims.caps:
            raise Forbidden(f"{capability} is not granted to this install", capability=capability)
        return claims
