"""API keys for tools and CI: `ak_<id>_<secret>`, stored as a hash, scoped to a tenant and permissions, revocable.

The secret is 256 random bits, so a plain SHA-256 is as good as a slow hash and costs a request nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from typing import Final

import msgspec

from gateway.identity.principal import PERMISSIONS, Principal
from gateway.store.platform import api_keys
from gateway.store.pool import Database
from shared import ids
from shared.errors import InvalidSession
from shared.tokens import Clock

PREFIX: Final = "ak_"
_SHAPE: Final = re.compile(r"ak_([a-z0-9]{16})_([A-Za-z0-9_-]{43})")
_UNKNOWN: Final = b"\x00" * 32
_NEVER: Final = frozenset({"platform:admin"})


class NewKey(msgspec.Struct, frozen=True):
    """A fresh key: `text` is shown once, `secret_sha256` is stored."""

    id: str
    text: str
    secret_sha256: bytes


def generate() -> NewKey:
    """A fresh key from the operating system's randomness."""
    key_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    return NewKey(key_id, f"{PREFIX}{key_id}_{secret}", _digest(secret))


class ApiKeys:
    """Looks API keys up.

    Args:
        store: the key's tenant is not known before it is found, so the look-up crosses tenants.
        clock: seconds since the epoch.
    """

    def __init__(self, store: Database, clock: Clock = time.time) -> None:
        self._store = store
        self._clock = clock

    async def verify(self, text: str) -> Principal:
        """The caller behind a valid key.

        Raises:
            InvalidSession: unknown, wrong, revoked or expired; the same in each case.
            AccessPolicyUnavailable: the database cannot be asked.
        """
        shape = _SHAPE.fullmatch(text)
        if shape is None:
            raise InvalidSession
        row = await api_keys.find(self._store, shape[1])
        matches = hmac.compare_digest(row.secret_sha256 if row else _UNKNOWN, _digest(shape[2]))
        if row is None or not matches or row.revoked_at is not None:
            raise InvalidSession
        expires_at_s = row.expires_at.timestamp() if row.expires_at else None
        if expires_at_s is not None and self._clock() >= expires_at_s:
            raise InvalidSession
        if row.used_long_ago:
            async with self._store.platform() as tx:
                await api_keys.touch(tx, row.id)
        return Principal(
            tenant_id=ids.tenant_id(row.tenant_id),
            subject=row.id,
            kind="api_key",
            name=row.name,
            permissions=PERMISSIONS.intersection(row.permissions) - _NEVER,
            expires_at_s=expires_at_s,
        )


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
