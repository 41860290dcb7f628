"""Who runs next: a bounded number of slots, one queue for each tenant, turns taken between tenants.

A slot stands for a guest that may use a core. A guest that waits in a host call lends its slot to the next one and
takes it back when the answer comes; the short excess costs less than an idle core. Queues are bounded, and an early
429 or 503 keeps goodput flat when more arrives than can be served.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque

from shared.deadline import Deadline
from shared.errors import Overloaded, TenantOverConcurrency
from shared.limits import QUEUE_MAX, TENANT_QUEUE_MAX

Waiter = asyncio.Future[None]


class FairQueue:
    """Slots shared by turns.

    Args:
        slots: guests that may compute at the same time.
        tenant_queue_max: waiting calls of one tenant; one more answers 429.
        queue_max: waiting calls in all; one more answers 503.
    """

    def __init__(self, slots: int, tenant_queue_max: int = TENANT_QUEUE_MAX, queue_max: int = QUEUE_MAX) -> None:
        self.slots = slots
        self.running = 0
        self.waiting = 0
        self._tenant_queue_max = tenant_queue_max
        self._queue_max = queue_max
        self._queues: OrderedDict[str, deque[Waiter]] = OrderedDict()

    async def acquire(self, tenant: str, deadline: Deadline) -> None:
        """Take a slot, waiting for the tenant's turn; give it back with `release`.

        Raises:
            TenantOverConcurrency: the tenant's queue is full.
            Overloaded: all queues are full, or the turn did not come before the deadline.
        """
        if self.running < self.slots and not self.waiting:
            self.running += 1
            return
        queue = self._queues.get(tenant)
        if queue is not None and len(queue) >= self._tenant_queue_max:
            raise TenantOverConcurrency(
                f"{self._tenant_queue_max} calls of this tenant wait already; try again later", retry_after_s=1
            )
        if self.waiting >= self._queue_max:
            raise Overloaded(f"{self._queue_max} calls wait already; try again later", retry_after_s=1)
        await self._wait(tenant, deadline)

    async def _wait(self, tenant: str, deadline: Deadline) -> None:
        waiter: Waiter = asyncio.get_running_loop().create_future()
        self._queues.setdefault(tenant, deque()).append(waiter)
        self.waiting += 1
        try:
            async with asyncio.timeout(deadline.remaining_s()):
                await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled():
                self.release()  # the turn came in the very moment the caller left
            else:
                self._forget(tenant, waiter)
            if isinstance(error, TimeoutError):
                raise Overloaded("no slot came free before the deadline; try again later", retry_after_s=1) from error
            raise

    def _forget(self, tenant: str, waiter: Waiter) -> None:
        queue = self._queues.get(tenant)
        if queue is not None and waiter in queue:
            queue.remove(waiter)
            self.waiting -= 1
            if not queue:
                del self._queues[tenant]

    def release(self) -> None:
        """Give a slot back; the next tenant in turn gets it."""
        self.running -= 1
        self._wake()

    def lend(self) -> None:
        """The guest waits in a host call: somebody else may compute."""
        self.release()

    def take_back(self) -> None:
        """The guest computes again, even when that makes one too many for a moment."""
        self.running += 1

    def _wake(self) -> None:
        while self.running < self.slots and self._queues:
            tenant, queue = next(iter(self._queues.items()))
            waiter = queue.popleft()
            self.waiting -= 1
            if queue:
                self._queues.move_to_end(tenant)
            else:
                del self._queues[tenant]
            if not waiter.done():
                self.running += 1
                waiter.set_result(None)
