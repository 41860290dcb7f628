"""events: a guest tells other extensions of its tenant that something happened. WIT: shared/wit/events.wit.

The gateway commits the event before it answers; it takes the call's host token and nothing else, from which it knows
whose event it is and how many events led here. What can be refused without asking is refused here first, and there
again. A refusal is a text that says what would be accepted; it goes to the debug stream as well, once for each reason,
since a guest may well keep it to itself.
"""

from __future__ import annotations

from functools import partial
from typing import Final, Protocol, TypeVar

from runner.capabilities.capability import Call, Capability
from shared import events
from shared.deadline import Deadline
from shared.errors import Forbidden, HostError, PlatformError
from shared.events import EventPublish, EventPublished
from shared.wire import Message

M = TypeVar("M", bound=Message)

CAPABILITY: Final = Capability(name=events.CAPABILITY, interface="events")

_NO_TOKEN: Final = (
    "this call carries no host token, because it was made with the runner's service token; "
    "a call through the gateway carries one"
)
_UNKNOWN: Final = "whether the event was accepted is not known"


class Gateway(Protocol):
    """Asks the gateway on behalf of a running call."""

    async def ask(
        self, path: str, message: Message, kind: type[M], *, host_token: str, request_id: str, deadline: Deadline
    ) -> M:
        """The answer. Raises the `PlatformError` the gateway answered with, or `Internal` when it gave none."""
        ...


class Events:
    """The events one call publishes.

    Args:
        gateway: commits them.
        call: whose they are.
    """

    def __init__(self, gateway: Gateway, call: Call) -> None:
        self._gateway, self._call = gateway, call
        self._explained: set[str] = set()

    async def publish(self, topic: str, payload: bytes) -> tuple[bool, str | None]:
        """Publish one event; it is committed when this returns without an error."""
        request = self._call.request
        try:
            events.check_topic(topic)
            events.check_payload(payload)
            if request.host_token is None:
                raise Forbidden(_NO_TOKEN)
            await self._gateway.ask(
                events.PUBLISH_PATH,
                EventPublish(topic=topic, payload=payload, timeout_ms=max(1, self._call.deadline.remaining_ms())),
                EventPublished,
                host_token=request.host_token,
                request_id=request.context.request_id,
                deadline=self._call.deadline,
            )
        except PlatformError as error:
            told = f"{error.detail}; {_UNKNOWN}" if isinstance(error, HostError) else error.detail
            self._explain(f"events.publish: {told}")
            return False, told
        return True, None

    def _explain(self, reason: str) -> None:
        if reason not in self._explained:
            self._explained.add(reason)
            self._call.recorder.record("warn", "system", reason)


def capability(gateway: Gateway) -> Capability:
    """The capability, answered by an `Events` for each call."""
    return Capability(name=CAPABILITY.name, interface=CAPABILITY.interface, open=partial(Events, gateway))
