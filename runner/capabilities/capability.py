"""What a capability is: a name, an interface, and what answers the interface's functions.

Three ways to answer, by where the facts are:

    travels     they go along with the request, and the sandbox answers by itself (context, user, config, logging)
    open        the runner answers: a service object whose coroutines are the WIT functions
    neither     nobody answers here yet: every call gets its typed refusal, granted or not
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from runner.debug.recorder import Recorder
from runner.meter import Meter
from runner.secrets.execution import ExecutionSecrets
from shared.deadline import Deadline
from shared.wire import ExecuteRequest


class Call(msgspec.Struct, frozen=True):
    """What a service may know of the execution it serves; `meter` counts what it uses, `secrets` opens what came along."""

    request: ExecuteRequest
    deadline: Deadline
    recorder: Recorder
    meter: Meter = msgspec.field(default_factory=Meter)
    secrets: ExecutionSecrets = msgspec.field(default_factory=ExecutionSecrets.none)


class Capability(msgspec.Struct, frozen=True):
    """One interface of the world and who answers it.

    Attributes:
        name: the grant, `cap:…`.
        interface: the WIT interface it opens.
        travels: whether the sandbox answers from what came along.
        open: makes the service of one execution; its coroutine `put_entry` answers the function `put-entry`.
        digest: how this runner knows a service of the host application; empty for what is the platform's own.
    """

    name: str
    interface: str
    travels: bool = False
    open: Callable[[Call], object] | None = None
    digest: str = ""
