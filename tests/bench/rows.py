"""The rows of a bench: printed as a table, written as `bench.json`."""

from __future__ import annotations

from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One figure, the peer's figure of the same run, and the bar.

    Attributes:
        bar: what must be reached: of `ratio` when there is a peer, else of `value`; `None` when it only informs.
        lower: whether smaller is better.
    """

    name: str
    value: float
    unit: str
    peer: str = ""
    peer_value: float | None = None
    bar: float | None = None
    lower: bool = True

    @property
    def ratio(self) -> float | None:
        """The value ÷ the peer's."""
        return self.value / self.peer_value if self.peer_value else None

    @property
    def met(self) -> bool | None:
        """Whether the bar is reached; `None` without one."""
        if self.bar is None:
            return None
        compared = self.value if self.ratio is None else self.ratio
        return compared <= self.bar if self.lower else compared >= self.bar

    def described(self) -> dict[str, object]:
        """The row of `bench.json`."""
        return {
            "name": self.name,
            "value": round(self.value, 4),
            "unit": self.unit,
            "peer": self.peer or None,
            "peer_value": None if self.peer_value is None else round(self.peer_value, 4),
            "ratio": None if self.ratio is None else round(self.ratio, 4),
            "bar": self.bar,
            "met": self.met,
        }


def show(rows: list[Row]) -> None:
    """Print the table."""
    table = Table(box=None, pad_edge=False)
    table.add_column("figure")
    for heading in ("value", "peer's", "ratio", "bar"):
        table.add_column(heading, justify="right")
    table.add_column("met")
    for row in rows:
        peer = "" if row.peer_value is None else f"{row.peer_value:.2f} {row.peer}"
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}×"
        sign = "≤" if row.lower else "≥"
        bar = "" if row.bar is None else f"{sign} {row.bar:g}"
        met = {None: "", True: "yes", False: "NO"}[row.met]
        table.add_row(row.name, f"{row.value:.2f} {row.unit}", peer, ratio, bar, met)
    Console().print(table)


def write(rows: list[Row], path: Path) -> None:
    """Write `bench.json`."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode([row.described() for row in rows]), indent=2) + b"\n")
