"""Components of our own making that cost a compiler as much as a test wants, and children of ours that compile."""

from __future__ import annotations

import contextlib
import os
import random
from pathlib import Path

from wasmtime import wat2wasm

from tests.runner.published import WAT


def heavy(statements: int) -> bytes:
    """One function of `statements` loads and branches: about 13 µs of compiling and 4 KiB of memory for each."""
    return bytes(wat2wasm(f"(component {_module(statements, 0)})"))


def heavy_guest(statements: int, mark: int = 0) -> bytes:
    """A component of our world that carries such a function; `mark` makes another one of it."""
    text = WAT.read_text().rstrip()
    assert text.endswith(")")
    return bytes(wat2wasm(text[:-1] + _module(statements, mark) + ")"))


def _module(statements: int, mark: int) -> str:
    chance = random.Random(mark)  # different offsets: a bundle that compresses too well is refused
    body = "".join(
        f"(local.set 0 (i32.add (local.get 0) (i32.load offset={chance.getrandbits(30)} (local.get 0))))"
        "(br_if 0 (local.get 0))"
        for _ in range(statements)
    )
    return f"(core module (memory 1) (func (local i32) (block {body})))"


def children(parent: int | None = None) -> dict[int, str]:
    """The compilations that are children of `parent` (of ours) and not yet over: process id → command line."""
    wanted = str(os.getpid() if parent is None else parent)
    found: dict[int, str] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if (entry / "stat").read_text().rpartition(")")[2].split()[1] == wanted:
                found[int(entry.name)] = (entry / "cmdline").read_text()
    return {pid: line for pid, line in found.items() if "runner.aot.compile" in line}
