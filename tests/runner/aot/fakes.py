"""The compiler role and the counter of cold loads, as a loader sees them."""

from __future__ import annotations

import asyncio
from collections import Counter

from shared.deadline import Deadline
from shared.ids import ContentHash
from shared.wire import PrepareResponse
from tests.runner.memory_store import MemoryObjects


class FakeCompiler:
    """Leaves what it is told to in the store; counts how often it was asked."""

    def __init__(self, store: MemoryObjects) -> None:
        self.store = store
        self.leaves: dict[str, bytes] = {}
        self.refuses: Exception | None = None
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def prepare(self, content_hash: ContentHash, deadline: Deadline) -> PrepareResponse:
        self.asked += 1
        await self.gate.wait()
        if self.refuses is not None:
            raise self.refuses
        self.store.held |= self.leaves
        return PrepareResponse(
            content_hash=content_hash,
            component_sha256=None,
            imports=(),
            exports=(),
            initial_memory_bytes=0,
            sizes={},
            manifest=b"{}",
            artefact="compiled",
        )


class Stages(Counter[str]):
    """How many cold loads ended where."""

    def count(self, stage: str) -> None:
        self[stage] += 1
