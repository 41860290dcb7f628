"""One compilation, in a process of its own: `python -m runner.aot.compile IN.wasm OUT.cwasm --fuel 0|1`.

The compiler reads what strangers wrote, so it runs where a fault costs one file: an empty environment, no keys, and
limits on CPU time, memory and output that the kernel enforces. It dies with its parent. Exit status 3 means that the
component is at fault, and standard error says why; any other failure is the machine's.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Final

from shared.limits import GIB, PREPARE_MAX_S

REFUSED: Final = 3
DATA_MAX_BYTES: Final = 4 * GIB  # private memory, ten times what componentize-py's 18 MiB need
OUTPUT_MAX_BYTES: Final = 1 * GIB
_PR_SET_PDEATHSIG: Final = 1
_MESSAGE_MAX_CHARS: Final = 600


def main(arguments: list[str]) -> int:
    """Compile one file; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m runner.aot.compile")
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--fuel", choices=("0", "1"), required=True)
    asked = parser.parse_args(arguments)
    confine()

    # Imported behind the limits: loading the library is part of what they bound.
    from wasmtime import WasmtimeError
    from wasmtime.component import Component

    from runner.sandbox.engine import EngineOptions, make_engine

    engine = make_engine(EngineOptions(fuel=asked.fuel == "1"))
    try:
        code = Component.from_file(engine, str(asked.source)).serialize()
    except WasmtimeError as error:
        sys.stderr.write(" ".join(str(error).split())[:_MESSAGE_MAX_CHARS])
        return REFUSED
    asked.target.write_bytes(code)
    return 0


def confine() -> None:
    """Put this process under its limits. No limit on address space: wasmtime reserves far more than it touches."""
    for limit, value in (
        (resource.RLIMIT_CPU, PREPARE_MAX_S),
        (resource.RLIMIT_DATA, DATA_MAX_BYTES),
        (resource.RLIMIT_FSIZE, OUTPUT_MAX_BYTES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        resource.setrlimit(limit, (value, value))
    parent = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0 or os.getppid() != parent:
        raise OSError(ctypes.get_errno(), "the compilation cannot be tied to its parent")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
