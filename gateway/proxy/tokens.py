"""What the gateway signs for one execution: the execute token, the host token, one token for each provider.

The execute token is the runner's right to run exactly these bytes once; a retry needs a new one. The host token
travels inside those bytes and is the guest's only way back, until its deadline. A provider gets a token that
names it as the audience and nothing else, so none can be used in another's place.
"""

from __future__ import annotations

import math
from typing import Final

from shared.capabilities import INTERFACES, PROVIDED
from shared.digest import sha256_hex
from shared.keys import PrivateKey
from shared.limits import HOST_TOKEN_GRACE_S, TOKEN_LIFETIME_MAX_S
from shared.tokens import Clock, ExecuteClaims, HostClaims, mint, new_jti
from shared.wire import Context, ExecuteRequest

ISSUER: Final = "gateway"
RUNNER: Final = "runner"
HOST: Final = "gateway"

EXECUTE_GRACE_S: Final = 10  # clock steps and a queue in front of the runner's check, beyond the call's own time

PROVIDERS: Final[dict[str, str]] = {"ui-proxy": INTERFACES["ui-proxy"], **PROVIDED}
"""Provider (as `provider_tokens` names it) → the capability that lets a guest reach it."""


class TokenMint:
    """Mints the tokens of one call.

    Args:
        key: the gateway's signing key; runners and `/internal/*` hold its public half.
        clock: seconds since the epoch.
    """

    def __init__(self, key: PrivateKey, clock: Clock) -> None:
        self._key = key
        self._clock = clock

    def execute(self, request: ExecuteRequest, body: bytes) -> str:
        """The right to `POST /v1/execute` with exactly `body`, once, from now for at most 60 s."""
        now = int(self._clock())
        context = request.context
        lifetime_s = math.ceil((request.limits.timeout_ms or 0) / 1000) + EXECUTE_GRACE_S
        claims = ExecuteClaims(
            iss=ISSUER,
            aud=RUNNER,
            op="execute",
            jti=new_jti(),
            iat=now,
            exp=now + min(lifetime_s, TOKEN_LIFETIME_MAX_S),
            body_sha256=sha256_hex(body),
            tenant=context.tenant_id,
            extension=context.extension_id,
            install=context.install_id,
            content_hash=context.content_hash,
            caps=request.providers,
        )
        return mint(self._key, claims)

    def host(self, context: Context, caps: tuple[str, ...], *, timeout_ms: int, generation: int, hops: int) -> str:
        """The guest's way back to `/internal/*`, until its deadline plus a grace.

        Args:
            context: whose call it is.
            caps: the complete grant list.
            timeout_ms: the call's time, from now.
            generation: of the install; a changed one ends the token's worth.
            hops: how many events led to this call.
        """
        return self._bound(HOST, context, caps, timeout_ms=timeout_ms, generation=generation, hops=hops)

    def providers(self, context: Context, caps: tuple[str, ...], *, timeout_ms: int, generation: int) -> dict[str, str]:
        """One token for each provider that `caps` opens; its audience is that provider, its grant that one."""
        return {
            provider: self._bound(
                provider, context, (capability,), timeout_ms=timeout_ms, generation=generation, hops=0
            )
            for provider, capability in PROVIDERS.items()
            if capability in caps
        }

    def _bound(
        self, audience: str, context: Context, caps: tuple[str, ...], *, timeout_ms: int, generation: int, hops: int
    ) -> str:
        now = self._clock()
        claims = HostClaims(
            iss=ISSUER,
            aud=audience,
            jti=new_jti(),
            iat=int(now),
            exp=math.ceil(now + timeout_ms / 1000) + HOST_TOKEN_GRACE_S,
            tenant=context.tenant_id,
            extension=context.extension_id,
            install=context.install_id,
            request_id=context.request_id,
            caps=caps,
            generation=generation,
            hops=hops,
        )
        return mint(self._key, claims)
