"""The two errors a handler meets: one it raises to answer with a status, one the host's interfaces raise."""

from __future__ import annotations

from collections.abc import Mapping


class HttpError(Exception):
    """Raised by a handler: the answer is `status` with `{"error": message, **details}` as JSON.

    Args:
        status: 400–599.
        message: what the caller is told.
        details: further members of the answer's body.
        headers: further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        details: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.details = dict(details or {})
        self.headers = dict(headers or {})


class HostError(Exception):
    """Raised by a call to the host: the error case of its WIT `result`.

    Args:
        interface: the WIT interface: `storage`, `ui-proxy`, ….
        code: the case of its error enum (`not-allowed`); `refused` where the WIT error is a text.
        message: that text.
    """

    def __init__(self, interface: str, code: str, message: str = "") -> None:
        super().__init__(message or f"{interface}: {code}")
        self.interface = interface
        self.code = code
