"""Guests that want more memory than they may have, and guests that look for what others left. Rows T17, T18, T25."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from wasmtime import wat2wasm
from wasmtime.component import Component

from runner.sandbox import frames
from runner.sandbox.engine import EngineOptions, make_engine
from runner.sandbox.guest import GuestCall, Handler, LoadedComponent
from runner.sandbox.guest_host import GuestHost
from runner.sandbox.linking import GuestLinker
from runner.sandbox.pool import SandboxPool
from runner.sandbox.ticker import Ticker
from shared import wire
from shared.component import check_against_manifest, inspect_component
from shared.errors import ComponentInvalid
from shared.limits import (
    MEMORY_MAX_MB,
    MIB,
    STORE_MAX_INSTANCES,
    STORE_MAX_MEMORIES,
    STORE_MAX_TABLES,
    TABLE_MAX_ELEMENTS,
)
from shared.manifest import parse_manifest
from shared.wit_parser import load_world
from tests.runner.api.door import Runner
from tests.runner.published import manifest
from tests.security.guests import compiled, guest, native
from tests.security.processes import Guest

GuestOf = Callable[[bytes], Guest]

LIMIT_MB = 64
SLACK_BYTES = 32 * MIB

# Asks for 4 GiB at once, then for a page at a time until it is refused, and touches whatever it got.
GREEDY = guest(
    """(i32.store (i32.const 64) (memory.grow (i32.const 65520)))
       (block $full (loop $more
         (br_if $full (i32.eq (memory.grow (i32.const 1)) (i32.const -1)))
         (memory.fill (i32.shl (i32.sub (memory.size) (i32.const 1)) (i32.const 16)) (i32.const 7) (i32.const 65536))
         (br $more)))
       (i32.store (i32.const 68) (memory.size))
       (call $answer (i32.const 64) (i32.const 8))"""
)
TABLES = guest(
    """(i32.store (i32.const 64) (table.grow $t (ref.null func) (i32.const 200001)))
       (i32.store (i32.const 68) (table.grow $t (ref.null func) (i32.const 1000)))
       (call $answer (i32.const 64) (i32.const 8))""",
    definitions="(table $t 0 funcref)",
)
LEFTOVERS = guest(  # counts in a global, in memory and in a table; says what it found, then leaves its mark
    """(i32.store (i32.const 64) (global.get $count))
       (i32.store (i32.const 68) (i32.load (i32.const 2048)))
       (i32.store (i32.const 72) (ref.is_null (table.get $t (i32.const 0))))
       (i32.store (i32.const 76) (memory.size))
       (global.set $count (i32.const 41))
       (i32.store (i32.const 2048) (i32.const 42))
       (table.set $t (i32.const 0) (ref.func $answer))
       (drop (memory.grow (i32.const 3)))
       (call $answer (i32.const 64) (i32.const 16))""",
    definitions="(global $count (mut i32) (i32.const 0)) (table $t 1 funcref) (elem declare func $answer)",
)


def empty_modules(count: int, contents: str = "") -> str:
    """Component-level text that instantiates a module so many times."""
    return f"(core module $m {contents})" + "(core instance (instantiate $m))" * count


# ---- T17 ------------------------------------------------------------------------------------------------------


async def test_t17_memory_grow_to_four_gibibytes_fails_in_the_guest_and_the_process_stays_small(
    guest_of: GuestOf,
) -> None:
    guest = guest_of(native(GREEDY))
    for _ in range(2):
        assert await guest.numbers("<2i", memory_mb=LIMIT_MB) == (-1, LIMIT_MB * MIB // 65_536)
        assert guest.peak_growth_bytes() <= LIMIT_MB * MIB + SLACK_BYTES


async def test_t17_a_bomb_is_told_that_its_memory_is_used_up(pool: SandboxPool, behaviours: bytes) -> None:
    runner = Runner(pool, behaviours)
    status, answer = await runner.call("/bomb", limits=wire.Limits(memory_mb=32))
    assert answer.error is not None
    assert (status, answer.error.code) == (502, "guest_memory_exceeded")
    assert "32 MiB" in answer.error.message


async def test_t17_a_table_grows_to_its_limit_and_not_beyond(guest_of: GuestOf) -> None:
    assert await guest_of(native(TABLES)).numbers("<2i") == (-1, 0)


def test_t17_four_gibibytes_declared_from_the_start_are_refused_at_publish_with_the_number(tmp_path: Path) -> None:
    path = tmp_path / "main.wasm"
    path.write_bytes(wat2wasm(guest("(unreachable)", pages=65_536)))
    facts = inspect_component(path, timeout_s=30)
    with pytest.raises(ComponentInvalid) as refused:
        check_against_manifest(facts, parse_manifest(msgspec.json.encode(manifest())), allow_unused_imports=True)
    assert refused.value.status == 422
    assert refused.value.detail == f"the component starts with 4096 MiB of memory; at most {MEMORY_MAX_MB} are given"


@pytest.mark.parametrize(
    ("what", "contents"),
    [
        ("1000 memories", empty_modules(1000, "(memory 0)")),
        ("1000 instances", empty_modules(1000)),
        ("one memory too many", empty_modules(STORE_MAX_MEMORIES, "(memory 0)")),
        ("one instance too many", empty_modules(STORE_MAX_INSTANCES - 1)),
        ("one table too many", empty_modules(1, "(table 0 funcref)" * (STORE_MAX_TABLES + 1))),
        ("one table element too many", empty_modules(1, f"(table {TABLE_MAX_ELEMENTS + 1} funcref)")),
    ],
)
async def test_t17_more_than_a_sandbox_can_hold_is_refused_where_it_is_compiled(
    what: str, contents: str, tmp_path: Path
) -> None:
    with pytest.raises(ComponentInvalid) as refused:
        await compiled(guest("(unreachable)", imports=contents), tmp_path)
    assert refused.value.status == 422
    assert "exceeds the" in refused.value.detail


@pytest.mark.parametrize(
    ("what", "contents"),
    [
        ("memories", empty_modules(STORE_MAX_MEMORIES - 1, "(memory 0)")),
        ("instances", empty_modules(STORE_MAX_INSTANCES - 6)),
        ("tables", empty_modules(1, "(table 0 funcref)" * (STORE_MAX_TABLES - 2))),
        ("table elements", empty_modules(1, f"(table {TABLE_MAX_ELEMENTS} funcref)")),
    ],
)
async def test_t17_as_much_as_a_sandbox_can_hold_is_compiled_and_runs(
    what: str, contents: str, tmp_path: Path, guest_of: GuestOf
) -> None:
    wat = guest("(call $answer (i32.const 64) (i32.const 4))", imports=contents)
    code = await compiled(wat, tmp_path)
    assert await guest_of(code).numbers("<i") == (0,)


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        (empty_modules(STORE_MAX_MEMORIES, "(memory 0)"), "memory count too high at 17"),
        (empty_modules(STORE_MAX_INSTANCES), "instance count too high at 65"),
        (empty_modules(1, "(table 0 funcref)" * (STORE_MAX_TABLES + 1)), "table count too high at 65"),
        (empty_modules(1, f"(table {TABLE_MAX_ELEMENTS + 1} funcref)"), "200001 elements exceeds table limits"),
        (empty_modules(1, f"(memory {LIMIT_MB * MIB // 65_536 + 1})"), "1025 pages exceeds memory limits"),
    ],
    ids=["memories", "instances", "tables", "table elements", "memory"],
)
def test_t17_each_of_the_five_limits_of_a_store_holds_by_itself(
    contents: str, said: str, in_this_process: Callable[[str], frames.Done | frames.Failed]
) -> None:
    result = in_this_process(guest("(call $answer (i32.const 64) (i32.const 4))", imports=contents))
    assert isinstance(result, frames.Failed)
    assert (result.kind, said in result.message) == ("memory", True), result.message


@pytest.fixture
def in_this_process() -> Callable[[str], frames.Done | frames.Failed]:
    """Runs a harmless guest here, in an engine that allocates on demand: only the store's own limits count."""
    engine, world = make_engine(EngineOptions()), load_world()
    host = GuestHost(None)  # type: ignore[arg-type]  # these guests say nothing

    def run(wat: str) -> frames.Done | frames.Failed:
        component = Component(engine, wat)
        handler = component.get_export_index("handler")
        assert handler is not None
        frame = frames.Execute(
            seq=1,
            component="",
            timeout_ms=5000,
            memory_bytes=LIMIT_MB * MIB,
            context=("r", "t", "e", None, None),
            method="GET",
            url="/",
            headers=[],
            body=None,
            capabilities=(),
            user="not-available",
            config=[],
        )
        ticker = Ticker(engine)
        call = GuestCall(engine, GuestLinker(engine, world, host), Handler(world.exports[0]), host, ticker)
        try:
            return call.run(frame, LoadedComponent(component, handler))
        finally:
            call.close()

    return run


