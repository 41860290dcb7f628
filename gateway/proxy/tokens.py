"""What the gateway signs for one execution: the execute token, the host token, one token for each provider.

The execute token is the runner's right to run exactly these bytes once; a retry needs a new one. The host token
travels inside those bytes and is the guest's only way back, until its deadline. A provider gets a token that
names it as the audience and nothing else, so none can be used in another's place; it says for whom the guest asks, so
that a host application need not take a runner's word for that.
"""

from __future__ import annotations

import math
from typing import Final

from shared.capabilities import INTERFACES
from shared.digest import sha256_hex
from shared.keys import PrivateKey
from shared.limits import HOST_TOKEN_GRACE_S, TOKEN_LIFETIME_MAX_S
from shared.provider import Providers
from shared.provider_files import shipped
from shared.tokens import Clock, ExecuteClaims, HostClaims, mint, new_jti
from shared.wire import Context, ExecuteRequest, User

ISSUER: Final = "gateway"
RUNNER: Final = "runner"
HOST: Final = "gateway"

EXECUTE_GRACE_S: Final = 10  # clock steps and a queue in front of the runner's check, beyond the call's own time

UI_PROXY: Final = "ui-proxy"
"""Of the host application as well, and the only one that is an interface of the platform."""


class TokenMint:
    """Mints the tokens of one call.

    Args:
        key: the gateway's signing key; runners and `/internal/*` hold its public half.
        clock: seconds since the epoch.
        providers: the services of the host application; by default the reference ones.
    """

    def __init__(self, key: PrivateKey, clock: Clock, providers: Providers | None = None) -> None:
        self._key = key
        self._clock = clock
        self._providers = shipped() if providers is None else providers

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

    def providers(
        self,
        context: Context,
        caps: tuple[str, ...],
        *,
        timeout_ms: int,
        generation: int,
        user: User | None = None,
    ) -> dict[str, str]:
        """One token for each provider that `caps` opens; its audience is that provider, its grant that one.

        Args:
            context: whose call it is.
            caps: the complete grant list.
            timeout_ms: the call's time, from now.
            generation: of the install.
            user: for whom the guest asks.
        """
        audiences = [(one.name, one.audience, one.capability) for one in self._providers.granted(caps)]
        if INTERFACES[UI_PROXY] in caps:
            audiences.append((UI_PROXY, UI_PROXY, INTERFACES[UI_PROXY]))
        return {
            name: self._bound(
                audience, context, (capability,), timeout_ms=timeout_ms, generation=generation, hops=0, user=user
            )
            for name, audience, capability in audiences
        }

    def provider_digests(self, caps: tuple[str, ...]) -> dict[str, str]:
        """How this gateway knows the services that `caps` opens."""
        return {one.name: self._providers.digests[one.name] for one in self._providers.granted(caps)}

    def _bound(
        self,
        audience: str,
        context: Context,
        caps: tuple[str, ...],
        *,
        timeout_ms: int,
        generation: int,
        hops: int,
        user: User | None = None,
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
            sub=user.user_id if user else "",
            user_type=user.user_type if user else "",
            client_id=(user.client_id or "") if user else "",
        )
        return mint(self._key, claims)
