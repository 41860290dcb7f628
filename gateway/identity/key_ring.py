"""A tenant's API keys, as its administrators make, list and revoke them. A key's text is shown once, when it is made."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from gateway.identity import api_keys as texts
from gateway.identity.actor import Actor
from gateway.identity.principal import PERMISSIONS
from gateway.store import api_keys, audit_log
from gateway.store.api_keys import Stored
from gateway.store.pool import Database
from shared.call_limits import API_KEY_NAME_MAX_BYTES, API_KEYS_PER_TENANT_MAX
from shared.errors import Conflict, Forbidden, InvalidRequest, NotFound


class KeyRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /api/keys`.

    Attributes:
        name: what people know it by.
        permissions: at least one, none that its maker lacks.
        expires_at: none: until revoked.
    """

    name: str
    permissions: tuple[str, ...]
    expires_at: datetime | None = None


class NewKeyView(msgspec.Struct, frozen=True, kw_only=True):
    """A key that was just made: the only time its text is seen."""

    key_id: str
    key: str
    name: str
    permissions: list[str]
    expires_at: datetime | None


class KeyView(msgspec.Struct, frozen=True, kw_only=True):
    """A key without its secret."""

    key_id: str
    name: str
    permissions: list[str]
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class KeyRing:
    """The keys of every tenant, one tenant at a time.

    Args:
        store: where they are.
    """

    def __init__(self, store: Database) -> None:
        self._store = store

    async def make(self, actor: Actor, request: KeyRequest) -> NewKeyView:
        """A fresh key.

        Raises:
            InvalidRequest: name, permissions or time are not valid.
            Forbidden: it would hold a permission its maker lacks.
            Conflict: the tenant has as many as it may.
        """
        permissions = _checked(actor, request)
        fresh = texts.generate()
        async with self._store.tenant(actor.tenant_id) as tx:
            await api_keys.lock(tx, actor.tenant_id)
            if await api_keys.count_good(tx) >= API_KEYS_PER_TENANT_MAX:
                raise Conflict(
                    f"a tenant has at most {API_KEYS_PER_TENANT_MAX} keys; revoke one that is not used any more"
                )
            await api_keys.insert(
                tx,
                key_id=fresh.id,
                tenant_id=actor.tenant_id,
                name=request.name,
                secret_sha256=fresh.secret_sha256,
                permissions=permissions,
                created_by=actor.name,
                expires_at=request.expires_at,
            )
            await audit_log.record(tx, actor.did("api_key.created", "api_key", fresh.id, permissions=permissions))
        return NewKeyView(
            key_id=fresh.id, key=fresh.text, name=request.name, permissions=permissions, expires_at=request.expires_at
        )

    async def page(self, actor: Actor, after: str | None, limit: int) -> list[KeyView]:
        """The tenant's keys in the order of their ids, strictly after `after`; revoked ones as well."""
        async with self._store.tenant(actor.tenant_id) as tx:
            return [_view(row) for row in await api_keys.page(tx, after, limit)]

    async def revoke(self, actor: Actor, key_id: str) -> KeyView:
        """End a key, everywhere at once; nothing changes when it has ended already. Raises `NotFound`."""
        async with self._store.tenant(actor.tenant_id) as tx:
            if await api_keys.revoke(tx, key_id):
                await audit_log.record(tx, actor.did("api_key.revoked", "api_key", key_id))
            found = await api_keys.by_id(tx, key_id)
        if found is None:
            raise NotFound("no such API key; `GET /api/keys` lists what there is")
        return _view(found)


def _checked(actor: Actor, request: KeyRequest) -> list[str]:
    if (
        not request.name.strip()
        or len(request.name.encode()) > API_KEY_NAME_MAX_BYTES
        or not request.name.isprintable()
    ):
        raise InvalidRequest(f"name must have 1 to {API_KEY_NAME_MAX_BYTES} bytes of printable text", path="$.name")
    if request.expires_at is not None and (
        request.expires_at.tzinfo is None or request.expires_at <= datetime.now(UTC)
    ):
        raise InvalidRequest("expires_at must be a time to come, with its offset from UTC", path="$.expires_at")
    possible = sorted(PERMISSIONS - texts.NEVER)
    wanted = set(request.permissions)
    if not wanted or not wanted <= set(possible):
        raise InvalidRequest(
            f"permissions must be one or more of {', '.join(possible)}", path="$.permissions", valid=possible
        )
    if missing := sorted(wanted - actor.principal.permissions):
        raise Forbidden(f"a key cannot hold what its maker lacks: {', '.join(missing)}", permissions=missing)
    return sorted(wanted)


def _view(row: Stored) -> KeyView:
    return KeyView(
        key_id=row.id,
        name=row.name,
        permissions=row.permissions,
        created_by=row.created_by,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
    )
