"""Components built for a part of our world run unmodified on a host that offers all of it, granted or not.

Five ways to write a guest, six worlds, each built by a real toolchain and run in a real sandbox. What is granted
crosses with every field in its place; what is not granted is the answer the WIT documents, and never a failure to link.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from runner.sandbox import frames
from runner.sandbox.offer import Offer
from runner.sandbox.pool import PoolOptions, SandboxPool
from shared.component import inspect_component
from shared.provider_files import shipped
from tests.built import native
from tests.contract.compat.calls import CALLS, USER
from tests.contract.compat.extensions import WAYS, built
from tests.contract.compat.worlds import WORLDS
from tests.runner.sandbox.driving import Driver, Recorded, running_pool

MEMORY_MB = 64
TIMEOUT_MS = 20_000  # the machine may be busy; what is measured here is not time
AT_ONCE = 2  # a toolchain keeps a core busy and takes up to 1 GiB
ALWAYS = "cap:context.read"
SILENT = {"logging", "metrics", "config"}  # whose functions have no error: a refusal is told in the debug stream alone

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.guests,
    pytest.mark.slow,
    pytest.mark.timeout(300),
]
every_guest = pytest.mark.parametrize("way", WAYS)
every_world = pytest.mark.parametrize("world", WORLDS)


class Built(msgspec.Struct, frozen=True):
    """One component, as its toolchain made it and as native code: files, since all of them together are a gigabyte."""

    wasm: Path
    code: Path


Guests = dict[tuple[str, str], Future[Built]]
"""By toolchain and world."""


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, bytes | bytearray | memoryview):
        return list(value)
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


class Host(Recorded):
    """Answers as the table of calls says."""

    async def answer(self, interface: str, function: str, arguments: Sequence[Any]) -> Any:
        (given,) = arguments if len(arguments) == 1 and isinstance(arguments[0], list | tuple) else (arguments,)
        self.asked.append((interface, function, plain(given)))
        return CALLS[interface].answer


@pytest.fixture(scope="module")
def guests(request: pytest.FixtureRequest) -> Iterator[Guests]:
    """Each guest that this session asks for, under construction from the start."""

    def make(toolchain: str, world: str) -> Built:
        folder = scratch / f"{world}-{toolchain}"
        made = Built(folder / "main.wasm", folder / "main.cwasm")
        made.wasm.write_bytes(built(toolchain, world, folder))
        made.code.write_bytes(native(f"compat-{world}-{toolchain}", made.wasm.read_bytes()))
        return made

    wanted = [
        (WAYS[str(item.callspec.params["way"])].toolchain, str(item.callspec.params["world"]))
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.path == request.path and "way" in item.callspec.params
    ]
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        executor = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="build")
        try:
            yield {each: executor.submit(make, *each) for each in dict.fromkeys(wanted)}
        finally:
            executor.shutdown(cancel_futures=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[SandboxPool]:
    """Sandboxes that are offered everything."""
    providers = shipped()
    offer = Offer(providers.world, dict(providers.interfaces))
    async with running_pool(PoolOptions(sandbox_max=4, idle_max=1), offer) as running:
        yield running


async def told(
    pool: SandboxPool, guests: Guests, way: str, world: str, grants: tuple[str, ...]
) -> tuple[dict[str, Any], Host]:
    """What a guest says of its calls, and what the host was asked meanwhile."""
    toolchain = WAYS[way].toolchain
    guest, calls = await asyncio.wrap_future(guests[toolchain, world]), Host()
    outcome = await Driver(pool, guest.code.read_bytes(), f"{world}-{toolchain}").call(
        WAYS[way].url, memory_mb=MEMORY_MB, timeout_ms=TIMEOUT_MS, grants=grants, calls=calls, user=USER
    )
    assert isinstance(outcome.result, frames.Done), (outcome, calls.lines)
    assert outcome.result.status == 200, (outcome.result, calls.lines)
    answer: dict[str, Any] = json.loads(outcome.result.body or b"")
    return answer, calls


@every_world
@every_guest
async def test_a_guest_imports_what_its_world_has_and_nothing_else_of_ours(
    way: str, world: str, guests: Guests
) -> None:
    guest = await asyncio.wrap_future(guests[WAYS[way].toolchain, world])
    imports = inspect_component(guest.wasm, timeout_s=60).imports
    assert {name.partition("/")[2] for name in imports if name.startswith("alga:")} == {*WORLDS[world], "types"}


@every_world
@every_guest
async def test_what_is_granted_crosses_with_every_field_in_its_place(
    way: str, world: str, guests: Guests, pool: SandboxPool
) -> None:
    grants = tuple(sorted(set(shipped().interfaces.values())))
    answers, host = await told(pool, guests, way, world, grants)
    assert answers == {name: CALLS[name].granted for name in WORLDS[world]}
    assert host.asked == [
        (name, CALLS[name].function, CALLS[name].asked) for name in WORLDS[world] if CALLS[name].asked is not None
    ]
    assert ("warn", "log", "careful") in host.lines


@every_world
@every_guest
async def test_what_is_not_granted_is_a_typed_answer_told_once_and_nobody_is_asked(
    way: str, world: str, guests: Guests, pool: SandboxPool
) -> None:
    answers, host = await told(pool, guests, way, world, (ALWAYS,))
    assert answers == {name: CALLS[name].denied for name in WORLDS[world]}
    assert host.asked == []
    capabilities = shipped().interfaces
    assert host.lines == [
        (
            "info" if name in SILENT else "warn",
            "system",
            f"{name}.{CALLS[name].function}: denied; granting {capabilities[name]} to this install would allow it",
        )
        for name in WORLDS[world]
        if name != "context"
    ]
