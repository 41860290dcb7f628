"""One compilation, in a process of its own: `python -m runner.aot.compile IN.wasm OUT.cwasm --fuel 0|1 LIMITS`.

The compiler reads what strangers wrote, so it runs where a fault costs one file: an empty environment, no keys, and
limits on processor time, memory and output that the kernel enforces. It dies with its parent. Exit status 3 means that
the component is at fault, and standard error says why; any other failure is the machine's.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Final

from shared.limits import GIB, MIB

REFUSED: Final = 3
CPU_GRACE_S: Final = 5  # between SIGXCPU, which names the reason, and SIGKILL, which does not
DATA_PER_RESIDENT: Final = 2  # a growing vector reserves twice what it has touched; who measures is the parent
DATA_RESERVED_BYTES: Final = 4 * GIB  # beside that: the sandboxes' pool sets 2 GiB of stacks aside, untouched
_PR_SET_PDEATHSIG: Final = 1
_MESSAGE_MAX_CHARS: Final = 600


def main(arguments: list[str]) -> int:
    """Compile one file; returns the exit status."""
    asked = _parser().parse_args(arguments)
    confine(asked.cpu_s, asked.memory_bytes, asked.code_bytes)

    # Imported behind the limits: loading the library is part of what they bound.
    from wasmtime import WasmtimeError
    from wasmtime.component import Component

    from runner.sandbox.engine import EngineOptions, make_engine, make_pooling_engine

    options = EngineOptions(fuel=asked.fuel == "1")
    try:
        code = Component.from_file(make_engine(options), str(asked.source)).serialize()
        # What no sandbox could map must be found out here: its pool compares what is declared with what it holds.
        Component.deserialize(make_pooling_engine(options), code)
        asked.target.write_bytes(code)
    except WasmtimeError as error:
        return _refused(" ".join(str(error).split())[:_MESSAGE_MAX_CHARS])
    except MemoryError:
        return _refused(f"it needs more than {asked.memory_bytes // MIB} MiB of memory")
    except OSError as error:
        if error.errno != errno.EFBIG:  # Python ignores SIGXFSZ, so the write itself fails
            raise
        return _refused(f"its native code has more than {asked.code_bytes} bytes")
    return 0


def confine(cpu_s: int, memory_bytes: int, code_bytes: int) -> None:
    """Put this process under its limits. No limit on address space: wasmtime reserves far more than it touches.

    Args:
        cpu_s: processor time.
        memory_bytes: what the parent allows to be resident; private memory is cut off well above that, in case that
            the parent cannot measure it in time.
        code_bytes: of the file it writes.
    """
    data_bytes = DATA_PER_RESIDENT * memory_bytes + DATA_RESERVED_BYTES
    for limit, soft, hard in (
        (resource.RLIMIT_CPU, cpu_s, cpu_s + CPU_GRACE_S),
        (resource.RLIMIT_DATA, data_bytes, data_bytes),
        (resource.RLIMIT_FSIZE, code_bytes, code_bytes),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_NOFILE, 64, 64),
    ):
        resource.setrlimit(limit, (soft, hard))
    parent = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0 or os.getppid() != parent:
        raise OSError(ctypes.get_errno(), "the compilation cannot be tied to its parent")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m runner.aot.compile")
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--fuel", choices=("0", "1"), required=True)
    parser.add_argument("--cpu-s", type=int, required=True)
    parser.add_argument("--memory-bytes", type=int, required=True)
    parser.add_argument("--code-bytes", type=int, required=True)
    return parser


def _refused(reason: str) -> int:
    sys.stderr.write(reason)
    return REFUSED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
