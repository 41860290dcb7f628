"""One compilation in a child process: what comes out runs, what goes wrong names whose fault it is."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from wasmtime import wat2wasm
from wasmtime.component import Component

from runner.aot import artefacts
from runner.aot.child import compile_component
from runner.aot.compile import CPU_GRACE_S, DATA_PER_RESIDENT, DATA_RESERVED_BYTES, REFUSED, main
from runner.aot.jobs import CompileLimits
from runner.sandbox.engine import EngineOptions, make_engine
from shared.deadline import Deadline
from shared.errors import ArtefactUnavailable, ComponentInvalid
from shared.limits import COMPILE_CPU_MAX_S, COMPILE_MEMORY_MAX_BYTES
from tests.runner.aot.heavy import children
from tests.runner.published import component
from tests.runner.waiting import until

pytestmark = pytest.mark.guests

USUAL = CompileLimits()


def soon() -> Deadline:
    return Deadline.after_ms(60_000)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.wasm"
    path.write_bytes(component())
    return path


async def test_the_code_can_be_mapped_from_sealed_memory_by_the_engine_of_the_sandboxes(source: Path, tmp_path: Path):
    target = tmp_path / "out.cwasm"
    await compile_component(source, target, fuel=False, limits=USUAL, deadline=soon())
    descriptor, _ = artefacts.unpack_sealed(artefacts.pack(target.read_bytes()))
    try:
        engine = make_engine(EngineOptions())
        loaded = Component.deserialize_file(engine, f"/proc/self/fd/{descriptor}")
        assert "handler" in loaded.type.exports(engine)
    finally:
        os.close(descriptor)


async def test_code_for_metering_is_other_code(source: Path, tmp_path: Path):
    for fuel in (False, True):
        await compile_component(source, tmp_path / f"{fuel}.cwasm", fuel=fuel, limits=USUAL, deadline=soon())
    assert (tmp_path / "False.cwasm").read_bytes() != (tmp_path / "True.cwasm").read_bytes()


@pytest.mark.parametrize(
    "data", [b"", b"not wasm", bytes(wat2wasm("(module)")), component()[:-10]], ids=["empty", "text", "core", "cut"]
)
async def test_what_does_not_compile_is_the_components_fault_and_says_why(source: Path, tmp_path: Path, data: bytes):
    source.write_bytes(data)
    with pytest.raises(ComponentInvalid, match=r"does not compile: .") as raised:
        await compile_component(source, tmp_path / "out.cwasm", fuel=False, limits=USUAL, deadline=soon())
    assert str(tmp_path) not in raised.value.detail
    assert not (tmp_path / "out.cwasm").exists()


async def test_no_time_left_is_not_the_components_fault_and_leaves_no_process(source: Path, tmp_path: Path):
    with pytest.raises(ArtefactUnavailable):
        await compile_component(source, tmp_path / "out.cwasm", fuel=False, limits=USUAL, deadline=Deadline.after_ms(1))
    assert children() == {}


async def test_cancelling_kills_the_child(source: Path, tmp_path: Path):
    task = asyncio.create_task(
        compile_component(source, tmp_path / "out.cwasm", fuel=False, limits=USUAL, deadline=soon())
    )
    await until(children)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert children() == {}


def test_the_child_is_confined_before_it_reads_anything(tmp_path: Path):
    program = """
import resource
from runner.aot.compile import confine
from runner.aot.jobs import CompileLimits
usual = CompileLimits()
confine(usual.cpu_s, usual.memory_bytes, usual.code_bytes)
for name in ("CPU", "DATA", "FSIZE", "CORE", "NOFILE"):
    print(*resource.getrlimit(getattr(resource, f"RLIMIT_{name}")))
"""
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={}, timeout=60
    ).stdout
    data = DATA_PER_RESIDENT * COMPILE_MEMORY_MAX_BYTES + DATA_RESERVED_BYTES
    assert [line.split() for line in said.splitlines()] == [
        [str(COMPILE_CPU_MAX_S), str(COMPILE_CPU_MAX_S + CPU_GRACE_S)],
        [str(data), str(data)],
        [str(artefacts.ARTEFACT_MAX_BYTES), str(artefacts.ARTEFACT_MAX_BYTES)],
        ["0", "0"],
        ["64", "64"],
    ]


def test_the_command_refuses_a_missing_argument():
    with pytest.raises(SystemExit):
        main(["in.wasm"])
    assert REFUSED not in {0, 1, 2}
