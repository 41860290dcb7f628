"""user, user-v2: a guest reads who called it. WIT: shared/wit/user.wit, shared/wit/user-v2.wit."""

from __future__ import annotations

from typing import Any

from runner.capabilities.capability import Capability
from shared.wire import ExecuteRequest

CAPABILITY = Capability(name="cap:user.read", interface="user", travels=True)
CAPABILITY_V2 = Capability(name="cap:user.read", interface="user-v2", travels=True)


def user_data(request: ExecuteRequest, granted: frozenset[str]) -> tuple[Any, ...] | str:
    """The fields of `user-data-v2` in WIT order (the first six are `user-data`), or the error case to answer."""
    if CAPABILITY.name not in granted:
        return "not-allowed"
    user = request.user
    if user is None:
        return "not-available"
    return (
        request.context.tenant_id,
        user.client_name,
        user.user_id,
        user.user_email,
        user.user_name,
        user.user_type,
        user.client_id,
        sorted(user.additional_fields.items()),
    )
