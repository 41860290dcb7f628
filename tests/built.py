"""Guests that tests build, kept between sessions: a toolchain takes up to half a minute, native code as long again.

A component is kept under the digest of everything its build depends on, native code under the digest of the component
and the engine that made it, both compressed in `.local/build/tests`. One of each name is kept; what is out of date goes
when its successor comes. Two sessions at once do the work twice and each leaves a whole file.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import zstandard

from gateway.cli.build import build_guest, source_digest
from runner.sandbox.engine import EngineOptions, engine_id
from shared.digest import sha256_hex
from tests.runner.sandbox.driving import compiled

KEPT: Final = Path(__file__).parents[1] / ".local" / "build" / "tests"
DIGEST_CHARS: Final = 16  # 64 bits tell the builds of one guest apart
LEVEL: Final = 1  # a tenth of a second; the next level saves nothing worth its time


def component(name: str, project: Path, wit: Path) -> bytes:
    """The guest of `project` for the world in `wit`, built with its real toolchain unless that was done before.

    Args:
        name: what to keep it under; a guest that changes keeps its name.
        project: as for `gateway.cli.build.build_guest`.
        wit: likewise.

    Raises:
        BuildError: the project or its toolchain is at fault.
    """

    def build() -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            return build_guest(project, Path(folder) / "tree", wit=wit, log=lambda _line: None).read_bytes()

    return _kept(f"{name}.wasm", source_digest(project, wit), build)


def native(name: str, wasm: bytes) -> bytes:
    """The native code of a component for the sandboxes' engine, compiled unless that was done before."""

    def compile_it() -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "main.wasm"
            path.write_bytes(wasm)
            return compiled(path)

    return _kept(f"{name}.cwasm", sha256_hex(engine_id(EngineOptions()).encode() + wasm), compile_it)


def _kept(name: str, digest: str, make: Callable[[], bytes]) -> bytes:
    file = KEPT / f"{name}-{digest[:DIGEST_CHARS]}.zst"
    with contextlib.suppress(FileNotFoundError):
        return zstandard.ZstdDecompressor().decompress(file.read_bytes())
    made = make()
    KEPT.mkdir(parents=True, exist_ok=True)
    for outdated in KEPT.glob(f"{name}-{'?' * DIGEST_CHARS}.zst"):
        outdated.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=KEPT) as folder:
        scratch = Path(folder) / file.name
        scratch.write_bytes(zstandard.ZstdCompressor(LEVEL).compress(made))
        scratch.replace(file)
    return made
