"""The door of every request: headers in, `Principal` out.

No credential is `unauthenticated`; any bad one is `invalid_session`, with one body for every reason, so that nothing
can be learnt from trying. A tenant comes from the credential; a header that names one may only agree.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from gateway.identity.api_keys import PREFIX, ApiKeys
from gateway.identity.console import COOKIE, ConsoleSessions, cookie
from gateway.identity.jwks import FixedKeys, HostKeys
from gateway.identity.keys import JwksUrl
from gateway.identity.principal import Principal
from gateway.identity.sessions import IframeSession, IframeSessions, SessionVerifier, key_id
from gateway.settings import GatewaySettings
from gateway.store.pool import Database
from shared.errors import InvalidSession, TenantMismatch, Unauthenticated
from shared.limits import INSTALL_STALE_MAX_S
from shared.tokens import Clock

RawHeaders = Iterable[tuple[bytes, bytes]]

_TENANT_HEADERS: Final = frozenset({b"x-alga-tenant", b"x-tenant-id", b"x_alga_tenant", b"x_tenant_id"})


class Identity:
    """Every kind of credential the gateway takes.

    Args:
        settings: keys, audience and issuer of the host application's tokens; our own key.
        store: where API keys are.
        clock: seconds since the epoch.
        host_keys: the host application's, when they are fetched; else those of the settings.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        store: Database,
        clock: Clock = time.time,
        *,
        host_keys: HostKeys | None = None,
    ) -> None:
        if host_keys is None:
            if isinstance(settings.jwt_keys, JwksUrl):
                raise ValueError("published keys are fetched by whoever opens the gateway; pass them as host_keys")
            host_keys = FixedKeys(settings.jwt_keys)
        self._host_keys = host_keys
        self._sessions = SessionVerifier(self._host_keys.known, settings.jwt_audience, settings.jwt_issuer, clock)
        self._iframes = IframeSessions(settings.signing_keys, clock)
        stale_s = INSTALL_STALE_MAX_S if settings.audit_mode == "best-effort" else 0
        self.api_keys = ApiKeys(store, clock, stale_s=stale_s)
        self.console = ConsoleSessions(store, clock)

    async def authenticate(self, headers: RawHeaders, *, iframe: bool = False) -> Principal:
        """The verified caller.

        Args:
            headers: as they came, in order, names in lower case.
            iframe: whether an iframe session is good here; the door then calls `principal.confine`.

        Raises:
            Unauthenticated: no credential.
            InvalidSession: one that is not good here, or more than one.
            TenantMismatch: a header names another tenant than the credential's.
            AccessPolicyUnavailable: an API key could not be looked up, or no key of the host application is known.
        """
        given = list(headers)
        principal = await self._verify(_bearer(given), iframe=iframe)
        _check_tenant(principal, given)
        return principal

    async def authenticate_text(self, credential: str) -> Principal:
        """Who a session token or an API key that was typed into a form speaks for. Raises `InvalidSession`."""
        if not credential.isascii() or not credential.isprintable() or " " in credential:
            raise InvalidSession
        return await self._verify(credential, iframe=False)

    async def console_principal(self, headers: RawHeaders) -> Principal:
        """Who the console's cookie speaks for: only `/msp/…` and the debug stream may ask.

        Raises:
            Unauthenticated: there is no cookie.
            InvalidSession: it is not good, or not any more.
            TenantMismatch: a header names another tenant than the sign-in's.
            AccessPolicyUnavailable: it could not be looked up.
        """
        given = list(headers)
        principal = (await self.console.verify(given)).principal
        _check_tenant(principal, given)
        return principal

    async def authenticate_viewer(self, headers: RawHeaders) -> Principal:
        """Who wants to watch the debug stream: by a bearer credential, or else by the console's cookie.

        A browser's `EventSource` can send no header of its own. Raises what `authenticate` raises.
        """
        given = list(headers)
        if any(name == b"authorization" for name, _ in given) or cookie(given, COOKIE) is None:
            return await self.authenticate(given)
        return await self.console_principal(given)

    def mint_iframe_session(self, principal: Principal, extension_id: str, install_id: str) -> IframeSession:
        """A session for the caller's iframe of one install. Raises `InvalidSession` for an iframe's own session."""
        if principal.kind == "iframe":
            raise InvalidSession
        return self._iframes.mint(principal, extension_id, install_id)

    async def _verify(self, token: str, *, iframe: bool) -> Principal:
        if token.startswith(PREFIX):
            return await self.api_keys.verify(token)
        if self._iframes.owns(token):
            if not iframe:
                raise InvalidSession
            return self._iframes.verify(token)
        await self._host_keys.look_for(key_id(token))
        return self._sessions.verify(token)


def _check_tenant(principal: Principal, headers: RawHeaders) -> None:
    tenant = principal.tenant_id.encode()
    if any(name in _TENANT_HEADERS and value != tenant for name, value in headers):
        raise TenantMismatch("leave the tenant header out: the credential names the tenant")


def _bearer(headers: Iterable[tuple[bytes, bytes]]) -> str:
    values = [value for name, value in headers if name == b"authorization"]
    if not values:
        raise Unauthenticated("send Authorization: Bearer <session token or API key>")
    if len(values) > 1:
        raise InvalidSession
    scheme, _, token = values[0].strip().partition(b" ")
    token = token.strip()
    if scheme.lower() != b"bearer" or not token or not token.isascii() or b" " in token:
        raise InvalidSession
    return token.decode()
