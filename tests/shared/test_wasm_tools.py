"""The program that reads what strangers wrote: bounded in memory, and refused memory is a refusal, not a crash of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.deadline import Deadline
from shared.limits import MIB
from shared.wasm_tools import ToolRefusedError, run_wasm_tools

COMPONENT = bytes.fromhex("0061736d0d000100")
LARGE = 24 * MIB


def leb128(value: int) -> bytes:
    """An unsigned integer as the binary format writes it (WebAssembly core, "Values")."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """An empty component with a custom section of some megabytes."""
    section = b"\x04mark" + bytes(LARGE)
    path = tmp_path / "large.wasm"
    path.write_bytes(COMPONENT + b"\x00" + leb128(len(section)) + section)
    return path


def validated(source: Path, **bounds: int) -> bytes:
    return run_wasm_tools(("validate",), source, Deadline.after_ms(20_000), max_bytes=1_000, **bounds)


def test_a_large_component_fits_into_the_platforms_bound(large: Path):
    assert validated(large) == b""


def test_a_bound_far_above_its_need_suffices(large: Path):
    assert validated(large, memory_bytes=6 * LARGE) == b""


@pytest.mark.security
def test_a_component_that_needs_more_memory_than_it_may_is_refused(large: Path):
    with pytest.raises(ToolRefusedError, match="memory"):
        validated(large, memory_bytes=LARGE - 4 * MIB)
