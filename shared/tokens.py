"""Tokens between the services: compact JWS (RFC 7515) with `EdDSA` (RFC 8037) and a `kid`.

Three kinds, told apart by `typ`, so that none can stand in for another:

    alga-execute+jwt    gateway → runner, one body, one instance, once
    alga-host+jwt       inside that body; the guest's only way back to `/internal/*`
    alga-identity+jwt   a runner (or the gateway towards the compiler) saying who it is

The algorithm is fixed by this module and never read from a token. Claims are frozen structs: adding one is
allowed, renaming is not. Verification order: shape → typ and alg → key → signature → times → claims.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

import msgspec

from shared.digest import sha256_hex
from shared.errors import Unauthorized
from shared.keys import PrivateKey, PublicKey
from shared.limits import CLOCK_SKEW_S, TOKEN_LIFETIME_MAX_S

Clock = Callable[[], float]

_UNREADABLE: Final = (binascii.Error, msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

TOKEN_MAX_BYTES: Final = 8192  # an execute token with every capability named has about 900


class _Header(msgspec.Struct, frozen=True, omit_defaults=True):
    alg: str
    kid: str
    typ: str
    crit: msgspec.Raw | None = None  # RFC 7515 §4.1.11: an extension we do not know makes the token invalid


class ExecuteClaims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The right to one internal POST. `op` is `execute`, `prepare` or `reseal`."""

    iss: str
    aud: str
    op: str
    jti: str
    iat: int
    exp: int
    body_sha256: str
    tenant: str = ""
    extension: str = ""
    install: str = ""
    content_hash: str = ""
    caps: tuple[str, ...] = ()


class HostClaims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a running guest may ask of the gateway: its tenant, its install, its grants, until its deadline.

    A provider's token says the same to a host application, with the provider as its audience, and beside that for whom
    the guest asks: a runner passes the user on, and only the gateway knows it.

    Attributes:
        sub: the user's id (RFC 7519 §4.1.2); empty when nobody stands behind the call, and in the gateway's own tokens.
        user_type: `internal` or `client`.
        client_id: whose user it is.
    """

    iss: str
    aud: str
    jti: str
    iat: int
    exp: int
    tenant: str
    extension: str
    install: str
    request_id: str
    caps: tuple[str, ...] = ()
    generation: int = 0
    hops: int = 0
    sub: str = ""
    user_type: str = ""
    client_id: str = ""


class IdentityClaims(msgspec.Struct, frozen=True, kw_only=True):
    """Who is calling, and nothing about any tenant. Good for the state feed, UI look-ups and `/v1/prepare`."""

    iss: str
    aud: str
    jti: str
    iat: int
    exp: int


Claims = TypeVar("Claims", ExecuteClaims, HostClaims, IdentityClaims)

TYP: Final[dict[type, str]] = {
    ExecuteClaims: "alga-execute+jwt",
    HostClaims: "alga-host+jwt",
    IdentityClaims: "alga-identity+jwt",
}


def _b64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _unb64(text: bytes) -> bytes:
    data = base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    if _b64(data) != text:  # it drops foreign characters, padding and loose bits; one token has one notation
        raise binascii.Error("not canonical base64url without padding (RFC 7515 §2)")
    return data


def mint(key: PrivateKey, claims: ExecuteClaims | HostClaims | IdentityClaims) -> str:
    """The compact serialisation of `claims`, signed by `key`."""
    header = msgspec.json.encode(_Header(alg="EdDSA", kid=key.key_id, typ=TYP[type(claims)]))
    signing_input = _b64(header) + b"." + _b64(msgspec.json.encode(claims))
    return (signing_input + b"." + _b64(key.sign(signing_input))).decode()


def new_jti() -> str:
    """128 random bits, hex: good once."""
    return secrets.token_hex(16)


class Verifier:
    """Checks tokens of all three kinds against a list of keys, so that keys can be rotated.

    Args:
        keys: the accepted signers.
        audiences: the accepted `aud` values, for instance `{"runner", "runner:pod-7"}`.
        clock: seconds since the epoch; an argument so that tests own time.
    """

    def __init__(self, keys: Iterable[PublicKey], audiences: Iterable[str], clock: Clock = time.time) -> None:
        self._keys = {key.key_id: key for key in keys}
        self._audiences = frozenset(audiences)
        self._clock = clock

    def verify(self, token: str, kind: type[Claims]) -> Claims:
        """The claims of a valid token of this kind. Raises `Unauthorized`, always with the same detail."""
        parts = token.encode("ascii", "replace").split(b".")
        if len(parts) != 3 or len(token) > TOKEN_MAX_BYTES:
            raise _refused()
        try:
            header = msgspec.json.decode(_unb64(parts[0]), type=_Header)
            signature = _unb64(parts[2])
        except _UNREADABLE as error:
            raise _refused() from error
        key = self._keys.get(header.kid)
        if key is None or header.crit is not None or header.alg != "EdDSA" or header.typ != TYP[kind]:
            raise _refused()
        if not key.verify(parts[0] + b"." + parts[1], signature):
            raise _refused()
        try:
            claims = msgspec.json.decode(_unb64(parts[1]), type=kind)
        except _UNREADABLE as error:
            raise _refused() from error
        self._check_times(claims.iat, claims.exp)
        if claims.aud not in self._audiences:
            raise _refused()
        return claims

    def _check_times(self, issued_s: int, expires_s: int) -> None:
        now = self._clock()
        too_long = expires_s - issued_s > TOKEN_LIFETIME_MAX_S
        if too_long or expires_s <= issued_s or now > expires_s + CLOCK_SKEW_S or issued_s > now + CLOCK_SKEW_S:
            raise _refused()


def check_body(claims: ExecuteClaims, body: bytes) -> None:
    """Raise `Unauthorized` unless the token was minted for exactly these bytes."""
    if not hmac.compare_digest(claims.body_sha256, sha256_hex(body)):
        raise _refused()


def _refused() -> Unauthorized:
    return Unauthorized("A valid bearer token of the right kind, for this body and this instance, is needed")
