"""A runner's reply, as the client gets it: filtered headers and the body, or the refusal it carries."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gateway.policy import headers as header_policy
from gateway.proxy import failures
from gateway.proxy.client import Reply


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client gets."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def with_fields(self, fields: dict[str, str]) -> Answer:
        """The same answer with further header fields of the platform's own."""
        further = [(name.encode(), value.encode()) for name, value in fields.items()]
        return replace(self, headers=[*self.headers, *further])


def from_reply(reply: Reply) -> Answer:
    """The guest's answer.

    Raises:
        PlatformError: the runner says there is none.
        GuestResponseInvalid: a status or header that cannot be passed on.
    """
    answer = reply.answer
    if answer.error is not None:
        raise failures.to_error(answer.error, reply.retry_after_s)
    header_policy.check_status(answer.status)
    headers = header_policy.to_client(answer.header_list or tuple(answer.headers.items()))
    body = (answer.body or b"") if header_policy.has_body(answer.status) else b""
    return Answer(answer.status, headers, body)
