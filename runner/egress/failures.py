"""What can go wrong with a request that was allowed. The guest sees `transport` for all of it; people are told which."""

from __future__ import annotations

from enum import StrEnum


class Failure(StrEnum):
    """Why a fetch has no answer: the label in logs and metrics, a closed set."""

    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    PROXY = "proxy"
    TIMEOUT = "timeout"
    BROKEN = "broken"
    REQUEST_TOO_LARGE = "request-too-large"
    RESPONSE_TOO_LARGE = "response-too-large"
    HEADERS_TOO_LARGE = "headers-too-large"
    CODING = "content-coding"


class TransportError(Exception):
    """An allowed request that came to nothing.

    Args:
        failure: which kind.
        detail: one sentence for the extension's author; says nothing about addresses, which are not theirs to know.
    """

    def __init__(self, failure: Failure, detail: str) -> None:
        super().__init__(detail)
        self.failure = failure
        self.detail = detail


class AddressDeniedError(Exception):
    """A name that leads to an address nobody may reach. The text says which; it is for the operator's log alone."""