# ---- T18 ------------------------------------------------------------------------------------------------------


async def test_t18_unbounded_recursion_is_a_stack_overflow_and_the_runner_goes_on(
    pool: SandboxPool, behaviours: bytes
) -> None:
    runner = Runner(pool, behaviours)
    status, answer = await runner.call("/stack")
    assert answer.error is not None
    assert (status, answer.error.code) == (502, "guest_trapped")
    assert "stack overflowed" in answer.error.message
    assert any("call stack exhausted" in event.message for event in runner.sink.events)
    assert (await runner.call())[0] == 200


# ---- T25 ------------------------------------------------------------------------------------------------------


async def test_t25_nothing_of_an_execution_is_there_in_the_next(guest_of: GuestOf) -> None:
    guest = guest_of(native(LEFTOVERS))
    for _ in range(4):
        assert await guest.numbers("<4i") == (0, 0, 1, 16)
    assert [sandbox.calls_served for sandbox in guest.sandboxes()] == [4]


async def test_t25_memory_that_was_never_written_is_zero_after_a_call_that_filled_it(
    guest_of: GuestOf, behaviours: bytes
) -> None:
    guest = guest_of(behaviours)
    canary = b"canary-of-another-request" * 4000
    for _ in range(3):
        assert (await guest.done(body=canary)).body == canary
        found = (await guest.done("/memory")).body
        assert found is not None
        assert len(found) > 100_000
        assert b"canary" not in found
