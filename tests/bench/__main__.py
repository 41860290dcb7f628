"""`python -m tests.bench [--only NAME]`: measures a stack of its own and prints ratios of one run."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from deploy.local import background, commands
from deploy.local.progress import Progress
from deploy.local.record import Stack
from deploy.local.stack import Options
from tests.bench import execute, fairness
from tests.bench.rows import Row, show, write

BENCHES: Final[dict[str, Callable[[Stack, Path], list[Row]]]] = {"execute": execute.run, "fairness": fairness.run}
KEPT: Final = Path(".local/bench")


def main() -> None:
    """Start a stack on random ports, run the benches, print, write `bench.json`."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--only", choices=sorted(BENCHES))
    only = parser.parse_args().only
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        try:
            with background.attached(Options(directory=Path(directory), random_ports=True)) as stack:
                for name, bench in BENCHES.items():
                    if only in (None, name):
                        rows += bench(stack, KEPT)
        finally:
            commands.reset(Path(directory), Progress())
    show(rows)
    write(rows, Path("bench.json"))


if __name__ == "__main__":
    main()
