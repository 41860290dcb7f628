"""The runner's side of one execution's host calls. Nothing raises towards the sandbox.

The sandbox refuses what is not granted before it asks; here the grant is checked again, because whatever runs in a
sandbox may have learned to ask anyway.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from runner.capabilities.capability import Call, Capability
from runner.capabilities.table import BY_INTERFACE
from runner.meter import Meter
from shared.debug_event import Level, Stream
from shared.debug_stream import HOST_CALL
from shared.limits import DEBUG_HOST_EVENTS_MAX
from shared.redaction import redacting
from shared.wit_answers import denied_answer, failed_answer
from shared.wit_types import Enum, Function, ResultOf, World

_log = structlog.get_logger("capabilities")


class HostCalls:
    """Answers host calls and takes log lines of one execution."""

    def __init__(
        self,
        world: World,
        granted: frozenset[str],
        call: Call,
        table: Mapping[str, Capability] = BY_INTERFACE,
    ) -> None:
        self._world = world
        self._granted = granted
        self._call = call
        self._table = table
        self._services: dict[str, object] = {}
        self._told = 0

    @property
    def meter(self) -> Meter:
        """Counts this execution."""
        return self._call.meter

    def log(self, level: Level, stream: Stream, message: str, truncated: bool) -> None:
        """One line from the guest or from its sandbox."""
        self._call.recorder.record(level, stream, message, truncated=truncated)

    async def answer(self, interface: str, function: str, arguments: Sequence[Any]) -> Any:
        """The value of one host call, of the function's result type. Raises only `CancelledError`."""
        found = self._find(interface, function)
        if found is None:  # no honest sandbox asks for what the world does not have
            return None
        capability, signature = found
        began = time.perf_counter()
        outcome = "cancelled"  # unless it comes to an end before the execution does
        try:
            with redacting(self._call.recorder.redactor):  # what fails is logged, perhaps with what it failed on
                outcome, value = await self._outcome(capability, signature, arguments)
        finally:
            took_s = time.perf_counter() - began
            self._call.meter.answered(capability.name, outcome, took_s)
        self._tell(interface, function, outcome, took_s)
        return value

    async def _outcome(self, capability: Capability, signature: Function, arguments: Sequence[Any]) -> tuple[str, Any]:
        """How the call went, in one word, and the value for the guest."""
        if capability.name not in self._granted or capability.open is None:
            reason = "not granted" if capability.name not in self._granted else "not offered by this runner"
            message = f"{capability.interface}.{signature.name}: {capability.name} is {reason}"
            self._call.recorder.record("warn", "system", message)
            return "denied", denied_answer(signature, capability.name)
        try:
            async with asyncio.timeout(self._call.deadline.remaining_s()):
                value = await self._ask(capability, signature.name, arguments)
        except Exception:  # noqa: BLE001 - a failing capability is the guest's typed failure, and our log line
            _log.exception("host_call_failed", interface=capability.interface, function=signature.name)
            return "failed", failed_answer(signature)
        return _word(signature, value), value

    def _tell(self, interface: str, function: str, outcome: str, took_s: float) -> None:
        """What was called, how it went and how long it took; never what was said."""
        if self._call.recorder.silent or self._told >= DEBUG_HOST_EVENTS_MAX:
            return
        self._told += 1
        took_us = round(took_s * 1_000_000)
        self._call.recorder.record(
            "debug",
            "host",
            f"{interface}.{function}: {outcome} in {took_us} µs",
            data={
                "kind": HOST_CALL,
                "interface": interface,
                "function": function,
                "outcome": outcome,
                "took_us": str(took_us),
            },
        )
        if self._told == DEBUG_HOST_EVENTS_MAX:
            message = f"this execution made {DEBUG_HOST_EVENTS_MAX} host calls; further ones are not shown"
            self._call.recorder.record("info", "system", message)

    def _find(self, interface: str, function: str) -> tuple[Capability, Function] | None:
        capability = self._table.get(interface)
        described = self._world.interfaces.get(interface)
        if capability is None or described is None:
            return None
        signature = next((known for known in described.functions if known.name == function), None)
        return None if signature is None else (capability, signature)

    async def _ask(self, capability: Capability, function: str, arguments: Sequence[Any]) -> Any:
        service = self._services.get(capability.interface)
        if service is None:
            if capability.open is None:
                raise RuntimeError(f"{capability.interface} has no service")
            service = self._services[capability.interface] = capability.open(self._call)
        return await getattr(service, function.replace("-", "_"))(*arguments)


def _word(signature: Function, value: Any) -> str:
    """`ok`, or the case of the error; an error that is text says only that it is one."""
    if not isinstance(signature.result, ResultOf) or not isinstance(value, tuple | list) or value[0]:
        return "ok"
    is_case = isinstance(signature.result.err, Enum)
    return str(value[1]) if is_case else "error"
