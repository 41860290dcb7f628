"""Who changed what: rows that nobody can change or remove, written in the transaction of the change itself."""

from __future__ import annotations

import msgspec

from gateway.store.pool import Tx

Detail = dict[str, str | int | bool | list[str] | None]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One administrative act. `detail` never holds a secret or a setting's value."""

    tenant_id: str
    actor: str
    actor_kind: str
    action: str
    subject_kind: str
    subject_id: str
    request_id: str = ""
    detail: Detail = {}


async def record(tx: Tx, change: Change) -> None:
    """Write the row."""
    await tx.execute(
        """insert into extension_audit_log
             (tenant_id, actor, actor_kind, action, subject_kind, subject_id, request_id, detail)
           values (%s, %s, %s, %s, %s, %s, %s, %s)""",
        (
            change.tenant_id,
            change.actor,
            change.actor_kind,
            change.action,
            change.subject_kind,
            change.subject_id,
            change.request_id,
            msgspec.json.encode(change.detail).decode(),
        ),
    )
