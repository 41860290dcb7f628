"""The second phase: two tenants, each with a canary nobody else may ever see, interleaved through the same runner.

A canary travels wherever a tenant's data travels: in bodies, queries, paths, headers, settings, the user, request ids.
Guests echo it, trap with it, loop with it, fail in host calls with it. Everything that comes out is searched for the
other one's: answers and errors with their headers, the debug streams, the records, and the memory of every sandbox,
which belongs to one tenant for life.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections import Counter
from typing import Final

import msgspec

from deploy.local.record import Extension, Stack
from shared import wire
from shared.capabilities import DEFAULTS, INTERFACES
from tests.bench.rows import Row
from tests.soak.asking import Ask, Caller, Told, calling
from tests.soak.executions import Bounds, Say, samples
from tests.soak.expecting import TURNED_AWAY
from tests.soak.searching import Dumper, Seen, Side, search_metrics, search_records, watched_streams
from tests.system.acting import Visitor, visiting

LOOPS: Final = 8
DUMPS: Final = 8
SHOWN: Final = 10
LOOK_S: Final = 0.5
GATEWAY_SHARE: Final = 0.1  # of the calls go through the gateway, whose records are searched
EVERYTHING: Final = tuple(sorted(set(INTERFACES.values())))
ENDS: Final = {"/trap": "guest_trapped", "/loop": "guest_timeout"}


class Mingling:
    """Calls of both tenants in no order, from several loops.

    Args:
        caller: asks the runner.
        visitor: asks the gateway.
        stack: where both are.
        sides: the two tenants.
        seed: the same calls for the same one.
    """

    def __init__(
        self, caller: Caller, visitor: Visitor, stack: Stack, sides: list[Side], seen: Seen, seed: int
    ) -> None:
        self._caller, self._visitor, self._stack = caller, visitor, stack
        self._sides, self._seen = sides, seen
        self._extensions = samples(stack)
        self._draw = random.Random(seed)
        self.calls = 0
        self.codes: Counter[str] = Counter()
        self.wrong: list[str] = []

    async def loop(self, calls: int, until_s: float) -> None:
        """One closed loop, until there were so many calls in all or it is so late."""
        while self.calls < calls and time.monotonic() < until_s:
            self.calls += 1
            side, extension = self._draw.choice(self._sides), self._draw.choice(self._extensions)
            if self._draw.random() < GATEWAY_SHARE:
                await self._through_the_gateway(side, extension)
            else:
                await self._directly(side, extension)

    async def _directly(self, side: Side, extension: Extension) -> None:
        ask = self._ask(side, extension)
        told = await self._caller.execute(ask)
        self.codes[told.code] += 1
        self._seen.search("answers" if told.answer.error is None else "errors", side, told.raw)
        self._seen.search("bodies", side, told.answer.body or b"")
        self._check(ask, told)

    def _ask(self, side: Side, extension: Extension) -> Ask:
        """A call in which the canary stands wherever there is room for it."""
        canary = side.canary
        ways = {
            ("/echo", "POST", canary): 40,
            ("/context", "GET", canary): 15,
            (f"/nothing/{canary}", "GET", None): 10,
            ("/log", "GET", canary): 5,
            ("/trap", "POST", None): 15,
            ("/denied", "GET", canary): 9,
            ("/fetch", "POST", None): 5,
            ("/loop", "GET", canary): 1,
        }
        path, method, query = self._draw.choices(list(ways), list(ways.values()))[0]
        return Ask(
            extension=extension,
            tenant=side.tenant,
            path=path,
            method=method,
            query=query,
            body=self._body(canary, path),
            headers={"accept-language": canary, "content-type": f"text/{canary}"},
            config={"region": canary},
            user=wire.User(user_id=canary, user_email=f"{canary}@a.example", user_name=canary, user_type="internal"),
            # With every right and nothing behind them, host calls reach the runner and fail there.
            providers=EVERYTHING if path in {"/denied", "/fetch"} else DEFAULTS,
            egress=(f"https://{canary}.example",),
            timeout_ms=250 if path == "/loop" else 20_000,
            request_id=self._request_id(side),
            debug=True,
        )

    def _body(self, canary: str, path: str) -> bytes:
        if path == "/fetch":  # a host that was not granted; the debug stream says which entry would allow it
            return msgspec.json.encode({"url": f"https://{canary}.not-granted.example/{canary}"})
        return f"{canary} ".encode() * self._draw.choice((1, 20, 2_000))

    def _check(self, ask: Ask, told: Told) -> None:
        """It is the answer to this call and to no other."""
        expected = ENDS.get(ask.path, "ok")
        if told.code not in {expected, *TURNED_AWAY}:
            self.wrong.append(f"{ask.path}: {told.code} instead of {expected}")
        if ask.path == "/echo" and told.code == "ok" and told.answer.body != ask.body:
            self.wrong.append(f"{ask.path}: another body")

    async def _through_the_gateway(self, side: Side, extension: Extension) -> None:
        canary = side.canary
        path, method = self._draw.choice(
            [
                (f"/echo?{canary}", "POST"),
                (f"/nothing/{canary}", "GET"),
                ("/trap", "POST"),
                (f"/denied?{canary}", "GET"),
            ]
        )
        install = self._stack.extension(extension.name, side.tenant).install_id
        answer = await self._visitor.with_token(side.token).call(
            method,
            f"/api/ext/{install}{path}",
            data=canary.encode() * 10 if method == "POST" else None,
            headers={"x-request-id": self._request_id(side), "accept-language": canary},
        )
        self.codes[f"gateway {answer.status}"] += 1
        where = "answers" if answer.status < 400 else "errors"
        self._seen.search(where, side, repr(sorted(answer.headers.items())).encode() + answer.body)

    def _request_id(self, side: Side) -> str:
        return f"{side.canary}-{self._draw.randrange(1 << 48):x}"


async def run(stack: Stack, bounds: Bounds, say: Say, seed: int = 2) -> list[Row]:
    """All rows of this phase, on the stack's own runner and gateway."""
    one, other = (f"canary-{secrets.token_hex(12)}" for _ in range(2))
    sides = [
        Side(tenant, mine, theirs, stack.tenant(tenant).admin_token)
        for tenant, mine, theirs in (("acme", one, other), ("globex", other, one))
    ]
    seen = Seen()
    dumper = Dumper(stack.pids["runner"], sides)
    async with (
        calling(stack.runner_url, stack.runner_service_token) as caller,
        visiting(stack, None) as visitor,
        watched_streams(stack, samples(stack), sides, seen),
    ):
        mingling = Mingling(caller, visitor, stack, sides, seen, seed)
        await _mingle(mingling, dumper, bounds, say)
        await dumper.dump()
    await search_records(stack, sides, seen)
    await search_metrics(stack, sides, seen)
    for line in [*mingling.wrong[:SHOWN], *seen.where[:SHOWN]]:
        say(f"wrong: {line}")
    return _rows(mingling, seen, dumper)


