"""Who runs next: a bounded number of slots, given to whoever has used the least processor time lately.

A slot stands for a guest that may use a core. A guest that waits in a host call lends its slot to the next one and
takes it back when the answer comes; the short excess costs less than an idle core. While others are active a tenant
leaves one slot free, so that a newcomer need not wait for one of its calls to end, and one that floods is paced
(`pacing`). Queues are bounded, and an early 429 or 503 keeps goodput flat when more arrives than can be served.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Collection
from itertools import islice
from typing import Final

from runner.sandbox.pacing import Pacing
from runner.sandbox.shares import Shares
from shared.deadline import Deadline
from shared.errors import Overloaded, TenantOverConcurrency
from shared.limits import QUEUE_MAX, TENANT_QUEUE_MAX

Waiter = asyncio.Future[None]

COMPARED_MAX: Final = 16  # tenants whose use is compared for one turn; the others come nearer with each turn
SEEN_MAX: Final = 64  # tenants asked whether they may run at all, for one turn
ASK_AGAIN_S: Final = 0.001  # until the others of so many are asked


class FairQueue:
    """Slots shared by turns.

    Args:
        slots: guests that may compute at the same time in this worker.
        shares: what tenants have used, in all workers.
        tenant_queue_max: waiting calls of one tenant; one more answers 429.
        queue_max: waiting calls in all; one more answers 503.
        share: cores that a flooding tenant may use in this worker while others are calm.
    """

    def __init__(
        self,
        slots: int,
        shares: Shares,
        tenant_queue_max: int = TENANT_QUEUE_MAX,
        queue_max: int = QUEUE_MAX,
        share: float = 1.0,
    ) -> None:
        self.slots = slots
        self.running = 0
        self.waiting = 0
        self._shares = shares
        self._pacing = Pacing(shares, share)
        self._wake_later: asyncio.TimerHandle | None = None
        self._wake_at_s = 0.0  # kept here: for less than a millisecond uvloop gives a handle that does not know
        self._tenant_queue_max = tenant_queue_max
        self._queue_max = queue_max
        self._running_of: Counter[str] = Counter()
        self._queues: OrderedDict[str, deque[Waiter]] = OrderedDict()

    async def acquire(self, tenant: str, deadline: Deadline) -> None:
        """Take a slot, waiting for the tenant's turn; give it back with `release`.

        Raises:
            TenantOverConcurrency: the tenant's queue is full.
            Overloaded: all queues are full, or the turn did not come before the deadline.
        """
        if self.running < self.slots and not self.waiting and self._pacing.may_start(tenant) and self._may_run(tenant):
            self._take(tenant)
            return
        queue = self._queues.get(tenant)
        if queue is not None and len(queue) >= self._tenant_queue_max:
            raise TenantOverConcurrency(
                f"{self._tenant_queue_max} calls of this tenant wait already; try again later", retry_after_s=1
            )
        if self.waiting >= self._queue_max:
            raise Overloaded(f"{self._queue_max} calls wait already; try again later", retry_after_s=1)
        await self._wait(tenant, deadline)

    def release(self, tenant: str, cpu_us: int) -> None:
        """Give a slot back and account for what was used; the next in turn gets it."""
        waiting = self._waiting_of(tenant)
        self._shares.charge(tenant, cpu_us, calm=not waiting and self._running_of[tenant] == 1)
        self._pacing.ended(tenant, cpu_us, waiting)
        self._give(tenant)

    def yields(self, tenant: str) -> bool:
        """Whether a call of `tenant` should give way to those of others while it computes."""
        return self._pacing.yields(tenant, self._waiting_of(tenant))

    def lend(self, tenant: str) -> None:
        """The guest waits in a host call: somebody else may compute."""
        self._give(tenant)

    def take_back(self, tenant: str) -> None:
        """The guest computes again, even when that makes one too many for a moment."""
        self._take(tenant)

    def _waiting_of(self, tenant: str) -> int:
        return len(self._queues.get(tenant, ()))

    def _take(self, tenant: str) -> None:
        self.running += 1
        self._running_of[tenant] += 1

    def _give(self, tenant: str) -> None:
        self.running -= 1
        self._running_of[tenant] -= 1
        if not self._running_of[tenant]:
            del self._running_of[tenant]
        self._wake()

    def _may_run(self, tenant: str) -> bool:
        """Whether a further call of the tenant leaves others, where there are any, what is theirs."""
        running = self._running_of[tenant]
        return running == 0 or running < self.slots - 1 or not self._shares.others_active(tenant)

    async def _wait(self, tenant: str, deadline: Deadline) -> None:
        waiter: Waiter = asyncio.get_running_loop().create_future()
        self._queues.setdefault(tenant, deque()).append(waiter)
        self.waiting += 1
        try:
            self._wake()
            async with asyncio.timeout(deadline.remaining_s()):
                await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled():
                self._give(tenant)  # the turn came in the very moment the caller left
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

    def _wake(self) -> None:
        while self.running < self.slots:
            tenant, held_back = self._next()
            if tenant is None:
                self._come_back(held_back)
                return
            queue = self._queues[tenant]
            waiter = queue.popleft()
            self.waiting -= 1
            if queue:
                self._queues.move_to_end(tenant)
            else:
                del self._queues[tenant]
            if not waiter.done():
                self._take(tenant)
                waiter.set_result(None)

    def _come_back(self, held_back: Collection[str]) -> None:
        """Nobody may run though some wait: look again when the time of the first that is held back has come.

        Whoever waits for a call of its own to end is looked at when that ends, and not before.
        """
        wait_s = self._pacing.soonest_s(held_back) if held_back else None
        if len(self._queues) > SEEN_MAX:  # somebody was not asked
            wait_s = ASK_AGAIN_S if wait_s is None else min(wait_s, ASK_AGAIN_S)
        if wait_s is None:
            return
        loop = asyncio.get_running_loop()
        if self._wake_later is not None:
            if self._wake_at_s <= loop.time() + wait_s:
                return
            self._wake_later.cancel()
        self._wake_at_s = loop.time() + wait_s
        self._wake_later = loop.call_later(wait_s, self._look_again)

    def _look_again(self) -> None:
        self._wake_later = None
        self._wake()

    def _next(self) -> tuple[str | None, list[str]]:
        """The waiting tenant that has used the least and may run, and who is held back only by its pace.

        Those who waited longest are looked at first. Who may not run goes to the end, so that a crowd hides nobody.
        """
        allowed: list[str] = []
        held_back: list[str] = []
        for tenant in tuple(islice(self._queues, SEEN_MAX)):
            if len(allowed) == COMPARED_MAX:
                break
            paced = not self._pacing.may_start(tenant)
            if paced:
                held_back.append(tenant)
            if paced or not self._may_run(tenant):
                self._queues.move_to_end(tenant)
            else:
                allowed.append(tenant)
        return min(allowed, key=self._shares.used_us, default=None), held_back
