"""The host application's public keys, and the one algorithm each of them stands for.

The algorithm belongs to the key, never to the token (RFC 8725 §3.1): Ed25519 → EdDSA, RSA → RS256, P-256 → ES256.
Symmetric keys, other curves, short RSA keys and private halves are refused at the start.
"""

from __future__ import annotations

import base64
import re
import warnings
from collections.abc import Callable
from typing import Any, Final

import msgspec
from joserfc.errors import JoseError, SecurityWarning, UnsupportedAlgorithmError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from shared.keys import PublicKey
from shared.limits import JWT_KEYS_MAX

_RSA_MIN_BITS: Final = 2048  # RFC 7518 §3.3
_PEM_BLOCK: Final = re.compile(r"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----", re.DOTALL)
_ALIASES: Final = {"Ed25519": "EdDSA"}  # RFC 9864 renames it; the key type is the same


class HostKey(msgspec.Struct, frozen=True):
    """One public key of the host application.

    Attributes:
        kid: as the key set has it; '' for a key from PEM, which then serves tokens whatever `kid` they carry.
        alg: the only algorithm a token under this key may use.
        key: what joserfc verifies with.
    """

    kid: str
    alg: str
    key: OKPKey | RSAKey | ECKey

    def is_same(self, other: PublicKey) -> bool:
        """Whether this is the Ed25519 key `other`."""
        x = base64.urlsafe_b64encode(other.raw).rstrip(b"=").decode()
        return self.alg == "EdDSA" and self.key.as_dict(private=False).get("x") == x


class JwksUrl(msgspec.Struct, frozen=True):
    """Where the host application publishes its keys."""

    url: str


class HostAlgorithms(JWSRegistry):
    """The algorithms that exist here. `none`, HMAC and the rest are not refused but unknown."""

    algorithms = {name: JWSRegistry.algorithms[name] for name in ("EdDSA", "Ed25519", "RS256", "ES256")}

    def get_alg(self, name: str) -> Any:  # the library does not export the type
        """The algorithm, when this key allows it.

        The library's own method warns of the name EdDSA (RFC 9864); with the curve fixed at load nothing is amiss.
        """
        if name not in self.algorithms or name not in (self.allowed or ()):
            raise UnsupportedAlgorithmError(f"{name} is not used with this key")
        return self.algorithms[name]


class _Jwk(msgspec.Struct, frozen=True):
    kty: str
    kid: str = ""
    alg: str | None = None
    use: str | None = None
    crv: str | None = None
    d: str | None = None
    k: str | None = None


class _JwkSet(msgspec.Struct, frozen=True):
    keys: list[msgspec.Raw]


def host_keys(text: str) -> tuple[HostKey, ...]:
    """Every key of a PEM text, a JWK or a JWK set.

    Raises:
        ValueError: no key, too many, or one that may not be used; says which and why.
    """
    text = text.strip()
    if text.startswith(("{", "[")):
        found = tuple(_from_jwk(raw) for raw in _jwks(text.encode()))
    else:
        found = tuple(_from_pem(match[0], match[1]) for match in _PEM_BLOCK.finditer(text))
    if not 0 < len(found) <= JWT_KEYS_MAX:
        raise ValueError(f"must hold 1 to {JWT_KEYS_MAX} public keys, found {len(found)}")
    kids = [key.kid for key in found if key.kid]
    if len(set(kids)) != len(kids):
        raise ValueError("two keys have the same kid")
    return found


def usable_keys(text: str) -> tuple[tuple[HostKey, ...], tuple[str, ...]]:
    """The keys of a published JWK set that tokens may be verified with, and why the others are not among them.

    A set that others publish holds keys for other purposes as well, which are no reason to refuse it whole.

    Raises:
        ValueError: it is no JWK set, has too many keys, or two with one kid.
    """
    found: list[HostKey] = []
    refused: list[str] = []
    for raw in _jwks(text.strip().encode()):
        try:
            found.append(_from_jwk(raw))
        except ValueError as error:
            refused.append(str(error))
    if len(found) > JWT_KEYS_MAX:
        raise ValueError(f"must hold at most {JWT_KEYS_MAX} keys, found {len(found)}")
    if len({key.kid for key in found}) != len(found):
        raise ValueError("two keys have the same kid, or none")
    return tuple(found), tuple(refused)


