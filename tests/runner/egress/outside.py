"""One worker's way out, with everything it tells kept where a test can read it."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import AsyncIterator

import msgspec

from runner.egress.fetch import Egress, Execution, Fetches, open_egress
from runner.egress.http1 import Answer
from runner.egress.policy import EgressPolicy
from runner.egress.report import Caller
from runner.egress.slots import Slots, create_page
from shared.deadline import Deadline
from shared.debug_event import Level, Stream
from shared.egress import Denied, Reason
from shared.egress_url import Endpoint, Target, parse_endpoint

CALLER = Caller("acme", "extension", "install", "r-1")
TIMEOUT_MS = 10_000


class Told:
    """What the author of an extension can read, and what stands in the record."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.incidents: list[str] = []
        self.targets: Counter[tuple[str, str, bool, bool]] = Counter()

    def record(self, level: Level, stream: Stream, message: str) -> None:
        assert stream == "system"
        self.messages.append(message)

    def incident(self, code: str, message: str) -> None:
        self.incidents.append(code)
        self.messages.append(message)

    def denied_target(self, target: str, reason: str, *, grantable: bool, observed: bool = False) -> None:
        self.targets[target, reason, grantable, observed] += 1


class Counted:
    """Counts decisions as the metrics do."""

    def __init__(self) -> None:
        self.seen: Counter[tuple[str, str]] = Counter()

    def egress(self, verdict: str, reason: str) -> None:
        self.seen[verdict, str(reason)] += 1


class NoSecrets:
    """Of an install to which nobody gave any."""

    async def inject(self, name: str, target: Target) -> str | Denied:
        return Denied(Reason.SECRET, f"no secret {name!r} is set for this install")


class Outside(msgspec.Struct, frozen=True):
    """The way out, and what it told."""

    egress: Egress
    metrics: Counted
    told: Told

    def fetches(
        self,
        *grants: str,
        caller: Caller = CALLER,
        timeout_ms: float = TIMEOUT_MS,
        secrets: NoSecrets | None = None,
        sizes: list[int] | None = None,
    ) -> Fetches:
        """The fetches of one execution of an install with these grants."""
        return Fetches(
            self.egress,
            Execution(
                caller=caller,
                grants=grants,
                deadline=Deadline.after_ms(timeout_ms),
                recorder=self.told,
                count=(sizes if sizes is not None else []).append,
                secrets=secrets or NoSecrets(),
            ),
        )

    async def get(self, url: str, *headers: tuple[str, str], grant: str | None = None, **more: object) -> Answer | str:
        """One `GET` by an install that was granted `grant`, or the URL's own origin."""
        granted = grant if grant is not None else "/".join(url.split("/")[:3])
        return await self.fetches(granted, **more).fetch("GET", url, headers, b"")  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def outside(**policy: object) -> AsyncIterator[Outside]:
    """A way out with this policy."""
    metrics = Counted()
    page = create_page()
    try:
        async with open_egress(EgressPolicy(**policy), Slots(page), metrics) as egress:  # type: ignore[arg-type]
            yield Outside(egress, metrics, Told())
    finally:
        os.close(page)


def private(*endpoints: str) -> frozenset[Endpoint]:
    """What skips the address table."""
    return frozenset(map(parse_endpoint, endpoints))
