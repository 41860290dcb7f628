"""The bound sandboxes of one worker that wait for their tenant's next call.

Who was used last is found first and given up last. An idle sandbox keeps pages of its guest's memory, which makes its next
call two to three times as fast (0006); how much all of them keep is bounded. Beyond the bound, those that waited longest
give theirs back, though never within `TRIM_IDLE_S`, so that a busy one is not disturbed; after `KEPT_IDLE_S` everybody does.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from shared.limits import KEPT_IDLE_S, TRIM_IDLE_S

if TYPE_CHECKING:
    from runner.sandbox.process import Sandbox


class Idle:
    """Idle sandboxes in the order of their last use.

    Args:
        kept_max_bytes: what they may keep of their guests' memory, all together.
    """

    def __init__(self, kept_max_bytes: int) -> None:
        self._kept_max_bytes = kept_max_bytes
        self._sandboxes: OrderedDict[Sandbox, None] = OrderedDict()
        self._of: dict[str, list[Sandbox]] = {}

    def __len__(self) -> int:
        return len(self._sandboxes)

    def __iter__(self) -> Iterator[Sandbox]:
        return iter(self._sandboxes)

    def of(self, tenant: str) -> Sequence[Sandbox]:
        """Those of one tenant, last used first."""
        return self._of.get(tenant, [])[::-1]

    def oldest(self) -> Sandbox:
        """The one that waited longest; there must be one."""
        return next(iter(self._sandboxes))

    def add(self, sandbox: Sandbox) -> None:
        """One that ended a call."""
        self._sandboxes[sandbox] = None
        self._of.setdefault(sandbox.tenant or "", []).append(sandbox)

    def leave(self, sandbox: Sandbox) -> None:
        """Forget it: it has a call, or it ended. Harmless when it is not here."""
        if sandbox not in self._sandboxes:
            return
        del self._sandboxes[sandbox]
        tenant = sandbox.tenant or ""
        siblings = self._of[tenant]
        siblings.remove(sandbox)
        if not siblings:
            del self._of[tenant]

    def trim(self, now_s: float) -> None:
        """Have memory given back that is too much, or was kept for too long. `now_s` is the event loop's time."""
        left_bytes = self._kept_max_bytes
        for sandbox in reversed(self._sandboxes):
            if sandbox.trimmed:
                continue
            idle_s = now_s - sandbox.idle_since_s
            left_bytes -= sandbox.kept_bytes
            if idle_s >= TRIM_IDLE_S and (left_bytes < 0 or idle_s >= KEPT_IDLE_S):
                sandbox.trim()
