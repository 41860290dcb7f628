"""The runner's side of one execution's host calls. Nothing raises towards the sandbox.

The sandbox refuses what is not granted before it asks; here the grant is checked again, because whatever runs in a
sandbox may have learned to ask anyway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog

from runner.capabilities.capability import Call, Capability
from runner.capabilities.table import BY_INTERFACE
from shared.debug_event import Level, Stream
from shared.wit_answers import denied_answer, failed_answer
from shared.wit_types import Function, World

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

    def log(self, level: Level, stream: Stream, message: str, truncated: bool) -> None:
        """One line from the guest or from its sandbox."""
        self._call.recorder.record(level, stream, message, truncated=truncated)

    async def answer(self, interface: str, function: str, arguments: list[Any]) -> Any:
        """The value of one host call, of the function's result type. Raises only `CancelledError`."""
        found = self._find(interface, function)
        if found is None:  # no honest sandbox asks for what the world does not have
            return None
        capability, signature = found
        if capability.name not in self._granted or capability.open is None:
            reason = "not granted" if capability.name not in self._granted else "not offered by this runner"
            self._call.recorder.record("warn", "system", f"{interface}.{function}: {capability.name} is {reason}")
            return denied_answer(signature, capability.name)
        try:
            async with asyncio.timeout(self._call.deadline.remaining_s()):
                return await self._ask(capability, function, arguments)
        except Exception:  # noqa: BLE001 - a failing capability is the guest's typed failure, and our log line
            _log.exception("host_call_failed", interface=interface, function=function)
            return failed_answer(signature)

    def _find(self, interface: str, function: str) -> tuple[Capability, Function] | None:
        capability = self._table.get(interface)
        described = self._world.interfaces.get(interface)
        if capability is None or described is None:
            return None
        signature = next((known for known in described.functions if known.name == function), None)
        return None if signature is None else (capability, signature)

    async def _ask(self, capability: Capability, function: str, arguments: list[Any]) -> Any:
        service = self._services.get(capability.interface)
        if service is None:
            if capability.open is None:
                raise RuntimeError(f"{capability.interface} has no service")
            service = self._services[capability.interface] = capability.open(self._call)
        return await getattr(service, function.replace("-", "_"))(*arguments)
