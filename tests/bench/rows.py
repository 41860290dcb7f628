"""The rows of a bench: printed as a table, written as `bench.json`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table

WIDTH_MIN_CHARS: Final = 140  # where no terminal says how wide it is, no name is broken


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One figure, the peer's figure of the same run, and the bar.

    Attributes:
        value: what was measured; `None` when it cannot be, then `missing` says why.
        peer, peer_value: what it is compared with, in the same unit; then the ratio counts, not the value.
        bar: what must be reached: of `ratio` when there is a peer, else of `value`; `None` when it only informs.
        lower: whether smaller is better.
        missing: what there would have to be for a value: "needs …".
    """

    name: str
    value: float | None
    unit: str
    peer: str = ""
    peer_value: float | None = None
    bar: float | None = None
    lower: bool = True
    missing: str = ""

    def __post_init__(self) -> None:
        """Raises `ValueError` for a row that neither has a value nor says why."""
        if (self.value is None) != bool(self.missing):
            raise ValueError(f"{self.name}: a value, or what is missing for one")

    @property
    def ratio(self) -> float | None:
        """The value ÷ the peer's."""
        return self.value / self.peer_value if self.value is not None and self.peer_value else None

    @property
    def met(self) -> bool | None:
        """Whether the bar is reached; `None` without a bar or a value. A peer that did nothing is no proof of it."""
        if self.bar is None or self.value is None:
            return None
        compared = self.value if self.peer_value is None else self.ratio
        if compared is None:
            return False
        return compared <= self.bar if self.lower else compared >= self.bar

    def described(self) -> dict[str, object]:
        """The row of `bench.json`."""
        return {
            "name": self.name,
            "value": _rounded(self.value),
            "unit": self.unit,
            "peer": self.peer or None,
            "peer_value": _rounded(self.peer_value),
            "ratio": _rounded(self.ratio),
            "bar": self.bar,
            "met": self.met,
            "missing": self.missing or None,
        }


def encoded(rows: Sequence[Row]) -> bytes:
    """The rows as JSON, a field a line."""
    return msgspec.json.format(msgspec.json.encode([row.described() for row in rows]), indent=2) + b"\n"


def show(rows: Sequence[Row]) -> None:
    """Print the table."""
    table = Table(box=None, pad_edge=False)
    table.add_column("figure")
    for heading in ("value", "peer's", "ratio", "bar"):
        table.add_column(heading, justify="right")
    table.add_column("met")
    for row in rows:
        table.add_row(*_cells(row))
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, WIDTH_MIN_CHARS)
    console.print(table)


def write(rows: Sequence[Row], path: Path) -> None:
    """Write `bench.json`."""
    path.write_bytes(encoded(rows))


def _cells(row: Row) -> tuple[str, str, str, str, str, str]:
    name = f"{row.name} ({row.missing})" if row.missing else row.name
    value = "n/a" if row.value is None else f"{row.value:.2f} {row.unit}".rstrip()
    peer = "" if row.peer_value is None else f"{row.peer_value:.2f} {row.peer}"
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}×"
    bar = "" if row.bar is None else f"{'≤' if row.lower else '≥'} {row.bar:g}"
    return name, value, peer, ratio, bar, {None: "", True: "yes", False: "NO"}[row.met]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
