"""Who this runner is: a fresh identity token for each call, good for one audience and a minute at most.

It names no tenant and opens nothing but the state feed, UI look-ups and `/v1/prepare`.
"""

from __future__ import annotations

import time
from typing import Final

from shared.keys import PrivateKey
from shared.tokens import Clock, IdentityClaims, mint, new_jti

GATEWAY: Final = "gateway"
COMPILER: Final = "compiler"
LIFETIME_S: Final = 60  # a prepare call that waits in a queue has been verified before it waits


class Identity:
    """Mints identity tokens with the runner's key.

    Args:
        key: `RUNNER_IDENTITY_KEY`.
        clock: seconds since the epoch.
    """

    def __init__(self, key: PrivateKey, clock: Clock = time.time) -> None:
        self._key = key
        self._clock = clock

    def headers(self, audience: str) -> dict[str, str]:
        """The `authorization` header of one call to `audience` (`gateway` or `compiler`)."""
        now = int(self._clock())
        claims = IdentityClaims(iss=self._key.key_id, aud=audience, jti=new_jti(), iat=now, exp=now + LIFETIME_S)
        return {"authorization": f"Bearer {mint(self._key, claims)}"}
