"""The host application of the tests: it signs session tokens for its users."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from joserfc import jws
from joserfc.jwk import OKPKey

from gateway.identity.keys import HostAlgorithms
from shared.keys import PrivateKey

AUDIENCE, ISSUER = "alga-extensions", "https://host.example"
ALL = ("extension:read", "extension:write", "extension:admin", "extension:publish", "extension:debug")
_SEED = bytes(range(32))


class Host:
    """Signs tokens with a fixed key."""

    def __init__(self) -> None:
        self.key = PrivateKey(_SEED)
        self._jwk = OKPKey.import_key(self.key.pem())

    @property
    def public_pem(self) -> str:
        return self.key.public.pem()

    def claims(self, tenant: str = "acme", *, permissions: tuple[str, ...] = ALL, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        found = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + 600,
            "tenant": tenant,
            "sub": "user-1",
            "email": "ada@acme.example",
            "name": "Ada",
            "user_type": "internal",
            "permissions": list(permissions),
        } | changes
        return {name: value for name, value in found.items() if value is not ...}

    def token(self, tenant: str = "acme", *, permissions: tuple[str, ...] = ALL, **changes: Any) -> str:
        return self.sign(self.claims(tenant, permissions=permissions, **changes))

    def sign(self, claims: Any, **header: Any) -> str:
        protected = {"alg": "EdDSA", "typ": "JWT"} | header
        registry = HostAlgorithms(algorithms=["EdDSA"], strict_check_header=False)
        return jws.serialize_compact(protected, msgspec.json.encode(claims), self._jwk, registry=registry)

    def headers(self, tenant: str = "acme", **changes: Any) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token(tenant, **changes)}"}
