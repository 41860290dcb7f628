"""An administrative act, told by who did it: what the audit log keeps."""

from __future__ import annotations

import msgspec

from gateway.identity.principal import Principal
from gateway.store.audit_log import Change, Detail


class Actor(msgspec.Struct, frozen=True):
    """A verified caller in one request."""

    principal: Principal
    request_id: str

    @property
    def tenant_id(self) -> str:
        """Whose rows the act touches."""
        return self.principal.tenant_id

    @property
    def name(self) -> str:
        """The caller as rows name it."""
        return self.principal.actor

    def did(
        self, action: str, subject_kind: str, subject_id: str, **detail: str | int | bool | list[str] | None
    ) -> Change:
        """The row of one act; no secret and no setting's value belongs into `detail`."""
        found: Detail = detail
        return Change(
            tenant_id=self.tenant_id,
            actor=self.name,
            actor_kind=self.principal.kind,
            action=action,
            subject_kind=subject_kind,
            subject_id=subject_id,
            request_id=self.request_id,
            detail=found,
        )
