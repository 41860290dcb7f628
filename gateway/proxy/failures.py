"""A runner's refusal, as the gateway's own: which codes pass to the client, and which say that the gateway erred.

Guest and host codes keep code and status, so that an author sees `guest_trapped` and an operator `overloaded`;
so does `tenant_over_concurrency`, which the tenant can act on. Every other caller code means that the *gateway*
sent something wrong: the client can do nothing about it and learns nothing from it but 502 `bad_gateway`.
"""

from __future__ import annotations

from typing import Final

import structlog

from shared.errors import (
    BY_CODE,
    ArtefactUnavailable,
    BadGateway,
    BundleUnavailable,
    CacheFull,
    CallerError,
    GuestTimeout,
    HostError,
    Overloaded,
    PlatformError,
    Revoked,
    TenantOverConcurrency,
)
from shared.errors import GuestError as _GuestError
from shared.wire import ErrorBody

RETRYABLE: Final = frozenset(kind.code for kind in (Overloaded, CacheFull, BundleUnavailable, ArtefactUnavailable))
"""Codes that another runner may not have. `tenant_over_concurrency` is not among them: it is the tenant's own share."""


def to_error(body: ErrorBody, retry_after_s: int | None) -> PlatformError:
    """The error a client gets for what a runner answered.

    Args:
        body: the runner's error body.
        retry_after_s: its `Retry-After`, in seconds, when it sent one.
    """
    kind = BY_CODE.get(body.code)
    if kind is None or (issubclass(kind, CallerError) and kind is not TenantOverConcurrency):
        structlog.get_logger().error("runner_refused_the_gateway", code=body.code, message=body.message)
        return BadGateway("the runner refused the call", started=body.started)
    error = kind(body.message, started=body.started)
    error.retry_after_s = retry_after_s
    return error


def may_retry(body: ErrorBody) -> bool:
    """Whether the same call may be sent once more: nothing ran, and another runner may have room."""
    return not body.started and body.code in RETRYABLE


def terminal_state(error: BaseException) -> str:
    """The execution log's word for how a call ended with `error`."""
    match error:
        case GuestTimeout():
            return "guest_timeout"
        case _GuestError():
            return "guest_error"
        case CallerError() | Revoked():
            return "denied"
        case HostError():
            return "upstream_error"
        case _:
            return "upstream_error"
