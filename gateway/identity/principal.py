"""Who is calling, once a credential was verified: the only source of a tenant inside the gateway."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from shared.errors import Forbidden, InvalidSession
from shared.ids import ExtensionId, InstallId, TenantId

PERMISSIONS: Final[frozenset[str]] = frozenset(
    {
        "extension:read",
        "extension:write",
        "extension:admin",
        "extension:publish",
        "extension:debug",
        "events:publish",
        "platform:admin",
    }
)
"""Every permission there is. `platform:admin` is the operator's and never in an API key."""

IFRAME_PERMISSIONS: Final[frozenset[str]] = frozenset({"extension:read", "extension:write"})
"""What an iframe session can hold at most: it exists to call its own extension."""

Kind = Literal["session", "api_key", "iframe", "schedule", "event"]

Trigger = Literal["schedule", "event"]
"""What calls when nobody does. No credential ever becomes one of these: only `unattended` makes them."""


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """A verified caller.

    Attributes:
        tenant_id: the only tenant this request may touch.
        subject: the user's id, or the API key's.
        user_type: `internal` (the tenant's staff) or `client` (a client of the tenant, who then has a `client_id`).
        permissions: a subset of `PERMISSIONS`; unknown names were dropped.
        kind: what kind of credential it was, or what calls without one.
        extension_id, install_id: what an iframe session is confined to; `None` otherwise.
        expires_at_s: when the credential ends, seconds since the epoch; `None` = until revoked.
    """

    tenant_id: TenantId
    subject: str
    kind: Kind
    permissions: frozenset[str]
    email: str = ""
    name: str = ""
    user_type: Literal["internal", "client"] = "internal"
    client_id: str | None = None
    extension_id: ExtensionId | None = None
    install_id: InstallId | None = None
    expires_at_s: float | None = None

    @property
    def actor(self) -> str:
        """The caller as audit rows name it."""
        return f"user:{self.subject}" if self.kind in _PEOPLES else f"{self.kind}:{self.subject}"

    @property
    def is_person(self) -> bool:
        """Whether a user stands behind the call; an API key, a schedule and an event are nobody."""
        return self.kind in _PEOPLES


_PEOPLES: Final = frozenset({"session", "iframe"})  # kinds of credential that a person has


def unattended(tenant_id: str, kind: Trigger, subject: str) -> Principal:
    """Who calls when nobody does: the platform, because a time or an event has come. It has no permission at all.

    Args:
        tenant_id: whose install is called, as the row says that made the call due.
        kind: what made it due.
        subject: the id of that row.
    """
    return Principal(tenant_id=TenantId(tenant_id), subject=subject, kind=kind, permissions=frozenset())


def require(principal: Principal, permission: str) -> None:
    """Raise `Forbidden`, naming what is missing, unless the caller holds `permission`."""
    if permission not in PERMISSIONS:
        raise ValueError(f"{permission} is not a permission")
    if permission not in principal.permissions:
        raise Forbidden(f"the permission {permission} is needed", permission=permission)


def confine(principal: Principal, extension_id: str, install_id: str) -> None:
    """Raise `InvalidSession` when an iframe session is used for another extension or install than its own."""
    if principal.kind != "iframe":
        return
    if principal.extension_id != extension_id or principal.install_id != install_id:
        raise InvalidSession
