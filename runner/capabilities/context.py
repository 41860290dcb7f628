"""context: a guest reads whose call it serves. WIT: shared/wit/context.wit. Cannot be withheld."""

from __future__ import annotations

from runner.capabilities.capability import Capability
from shared.wire import Context

ContextData = tuple[str | None, str, str, str | None, str | None]

CAPABILITY = Capability(name="cap:context.read", interface="context", travels=True)


def context_data(context: Context) -> ContextData:
    """The fields of `context-data`, in WIT order."""
    return (
        context.request_id,
        context.tenant_id,
        context.extension_id,
        context.install_id,
        context.version_id,
    )
