"""How many calls may be repeated: a share of those that were made, so that a fault is never amplified.

A token bucket that calls fill and retries empty, as in Finagle's retry budget: in calm times it is full and a
single failure is always repeated; when everything fails, at most the share is sent twice.
"""

from __future__ import annotations

from shared.limits import RUNNER_RETRY_SHARE


class RetryBudget:
    """Counts calls against retries.

    Args:
        share: retries for each call, 0 to 1.
        reserve: retries that are free after calm times.
    """

    def __init__(self, share: float = RUNNER_RETRY_SHARE, reserve: float = 10.0) -> None:
        self._share = share
        self._reserve = reserve
        self._left = reserve

    def call(self) -> None:
        """Note a first attempt."""
        self._left = min(self._reserve, self._left + self._share)

    def take(self) -> bool:
        """Whether one retry may be made now; it is counted when so."""
        if self._left < 1:
            return False
        self._left -= 1
        return True
