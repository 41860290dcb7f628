"""What one compilation may cost: each limit met with little of it, so that a test needs seconds.

Output is exact to the byte. Processor time and memory are not the same twice, so they are tried well below and well
above; what counts is that the verdict names the limit and that no process is left.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.aot.child import compile_component
from runner.aot.jobs import CompileLimits
from shared.deadline import Deadline
from shared.errors import ArtefactUnavailable, ComponentInvalid
from shared.limits import MIB
from tests.runner.aot.heavy import children, heavy
from tests.runner.published import component

pytestmark = [pytest.mark.guests, pytest.mark.slow]


@pytest.fixture(scope="module")
def light() -> bytes:
    return heavy(5_000)


@pytest.fixture(scope="module")
def heaviest() -> bytes:
    return heavy(60_000)


async def compiled(folder: Path, data: bytes, limits: CompileLimits, wall_ms: float = 60_000) -> int:
    """The size of the native code."""
    source, target = folder / "in.wasm", folder / "out.cwasm"
    source.write_bytes(data)
    try:
        await compile_component(source, target, fuel=False, limits=limits, deadline=Deadline.after_ms(wall_ms))
    finally:
        assert children() == {}
    return target.stat().st_size


@pytest.mark.parametrize(("missing", "accepted"), [(-1, True), (0, True), (1, False)])
async def test_native_code_may_be_as_long_as_the_limit_and_no_longer(tmp_path: Path, missing: int, accepted: bool):
    size = await compiled(tmp_path, component(), CompileLimits())
    limits = CompileLimits(code_bytes=size - missing)
    if accepted:
        assert await compiled(tmp_path, component(), limits) == size
    else:
        with pytest.raises(ComponentInvalid, match=f"native code has more than {size - 1} bytes"):
            await compiled(tmp_path, component(), limits)


async def test_processor_time_below_the_limit_suffices(tmp_path: Path, light: bytes):
    assert await compiled(tmp_path, light, CompileLimits(cpu_s=5))


async def test_a_component_that_computes_too_long_is_told_so(tmp_path: Path, heaviest: bytes):
    with pytest.raises(ComponentInvalid, match="more than 1 s of processor time"):
        await compiled(tmp_path, heaviest, CompileLimits(cpu_s=1))


async def test_memory_below_the_limit_suffices(tmp_path: Path, light: bytes):
    assert await compiled(tmp_path, light, CompileLimits(memory_bytes=256 * MIB))


async def test_a_component_that_outgrows_its_memory_is_told_so(tmp_path: Path, heaviest: bytes):
    with pytest.raises(ComponentInvalid, match="more than 128 MiB of memory"):
        await compiled(tmp_path, heaviest, CompileLimits(memory_bytes=128 * MIB))


async def test_the_wall_clock_ends_what_nothing_else_does(tmp_path: Path, heaviest: bytes):
    with pytest.raises(ArtefactUnavailable, match="in time"):
        await compiled(tmp_path, heaviest, CompileLimits(), wall_ms=700)
