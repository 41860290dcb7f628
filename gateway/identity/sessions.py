"""Session tokens: the host application's JWTs, verified; iframe sessions, minted and verified.

Both are compact JWS. The key decides the algorithm; `jku`, `x5u`, `jwk` and the like in a header are never followed;
`exp`, `aud` and `iss` are required. Whatever is wrong, the caller reads the same sentence.
"""

from __future__ import annotations

import base64
import binascii
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Final, Literal, TypeVar

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from gateway.identity.keys import HostAlgorithms, HostKey
from gateway.identity.principal import IFRAME_PERMISSIONS, PERMISSIONS, Principal
from shared import ids
from shared.errors import InvalidRequest, InvalidSession
from shared.keys import PrivateKey
from shared.limits import CLOCK_SKEW_S, IFRAME_SESSION_MAX_S, JWT_MAX_BYTES
from shared.tokens import Clock

IFRAME_TYP: Final = "alga-iframe+jwt"
IFRAME_AUDIENCE: Final = "iframe"
IFRAME_ISSUER: Final = "gateway"

_NAMES: Final[dict[str, tuple[str, ...]]] = {"EdDSA": ("EdDSA", "Ed25519"), "RS256": ("RS256",), "ES256": ("ES256",)}


class _Header(msgspec.Struct, frozen=True):
    alg: str
    kid: str = ""
    typ: str = "JWT"


class _SessionClaims(msgspec.Struct, frozen=True, kw_only=True):
    iss: str
    aud: str | list[str]
    exp: float
    nbf: float | None = None
    iat: float | None = None
    tenant: str
    sub: str
    email: str = ""
    name: str = ""
    user_type: Literal["internal", "client"]
    client_id: str | None = None
    permissions: list[str] = []


class _IframeClaims(_SessionClaims, frozen=True, kw_only=True):
    extension: str
    install: str
    jti: str


C = TypeVar("C", bound=_SessionClaims)