async def _mingle(mingling: Mingling, dumper: Dumper, bounds: Bounds, say: Say) -> None:
    began_s, dumps = time.monotonic(), 0
    async with asyncio.TaskGroup() as tasks:
        loops = [tasks.create_task(mingling.loop(bounds.calls, began_s + bounds.seconds)) for _ in range(LOOPS)]
        while not all(task.done() for task in loops):
            await asyncio.wait(loops, timeout=LOOK_S)
            took_s = time.monotonic() - began_s
            if max(mingling.calls / bounds.calls, took_s / bounds.seconds) * DUMPS >= dumps + 1:
                dumps += 1
                await dumper.dump()
                say(
                    f"{mingling.calls:>7} calls with canaries in {took_s:5.0f} s, {len(mingling.wrong)} wrong; "
                    f"{dumper.sandboxes} sandboxes looked into, {dumper.mixed} mixed"
                )


def _rows(mingling: Mingling, seen: Seen, dumper: Dumper) -> list[Row]:
    places = ("answers", "bodies", "errors", "debug events", "records")
    rows = [Row(name="calls with canaries", value=mingling.calls, unit="")]
    rows += [Row(name=f"  {code}", value=count, unit="") for code, count in sorted(mingling.codes.items())]
    rows += [Row(name="answers to another call", value=len(mingling.wrong), unit="", bar=0)]
    for place in places:
        rows += [
            Row(name=f"{place}: the other one's canary", value=seen.foreign[place], unit="", bar=0),
            Row(name=f"{place}: its own, so the search sees", value=seen.own[place], unit="", bar=1, lower=False),
        ]
    rows += [Row(name="metrics: canaries", value=seen.foreign["metrics"], unit="", bar=0)]
    if not dumper.sandboxes:
        return [*rows, Row(name="memory: not looked into, only root may", value=0, unit="")]
    return [
        *rows,
        Row(name="memory: sandboxes looked into", value=dumper.sandboxes, unit=""),
        Row(name="memory: sandboxes with canaries of both", value=dumper.mixed, unit="", bar=0),
        Row(name="memory: zygotes with a canary", value=dumper.zygotes, unit="", bar=0),
        Row(name="memory: tenants found, so the search sees", value=len(dumper.holding), unit="", bar=2, lower=False),
    ]
