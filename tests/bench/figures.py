"""The arithmetic of measured values: percentiles by nearest rank, which always name a value that was measured."""

from __future__ import annotations

from collections.abc import Sequence


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that at least `percent` of a hundred values do not exceed.

    Args:
        values: in any order.
        percent: 1 to 100; whole, so that no rounding decides which value it is.

    Raises:
        ValueError: there are no values, or there is no such percentile.
    """
    if not values:
        raise ValueError("nothing was measured")
    if not 1 <= percent <= 100:
        raise ValueError("percent must be 1 to 100")
    return sorted(values)[-(-len(values) * percent // 100) - 1]


def median(values: Sequence[float]) -> float:
    """The value in the middle; of an even number the lower one. Raises `ValueError` when there is none."""
    return percentile(values, 50)