class IframeSession(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a host page hands to its iframe. `expires_at` in milliseconds since the epoch, as JavaScript counts."""

    token: str
    expires_at: int


class SessionVerifier:
    """Verifies the host application's session tokens.

    Args:
        keys: its public keys, as they are known at the time.
        audience, issuer: the values a token must carry.
        clock: seconds since the epoch.
    """

    def __init__(
        self, keys: Callable[[], Sequence[HostKey]], audience: str, issuer: str, clock: Clock = time.time
    ) -> None:
        self._keys = keys
        self._audience = audience
        self._issuer = issuer
        self._clock = clock

    def verify(self, token: str) -> Principal:
        """The caller behind a valid token. Raises `InvalidSession`, always the same."""
        header = _header(token)
        for key in self._candidates(header):
            payload = _payload(token, key)
            if payload is not None:
                claims = _claims(payload, _SessionClaims)
                _check(claims, self._audience, self._issuer, self._clock())
                return _principal(claims)
        raise InvalidSession

    def _candidates(self, header: _Header) -> list[HostKey]:
        fitting = [key for key in self._keys() if header.alg in _NAMES[key.alg]]
        if header.kid:
            return [key for key in fitting if key.kid in ("", header.kid)]
        return fitting


def key_id(token: str) -> str:
    """The `kid` a token names, empty without one. Says nothing about its worth. Raises `InvalidSession`."""
    return _header(token).kid


class IframeSessions:
    """Mints and verifies iframe sessions: bound to tenant, user, extension and install, ten minutes at most.

    Args:
        keys: the gateways' signing keys: the first mints, all of them verify.
        clock: seconds since the epoch.
    """

    def __init__(self, keys: Sequence[PrivateKey], clock: Clock = time.time) -> None:
        self._kid = keys[0].key_id
        self._private = OKPKey.import_key(keys[0].pem())
        self._public = {key.key_id: HostKey(key.key_id, "EdDSA", OKPKey.import_key(key.public.pem())) for key in keys}
        self._clock = clock

    def owns(self, token: str) -> bool:
        """Whether the token says it is one of ours; says nothing about its worth."""
        return _header(token).kid in self._public

    def mint(self, principal: Principal, extension_id: str, install_id: str) -> IframeSession:
        """A session for the caller's iframe of one install.

        It never outlives the credential it was minted from, and holds no permission the caller lacks.
        """
        now = self._clock()
        ends = now + IFRAME_SESSION_MAX_S
        if principal.expires_at_s is not None:
            ends = min(ends, principal.expires_at_s)
        claims = _IframeClaims(
            iss=IFRAME_ISSUER,
            aud=IFRAME_AUDIENCE,
            exp=int(ends),
            iat=int(now),
            jti=secrets.token_hex(16),
            tenant=principal.tenant_id,
            sub=principal.subject,
            email=principal.email,
            name=principal.name,
            user_type=principal.user_type,
            client_id=principal.client_id,
            permissions=sorted(principal.permissions & IFRAME_PERMISSIONS),
            extension=extension_id,
            install=install_id,
        )
        protected = {"alg": "EdDSA", "kid": self._kid, "typ": IFRAME_TYP}
        payload = msgspec.json.encode(claims)
        token = jws.serialize_compact(protected, payload, self._private, registry=_registry("EdDSA"))
        return IframeSession(token=token, expires_at=int(ends) * 1000)

    def verify(self, token: str) -> Principal:
        """The caller behind a valid iframe session. Raises `InvalidSession`."""
        header = _header(token)
        key = self._public.get(header.kid)
        payload = None if key is None else _payload(token, key)
        if payload is None or header.typ != IFRAME_TYP:
            raise InvalidSession
        claims = _claims(payload, _IframeClaims)
        _check(claims, IFRAME_AUDIENCE, IFRAME_ISSUER, self._clock())
        found = _principal(claims)
        try:
            return msgspec.structs.replace(
                found,
                kind="iframe",
                permissions=found.permissions & IFRAME_PERMISSIONS,
                extension_id=ids.extension_id(claims.extension),
                install_id=ids.install_id(claims.install),
            )
        except InvalidRequest as error:
            raise InvalidSession from error


def _registry(alg: str) -> HostAlgorithms:
    return HostAlgorithms(algorithms=_NAMES[alg], strict_check_header=False)


def _header(token: str) -> _Header:
    if len(token) > JWT_MAX_BYTES:
        raise InvalidSession
    head = token.partition(".")[0]
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)), type=_Header)
    except (binascii.Error, ValueError) as error:
        raise InvalidSession from error


def _payload(token: str, key: HostKey) -> bytes | None:
    """The signed bytes, or nothing when this key did not sign them. Signature first, claims after."""
    try:
        return jws.deserialize_compact(token.encode(), key.key, registry=_registry(key.alg)).payload
    except (JoseError, ValueError, TypeError):
        return None


def _claims(payload: bytes, kind: type[C]) -> C:
    try:
        return msgspec.json.decode(payload, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidSession from error


def _check(claims: _SessionClaims, audience: str, issuer: str, now_s: float) -> None:
    audiences = [claims.aud] if isinstance(claims.aud, str) else claims.aud
    fits = audience in audiences and claims.iss == issuer
    begun = max(claims.nbf or 0, claims.iat or 0) <= now_s + CLOCK_SKEW_S
    if not fits or not begun or now_s >= claims.exp:
        raise InvalidSession


def _principal(claims: _SessionClaims) -> Principal:
    if not claims.sub:
        raise InvalidSession
    try:
        tenant = ids.tenant_id(claims.tenant)
    except InvalidRequest as error:
        raise InvalidSession from error
    return Principal(
        tenant_id=tenant,
        subject=claims.sub,
        kind="session",
        permissions=PERMISSIONS.intersection(claims.permissions),
        email=claims.email,
        name=claims.name,
        user_type=claims.user_type,
        client_id=claims.client_id,
        expires_at_s=claims.exp,
    )
