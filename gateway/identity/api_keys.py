"""API keys for tools and CI: `ak_<id>_<secret>`, stored as a hash, scoped to a tenant and permissions, revocable.

The secret is 256 random bits, so a plain SHA-256 is as good as a slow hash and costs a request nothing. What is stored is
remembered for seconds, and forgotten as soon as somebody changes it; whether a secret fits is decided anew each time.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import msgspec
import structlog

from gateway.identity.principal import PERMISSIONS, Principal
from gateway.remembered import Remembered
from gateway.store.platform import api_keys
from gateway.store.platform.api_keys import ApiKey
from gateway.store.pool import Database
from shared import ids
from shared.call_limits import (
    API_KEY_CACHE_MAX_COUNT,
    API_KEY_CACHE_S,
    API_KEY_NEGATIVE_CACHE_S,
    API_KEY_USES_NOTED_S,
)
from shared.errors import AccessPolicyUnavailable, InvalidSession
from shared.tokens import Clock

PREFIX: Final = "ak_"
_SHAPE: Final = re.compile(r"ak_([a-z0-9]{16})_([A-Za-z0-9_-]{43})")
_UNKNOWN: Final = b"\x00" * 32
NEVER: Final = frozenset({"platform:admin"})

_log = structlog.get_logger(__name__)


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
        stale_s: how long a key that was good serves while the database cannot be asked; 0: not at all.
    """

    def __init__(self, store: Database, clock: Clock = time.time, *, stale_s: float = 0) -> None:
        self._store = store
        self._clock = clock
        self._remembered: Remembered[str, ApiKey | None] = Remembered(
            partial(api_keys.find, store),
            lifetime_s=API_KEY_CACHE_S,
            negative_s=API_KEY_NEGATIVE_CACHE_S,
            max_count=API_KEY_CACHE_MAX_COUNT,
            stale_s=stale_s,
        )
        self._used: set[str] = set()

    async def verify(self, text: str) -> Principal:
        """The caller behind a valid key.

        Raises:
            InvalidSession: unknown, wrong, revoked or expired; the same in each case.
            AccessPolicyUnavailable: the database cannot be asked.
        """
        shape = _SHAPE.fullmatch(text)
        if shape is None:
            raise InvalidSession
        row = await self._remembered.get(shape[1])
        matches = hmac.compare_digest(row.secret_sha256 if row else _UNKNOWN, _digest(shape[2]))
        if row is None or not matches or row.revoked_at is not None:
            raise InvalidSession
        expires_at_s = row.expires_at.timestamp() if row.expires_at else None
        if expires_at_s is not None and self._clock() >= expires_at_s:
            raise InvalidSession
        if row.used_long_ago:
            self._used.add(row.id)
        return Principal(
            tenant_id=ids.tenant_id(row.tenant_id),
            subject=row.id,
            kind="api_key",
            name=row.name,
            permissions=PERMISSIONS.intersection(row.permissions) - NEVER,
            expires_at_s=expires_at_s,
        )

    def forget(self, key_id: str) -> None:
        """A key was changed."""
        self._remembered.forget(lambda remembered: remembered == key_id)

    def doubt_all(self) -> None:
        """Changes may have been missed."""
        self._remembered.doubt_all()

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Note uses, behind the requests, as long as the block lasts; end what is under way at its end."""
        noting = asyncio.create_task(self._note_uses_for_ever(), name="API key uses")
        try:
            yield
        finally:
            noting.cancel()
            await asyncio.gather(noting, return_exceptions=True)
            await self._remembered.close()
            await self.note_uses()

    async def note_uses(self) -> None:
        """Write down which keys were used since the last time; what cannot be written is noted with the next use."""
        used, self._used = self._used, set()
        if used:
            try:
                async with self._store.platform() as tx:
                    await api_keys.touch(tx, sorted(used))
            except AccessPolicyUnavailable as error:
                _log.warning("key_uses_not_noted", count=len(used), error=error.detail)

    async def _note_uses_for_ever(self) -> None:
        while True:
            await asyncio.sleep(API_KEY_USES_NOTED_S)
            await self.note_uses()


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