def _jwks(data: bytes) -> list[msgspec.Raw]:
    try:
        if data.startswith(b"["):
            return msgspec.json.decode(data, type=list[msgspec.Raw])
        if "keys" in msgspec.json.decode(data, type=dict[str, msgspec.Raw]):
            return msgspec.json.decode(data, type=_JwkSet).keys
    except msgspec.MsgspecError as error:
        raise ValueError(f"is not a JWK or a JWK set: {error}") from error
    return [msgspec.Raw(data)]


def _from_jwk(raw: msgspec.Raw) -> HostKey:
    try:
        jwk = msgspec.json.decode(raw, type=_Jwk)
        members: dict[str, Any] = msgspec.json.decode(raw)
    except msgspec.MsgspecError as error:
        raise ValueError(f"is not a JWK: {error}") from error
    name = jwk.kid or "without kid"
    if jwk.kty == "oct" or jwk.k is not None:
        raise ValueError(f"key {name} is symmetric; only public keys may verify session tokens")
    if jwk.d is not None:
        raise ValueError(f"key {name} is a private key; give its public half")
    if jwk.use not in (None, "sig"):
        raise ValueError(f"key {name} is not for signatures (use={jwk.use})")
    key = _checked(name, _imported(name, jwk.kty, members))
    if jwk.alg is not None and _ALIASES.get(jwk.alg, jwk.alg) != key[0]:
        raise ValueError(f"key {name} says alg={jwk.alg}; this kind of key is used with {key[0]} only")
    return HostKey(jwk.kid, *key)


def _from_pem(block: str, label: str) -> HostKey:
    if label != "PUBLIC KEY":
        raise ValueError(f"a {label} block; give PUBLIC KEY blocks (SPKI)")
    for kind in ("OKP", "RSA", "EC"):
        try:
            return HostKey("", *_checked("from PEM", _imported("from PEM", kind, block)))
        except _WrongKindError:
            continue
    raise ValueError("a PUBLIC KEY block is none of Ed25519, RSA, P-256")


class _WrongKindError(ValueError):
    """The material is not of the key type it was tried as."""


def _imported(name: str, kind: str, material: str | dict[str, Any]) -> OKPKey | RSAKey | ECKey:
    importers: dict[str, Callable[[Any], OKPKey | RSAKey | ECKey]] = {
        "OKP": OKPKey.import_key,
        "RSA": RSAKey.import_key,
        "EC": ECKey.import_key,
    }
    if kind not in importers:
        raise ValueError(f"key {name} has kty={kind}; known are OKP (Ed25519), RSA, EC (P-256)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # of short keys, which `_checked` refuses
            return importers[kind](material)
    except (JoseError, ValueError, KeyError, TypeError) as error:
        raise _WrongKindError(f"key {name} cannot be read as {kind}: {error}") from error


def _checked(name: str, key: OKPKey | RSAKey | ECKey) -> tuple[str, OKPKey | RSAKey | ECKey]:
    if isinstance(key, RSAKey):
        bits = key.raw_value.key_size
        if bits < _RSA_MIN_BITS:
            raise ValueError(f"key {name} is an RSA key of {bits} bits; at least {_RSA_MIN_BITS} are needed")
        return "RS256", key
    if isinstance(key, ECKey):
        if key.curve_name != "P-256":
            raise ValueError(f"key {name} is on curve {key.curve_name}; ES256 needs P-256")
        return "ES256", key
    if key.curve_name != "Ed25519":
        raise ValueError(f"key {name} is on curve {key.curve_name}; EdDSA is taken with Ed25519 only")
    return "EdDSA", key
