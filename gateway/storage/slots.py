"""How many of a tenant's questions may be at the database at once: the rest wait their turn here.

Writers of one install wait for each other's counts in the database, each holding a connection; without a bound, one
tenant's guests could hold all of them, and everybody else's calls would stand still. A turn comes in the order of
asking.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.errors import PlatformError, StorageRateLimited
from shared.limits import STORAGE_TENANT_CALLS_MAX, STORAGE_TENANT_WAITING_MAX

_RETRY_AFTER_S = 1


class _Tenant:
    def __init__(self, calls: int) -> None:
        self.turns = asyncio.Semaphore(calls)
        self.present = 0


class Slots:
    """The turns of one gateway process.

    Args:
        calls: of one tenant at once.
        refused: what those are told for whom there is no room to wait.
    """

    def __init__(
        self, calls: int = STORAGE_TENANT_CALLS_MAX, refused: type[PlatformError] = StorageRateLimited
    ) -> None:
        self._calls, self._refused = calls, refused
        self._tenants: dict[str, _Tenant] = {}

    @asynccontextmanager
    async def turn(self, tenant_id: str) -> AsyncIterator[None]:
        """Wait for a turn, which ends with the block. Raises what refuses when too many wait already."""
        tenant = self._tenants.setdefault(tenant_id, _Tenant(self._calls))
        if tenant.present >= self._calls + STORAGE_TENANT_WAITING_MAX:
            raise self._refused("too many such requests of this tenant wait", retry_after_s=_RETRY_AFTER_S)
        tenant.present += 1
        try:
            async with tenant.turns:
                yield
        finally:
            tenant.present -= 1
            if not tenant.present:
                del self._tenants[tenant_id]
