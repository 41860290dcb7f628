"""An object store in memory. `tests/runner/bundles/test_objects.py` holds it to what the real one does."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable

from runner.bundles.objects import CHUNK_BYTES, Objects
from shared.deadline import Deadline
from shared.errors import BundleNotFound, BundleUnavailable, BundleUntrusted


class MemoryObjects(Objects):
    """Counts reads; can be told to be away, and to hold reads back until `gate` is set."""

    def __init__(self, held: dict[str, bytes] | None = None) -> None:
        self.held: dict[str, bytes] = dict(held or {})
        self.reads: Counter[str] = Counter()
        self.away = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def stream(
        self, key: str, *, max_bytes: int, deadline: Deadline, restart: Callable[[], object]
    ) -> AsyncGenerator[bytes, None]:
        self.reads[key] += 1
        try:
            async with asyncio.timeout(deadline.remaining_s()):
                await self.gate.wait()
        except TimeoutError as error:
            raise BundleUnavailable("away") from error
        if self.away:
            raise BundleUnavailable("away", retry_after_s=2)
        if key not in self.held:
            raise BundleNotFound(f"the store has no {key}")
        data = self.held[key]
        if len(data) > max_bytes:
            raise BundleUntrusted(f"{key} is too long")
        for start in range(0, len(data), CHUNK_BYTES):
            yield data[start : start + CHUNK_BYTES]

    async def folders(self, prefix: str, deadline: Deadline) -> list[str]:
        if self.away:
            raise BundleUnavailable("away", retry_after_s=2)
        below = {key[len(prefix) :] for key in self.held if key.startswith(prefix)}
        return sorted({rest.partition("/")[0] for rest in below if "/" in rest})

    async def write(self, key: str, data: bytes, deadline: Deadline) -> None:
        if self.away:
            raise BundleUnavailable("away", retry_after_s=2)
        self.held[key] = data

    async def reachable(self, deadline: Deadline) -> bool:
        return not self.away
