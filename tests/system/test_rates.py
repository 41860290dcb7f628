"""Tenants and installs that call too often, or too much at once, are told so; nobody else notices."""

from __future__ import annotations

import asyncio
from collections import Counter

from deploy.local.record import Extension, Stack
from tests.system.acting import Answer, Visitor, visiting
from tests.system.gateways import another_gateway

RATE = {"GATEWAY_INSTALL_CALLS_PER_S": "5", "GATEWAY_TENANT_CALLS_PER_S": "1000"}
RUNNING = {"GATEWAY_INSTALL_RUNNING_MAX": "3", "GATEWAY_TENANT_RUNNING_MAX": "100"}


async def called(visitor: Visitor, base: str, extension: Extension, count: int, path: str = "hello") -> list[Answer]:
    calls = (visitor.get(f"/api/ext/{extension.install_id}/{path}", base=base) for _ in range(count))
    return list(await asyncio.gather(*calls))


async def test_a_tenant_that_calls_too_often_reads_which_limit_and_when_while_another_one_is_served(
    stack: Stack, admin: Visitor
) -> None:
    greedy, modest = stack.extension("hello-quickjs", "acme"), stack.extension("hello-quickjs", "globex")
    async with another_gateway(stack, **RATE) as gateway, visiting(stack, stack.tenant("globex").admin_token) as other:
        answers = await called(admin, gateway.url, greedy, 30)
        counts = Counter(answer.status for answer in answers)
        assert counts[200] >= 10
        assert counts[429] >= 30 - 10 - 5 * 5  # a burst of two seconds, and what comes back while the calls run
        assert set(counts) == {200, 429}
        refused = next(answer for answer in answers if answer.status == 429)
        assert refused.headers["content-type"] == "application/problem+json"
        problem = refused.json()
        assert problem["code"] == "rate_limited"
        assert problem["limited_by"] == {"scope": "install", "kind": "rate", "limit": 5, "counted_by": "all gateways"}
        assert refused.headers["retry-after"] == "1"
        assert refused.headers["ratelimit-policy"] == '"tenant";q=2000;w=2, "install";q=10;w=2'
        assert '"install";r=0;' in refused.headers["ratelimit"]
        assert {answer.status for answer in await called(other, gateway.url, modest, 5)} == {200}


async def test_two_gateways_grant_together_what_one_may_and_places_come_back_with_the_answers(
    stack: Stack, admin: Visitor
) -> None:
    extension = stack.extension("hello-quickjs", "acme")
    async with another_gateway(stack, **RUNNING) as one, another_gateway(stack, **RUNNING) as two:
        for _ in range(5):  # far more calls than places, one after the other: each gives its place back
            for gateway in (one, two):
                assert (await called(admin, gateway.url, extension, 1))[0].status == 200
        slow = [asyncio.create_task(called(admin, gateway.url, extension, 6, "loop")) for gateway in (one, two)]
        answers = [answer for task in slow for answer in await task]
        counts = Counter(answer.status for answer in answers)
        assert counts[429] == 12 - 3
        assert counts[504] == 3
