"""`python -m tests.bench [--only NAME] [--json]`: measures a stack of its own and prints ratios of one run.

Progress goes to standard error, the table (or JSON) to standard output, both to `bench.json`. What was measured is
printed also when a later bench fails.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from deploy.local import background, commands
from deploy.local.progress import Progress
from deploy.local.record import Stack
from deploy.local.stack import Options
from tests.bench import assets, bodies, execute, fairness, path, sandbox, scale
from tests.bench.progress import say
from tests.bench.rows import Row, encoded, show, write
from tests.soak import processes
from tests.soak.processes import Process

BENCHES: Final[dict[str, Callable[[Stack, Path], list[Row]]]] = {
    "sandbox": sandbox.run,
    "execute": execute.run,
    "path": path.run,
    "fairness": fairness.run,
    "bodies": bodies.run,
    "assets": assets.run,
    "scale": scale.run,
}
KEPT: Final = Path(".local/bench")


def measured(names: list[str], rows: list[Row]) -> None:
    """Start a stack on random ports, run the benches, add to `rows` what each of them found."""
    seen: frozenset[Process] = frozenset()
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        try:
            say("starting a stack")
            with background.attached(Options(directory=Path(directory), random_ports=True)) as stack:
                try:
                    for name in names:
                        began = time.monotonic()
                        rows += BENCHES[name](stack, KEPT)
                        say(f"{name}: done in {time.monotonic() - began:.0f} s")
                finally:
                    seen = processes.read(stack.pids["runner"], 0).processes
        finally:
            commands.reset(Path(directory), Progress(sys.stderr))
            end(seen)


def end(seen: Iterable[Process]) -> None:
    """Kill what is left of these processes, and say so: none of them should outlive its stack."""
    for pid in asyncio.run(processes.left(seen)):
        say(f"process {pid} of the runner outlived the stack; it is killed")
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def main() -> None:
    """Measure, print, write `bench.json`."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--only", choices=sorted(BENCHES), help="run one bench")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    chosen = parser.parse_args()
    rows: list[Row] = []
    try:
        with contextlib.redirect_stdout(sys.stderr):  # logs of what runs in this process
            measured([chosen.only] if chosen.only else list(BENCHES), rows)
    finally:
        if rows:
            write(rows, Path("bench.json"))
        if chosen.json:
            sys.stdout.write(encoded(rows).decode())
        else:
            show(rows)


if __name__ == "__main__":
    main()
