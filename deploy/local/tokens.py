"""Session tokens of the demo users, as the host application would mint them: JWT (RFC 7519), Ed25519.

The gateway verifies them with the public half of the `host` key. They are made anew at each start of the stack
and good for a day.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Literal

import msgspec
from joserfc import jwt
from joserfc.jwk import OKPKey

from deploy.local.keys import KeyFiles

ISSUER: Final = "https://host.alga.local"
AUDIENCE: Final = "alga-extensions"
DEMO_TENANT: Final = "acme"  # whose administrator the console signs in by itself
LIFETIME_S: Final = 24 * 3600  # a working day on one stack

READ_WRITE: Final = ("extension:read", "extension:write")
ADMINISTRATOR: Final = (*READ_WRITE, "extension:admin", "extension:publish", "extension:debug", "events:publish")
OPERATOR: Final = (*ADMINISTRATOR, "platform:admin")


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Who a token speaks for.

    Attributes:
        tenant: the tenant's id.
        sub: the user's id.
        permissions: what the person may do.
        user_type: `internal` for the tenant's own people, `client` for their customers.
        client_id: the customer a client user belongs to.
    """

    tenant: str
    sub: str
    name: str
    permissions: tuple[str, ...]
    user_type: Literal["internal", "client"] = "internal"
    client_id: str | None = None

    @property
    def email(self) -> str:
        """An address under a domain that never receives mail (RFC 2606)."""
        return f"{self.sub}@{self.tenant}.example"


class _Claims(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    iss: str
    aud: str
    iat: int
    exp: int
    tenant: str
    sub: str
    email: str
    name: str
    user_type: str
    permissions: tuple[str, ...]
    client_id: str | None = None


def administrator(tenant: str) -> Person:
    """The person who installs extensions and grants what they ask for."""
    return Person(tenant=tenant, sub=f"{tenant}-admin", name="Demo Administrator", permissions=ADMINISTRATOR)


def user(tenant: str) -> Person:
    """An employee of the tenant who uses extensions."""
    return Person(tenant=tenant, sub=f"{tenant}-user", name="Demo User", permissions=READ_WRITE)


def client(tenant: str) -> Person:
    """A customer of the tenant, signed in to its client portal."""
    return Person(
        tenant=tenant,
        sub=f"{tenant}-client",
        name="Demo Client",
        permissions=READ_WRITE,
        user_type="client",
        client_id=f"{tenant}-client-1",
    )


def operator() -> Person:
    """The person who runs the platform itself and approves publishers."""
    return Person(tenant="platform", sub="operator", name="Demo Operator", permissions=OPERATOR)


def mint(key: KeyFiles, person: Person, clock: Callable[[], float] = time.time) -> str:
    """The session token of `person`, signed by the host application's key.

    Args:
        key: the pair whose public half the gateway knows.
        clock: seconds since the epoch.
    """
    private = key.key()
    now = int(clock())
    claims = _Claims(
        iss=ISSUER,
        aud=AUDIENCE,
        iat=now,
        exp=now + LIFETIME_S,
        tenant=person.tenant,
        sub=person.sub,
        email=person.email,
        name=person.name,
        user_type=person.user_type,
        permissions=person.permissions,
        client_id=person.client_id,
    )
    header = {"alg": "Ed25519", "kid": private.key_id, "typ": "JWT"}
    signer = OKPKey.import_key(private.pem())
    return jwt.encode(header, msgspec.to_builtins(claims), signer, algorithms=["Ed25519"])
