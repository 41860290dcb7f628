"""`python -m tests.soak [--calls N] [--minutes M] [--only PHASE] [--json]`: does it stay right and flat for long.

Starts a stack of its own. Progress goes to standard error, the table (or JSON) to standard output; the exit status is 1
when a bar is not met.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import msgspec

from deploy.local import background, commands
from deploy.local.progress import Progress
from deploy.local.record import Stack
from deploy.local.stack import Options
from tests.bench.rows import Row, show
from tests.soak import canaries, executions, growth
from tests.soak.executions import SLOPE_FROM_CALLS, Bounds

CALLS: Final = 100_000
CANARY_SHARE: Final = 0.5  # of the calls, once more, in the second phase
PHASES: Final = ("executions", "growth", "canaries")


def say(text: str) -> None:
    """One line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


async def measured(stack: Stack, directory: Path, phases: tuple[str, ...], bounds: Bounds) -> list[Row]:
    """The rows of these phases, one after the other."""
    rows: list[Row] = []
    if "executions" in phases:
        rows += await executions.run(stack, directory / "runner", bounds, say)
    if "growth" in phases and bounds.calls >= SLOPE_FROM_CALLS:
        rows += await growth.run(stack, directory / "growing", say)
    if "canaries" in phases:
        fewer = Bounds(int(bounds.calls * CANARY_SHARE), bounds.seconds * CANARY_SHARE)
        rows += await canaries.run(stack, fewer, say)
    return rows


def main() -> int:
    """Start a stack, run, print; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument(
        "--calls", type=int, help=f"executions of the first phase ({CALLS:,} unless --minutes is given)"
    )
    parser.add_argument(
        "--minutes", type=float, help="end the first phase after this long, the second after half of it"
    )
    parser.add_argument("--only", choices=PHASES, help="run one phase")
    parser.add_argument("--json", action="store_true", help="print rows as JSON")
    chosen = parser.parse_args()
    seconds = chosen.minutes * 60 if chosen.minutes else float("inf")
    bounds = Bounds(chosen.calls or (CALLS if chosen.minutes is None else sys.maxsize), seconds)
    phases = (chosen.only,) if chosen.only else PHASES
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        directory = Path(name)
        try:
            say("starting a stack")
            with background.attached(Options(directory=directory, random_ports=True)) as stack:
                rows = asyncio.run(measured(stack, directory, phases, bounds))
        finally:
            commands.reset(directory, Progress())
    if chosen.json:
        print(msgspec.json.encode([row.described() for row in rows]).decode())
    else:
        show(rows)
    return 1 if any(row.met is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
