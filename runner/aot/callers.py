"""Who may ask for a compilation: gateways and runners whose keys the compiler was given, each token once.

Two kinds of token are good: an identity token (a runner, on its own behalf), and an execute token with `op` `prepare`
that was minted for exactly this body (the gateway, at publish). Both name `compiler` as their audience.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterable
from typing import Final

from shared.errors import Unauthorized
from shared.keys import PublicKey
from shared.limits import CLOCK_SKEW_S
from shared.tokens import Clock, ExecuteClaims, IdentityClaims, Verifier, check_body

AUDIENCE: Final = "compiler"
OPERATION: Final = "prepare"
SEEN_MAX: Final = 100_000  # tokens within two minutes: 800 a second, far above any cluster's rate of publishing

_REFUSED: Final = "A bearer token for the compiler, for this body and not used before, is needed"


class Callers:
    """Checks the `authorization` header of one request after the other.

    Args:
        keys: `COMPILER_CALLER_KEYS`.
        clock: seconds since the epoch.
    """

    def __init__(self, keys: Iterable[PublicKey], clock: Clock = time.time) -> None:
        self._verifier = Verifier(keys, {AUDIENCE}, clock)
        self._clock = clock
        self._seen: set[str] = set()
        self._expiring: list[tuple[float, str]] = []

    def check(self, authorization: str, body: bytes) -> str:
        """The id of the key that vouches for this request. Raises `Unauthorized`."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthorized(_REFUSED)
        claims = self._claims(token.strip(), body)
        self._once(claims.jti, claims.exp)
        return claims.iss

    def _claims(self, token: str, body: bytes) -> IdentityClaims | ExecuteClaims:
        try:
            return self._verifier.verify(token, IdentityClaims)
        except Unauthorized:
            claims = self._verifier.verify(token, ExecuteClaims)
        if claims.op != OPERATION:
            raise Unauthorized(_REFUSED)
        check_body(claims, body)
        return claims

    def _once(self, jti: str, expires_s: float) -> None:
        now = self._clock()
        while self._expiring and self._expiring[0][0] < now:
            self._seen.discard(heapq.heappop(self._expiring)[1])
        if jti in self._seen or len(self._seen) >= SEEN_MAX:
            raise Unauthorized(_REFUSED)
        self._seen.add(jti)
        heapq.heappush(self._expiring, (expires_s + CLOCK_SKEW_S, jti))
