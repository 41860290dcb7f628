"""Large bodies echoed by the QuickJS guest: rows that wait for a way to pass bytes in bulk.

The plain way across the boundary costs a 32-byte value for each byte and ends at 2.6 MiB, so what it takes is no figure
of the way the bars are meant for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from deploy.local.record import Stack
from tests.bench.rows import Row

MISSING: Final = "needs the bulk-bytes setting"
BARS_MS: Final = {1: 20.0, 10: 200.0}
MEMORY_BAR: Final = 15.0  # times the body


def run(stack: Stack, directory: Path) -> list[Row]:
    """All rows of this bench."""
    return rows()


def rows() -> list[Row]:
    """What there will be to measure, and its bars."""
    found: list[Row] = []
    for size, bar_ms in BARS_MS.items():
        name = f"body of {size} MiB echoed by quickjs"
        found += [
            Row(name=f"{name}, p50", value=None, unit="ms", bar=bar_ms, missing=MISSING),
            Row(name=f"{name}, memory ÷ body", value=None, unit="×", bar=MEMORY_BAR, missing=MISSING),
        ]
    return found
