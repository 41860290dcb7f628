"""A guest whose host calls the gateway answers: what storage, events and schedules have in common towards guests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from runner.capabilities.capability import Call, Capability
from runner.capabilities.host_calls import HostCalls
from runner.capabilities.table import with_services
from runner.debug.recorder import Recorder
from shared.deadline import Deadline
from shared.debug_event import ExtDebugEvent
from shared.errors import PlatformError
from shared.wire import Context, ExecuteRequest, Http, Message
from shared.wit_parser import load_world

WORLD = load_world()
CONTEXT = Context(
    request_id="r-1", tenant_id="acme", extension_id="e", install_id="i", version_id="v", content_hash="sha256:x"
)
TOKEN = "header.claims.signature"


class Gateway:
    """Answers what the test says and keeps what it was asked."""

    def __init__(self, *answers: Message | PlatformError) -> None:
        self.answers = list(answers)
        self.asked: list[Any] = []

    async def ask(self, path: str, message: Message, kind: type[Any], **about: Any) -> Any:
        self.asked.append((path, message, kind, about))
        answer = self.answers.pop(0)
        if isinstance(answer, PlatformError):
            raise answer
        assert type(answer) is kind
        return answer


class GatewayGuest:
    """Calls one interface as a sandbox does. `offer` makes its capability from a gateway."""

    offer: ClassVar[Callable[[Any], Capability]]

    def __init__(self, *answers: Message | PlatformError, token: str | None = TOKEN, granted: bool = True) -> None:
        self.gateway, self.events = Gateway(*answers), list[ExtDebugEvent]()
        request = ExecuteRequest(context=CONTEXT, http=Http(method="GET", path="/"), host_token=token)
        call = Call(request, Deadline.after_ms(5000), Recorder(CONTEXT, self))
        capability = type(self).offer(self.gateway)
        self._interface = capability.interface
        grants = frozenset({capability.name} if granted else ())
        self._calls = HostCalls(WORLD, grants, call, with_services(capability))

    def emit(self, event: ExtDebugEvent) -> None:
        if event.stream == "system":
            self.events.append(event)

    async def call(self, function: str, *arguments: Any) -> Any:
        return await self._calls.answer(self._interface, function, list(arguments))
