"""What every refusal is made of: a stable code, an HTTP status, and who is to blame. The refusals are in `shared.errors`."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar


class Blame(StrEnum):
    """Who has to act so that the same call succeeds."""

    CALLER = "caller"
    GUEST = "guest"
    HOST = "host"


class PlatformError(Exception):
    """A refusal with a stable code.

    Args:
        detail: one sentence for the caller: what was wrong and what would be valid. Never a secret, never a fact
            about another tenant.
        retry_after_s: seconds after which the same call may succeed; becomes the `Retry-After` header.
        started: whether guest code may have run; `False` tells a caller that a retry cannot do anything twice.
        extra: further members of the error body, JSON values only.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    blame: ClassVar[Blame] = Blame.HOST
    title: ClassVar[str] = "Something failed inside the platform"

    def __init__(
        self, detail: str = "", *, retry_after_s: int | None = None, started: bool = False, **extra: Any
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.retry_after_s = retry_after_s
        self.started = started
        self.extra: dict[str, Any] = extra
        self.fields: dict[str, str] = {}  # further header fields of the answer


class CallerError(PlatformError):
    """The request is at fault; repeating it unchanged cannot succeed."""

    blame = Blame.CALLER
    status = 400


class GuestError(PlatformError):
    """The extension is at fault: its author has to act."""

    blame = Blame.GUEST
    status = 502

    ran: ClassVar[bool] = True  # whether the guest had begun, when nobody says otherwise

    def __init__(self, detail: str = "", *, started: bool | None = None, **extra: Any) -> None:
        super().__init__(detail, started=self.ran if started is None else started, **extra)


class HostError(PlatformError):
    """The platform, or something it depends on, is at fault; the same call may succeed later."""

    blame = Blame.HOST
    status = 503
