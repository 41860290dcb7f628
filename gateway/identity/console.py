"""Sign-ins to the console: a credential is exchanged for a row on our side and a cookie that finds it.

The cookie is no credential anywhere else. Only `/msp/…` and the debug stream ask for it; `/api/…` never does, so that
nothing an extension's page can make a browser send is ever taken for the person in front of it (CSRF). A sign-in
never outlives the credential it was made from, ends with that API key, and ends at once when it is signed out.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

import msgspec

from gateway.identity.principal import PERMISSIONS, Principal
from gateway.store.platform import console_sessions as rows
from gateway.store.platform.console_sessions import ConsoleSession
from gateway.store.pool import Database
from shared import ids
from shared.errors import Forbidden, InvalidSession, Unauthenticated
from shared.limits import CONSOLE_SESSION_MAX_S
from shared.tokens import Clock

COOKIE: Final = "__Host-alga_console"
"""`__Host-`: a browser takes it only with `Secure`, for this very host (RFC 6265bis §4.1.3.2)."""

_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{43}")


class SignIn(msgspec.Struct, frozen=True):
    """A fresh sign-in. `secret` goes into the cookie and is kept nowhere else."""

    id: str
    secret: str
    expires_at_s: float


class SignedIn(msgspec.Struct, frozen=True):
    """A verified sign-in: its row's id, its secret as the cookie has it, and who it speaks for."""

    id: str
    secret: str
    principal: Principal


class ConsoleSessions:
    """Makes, verifies and ends sign-ins.

    Args:
        store: a sign-in's tenant is not known before it is found, so the look-up crosses tenants.
        clock: seconds since the epoch.
    """

    def __init__(self, store: Database, clock: Clock = time.time) -> None:
        self._store = store
        self._clock = clock

    async def begin(self, principal: Principal) -> SignIn:
        """A sign-in for someone whose credential was just verified.

        Raises:
            InvalidSession: not a session of a user, nor an API key: an iframe's is good for one extension only.
            Forbidden: a client of the tenant; the console is for its own staff.
            AccessPolicyUnavailable: it cannot be stored.
        """
        kind = principal.kind
        if kind not in ("session", "api_key"):
            raise InvalidSession
        if principal.user_type != "internal":
            raise Forbidden("the console is for the tenant's own staff, not for its clients")
        ends_s = self._clock() + CONSOLE_SESSION_MAX_S
        if principal.expires_at_s is not None:
            ends_s = min(ends_s, principal.expires_at_s)
        made = SignIn(str(uuid.uuid4()), secrets.token_urlsafe(32), ends_s)
        session = ConsoleSession(
            id=made.id,
            tenant_id=principal.tenant_id,
            subject=principal.subject,
            kind=kind,
            permissions=sorted(principal.permissions),
            email=principal.email,
            name=principal.name,
            expires_at=datetime.fromtimestamp(ends_s, UTC),
        )
        async with self._store.platform() as tx:
            await rows.insert(tx, session, _digest(made.secret))
        return made

    async def verify(self, headers: Iterable[tuple[bytes, bytes]]) -> SignedIn:
        """Who the request's cookie speaks for.

        Raises:
            Unauthenticated: there is no cookie.
            InvalidSession: it is unknown, signed out or over; the same in each case.
            AccessPolicyUnavailable: the database cannot be asked.
        """
        secret = cookie(headers, COOKIE)
        if secret is None:
            raise Unauthenticated("sign in at /msp/signin")
        if not _SECRET.fullmatch(secret):
            raise InvalidSession
        async with self._store.platform() as tx:
            row = await rows.find(tx, _digest(secret))
        if row is None or self._clock() >= row.expires_at.timestamp():
            raise InvalidSession
        principal = Principal(
            tenant_id=ids.tenant_id(row.tenant_id),
            subject=row.subject,
            kind=row.kind,
            permissions=PERMISSIONS.intersection(row.permissions),
            email=row.email,
            name=row.name,
            expires_at_s=row.expires_at.timestamp(),
        )
        return SignedIn(row.id, secret, principal)

    async def end(self, session_id: str) -> None:
        """Sign out: the cookie is worth nothing from now on."""
        async with self._store.platform() as tx:
            await rows.remove(tx, session_id)


def cookie(headers: Iterable[tuple[bytes, bytes]], name: str) -> str | None:
    """The value of a cookie (RFC 6265 §5.4). Raises `InvalidSession` when the name stands there twice."""
    found = []
    for header, value in headers:
        if header == b"cookie":
            for pair in value.decode("latin-1").split(";"):
                key, _, text = pair.strip().partition("=")
                if key == name:
                    found.append(text)
    if len(found) > 1:
        raise InvalidSession  # one of them is somebody else's, and nothing says which
    return found[0] if found else None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
