"""Calls with an idempotency key through a served gateway: made once, answered again, released when nothing ran."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from deploy.local.redis import Redis, redis
from shared import errors
from shared.call_limits import IDEMPOTENCY_ANSWER_MAX_BYTES
from shared.wire import ExecuteRequest
from tests.gateway import stub_runner as stubs
from tests.gateway.seeds import Seed, rows
from tests.gateway.services import DatabaseUrls
from tests.gateway.serving import Answer, Served, bearer, is_problem, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

REPLAY = "x-ext-platform-replay"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Redis]:
    async with redis(tmp_path_factory.mktemp("redis") / "data", keep=False) as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def keyed(shared_database: DatabaseUrls, server: Redis) -> AsyncIterator[Served]:
    async with serving(shared_database, GATEWAY_REDIS_URL=server.url) as found:
        yield found


@pytest.fixture
def one(keyed: Served) -> Served:
    """The gateway with a runner that has forgotten everything."""
    keyed.stub.requests.clear()
    keyed.stub.acts.clear()
    keyed.stub.arrived.clear()
    keyed.stub.cancelled.clear()
    return keyed


async def call(
    served: Served,
    install: Seed,
    key: str | None = "k-1",
    body: bytes = b"one",
    method: str = "POST",
    tail: str = "notes",
    **claims: object,
) -> Answer:
    headers = {"x_idempotency_key": key} if key is not None else {}
    return await served.call(
        method, f"/api/ext/{install.install_id}/{tail}", body, authorization=bearer(install, **claims), **headers
    )


class Gate:
    """A guest that answers when it is let."""

    def __init__(self, status: int = 200) -> None:
        self.open = asyncio.Event()
        self._answer = stubs.answering(status=status, body=b"made")

    async def __call__(self, asked: ExecuteRequest) -> object:
        await self.open.wait()
        return await self._answer(asked)


async def test_the_second_call_with_a_key_gets_the_first_answer_and_the_guest_runs_once(
    one: Served, install: Seed
) -> None:
    one.stub.acts = [stubs.answering(status=201, header_list=(("etag", '"7"'),), body=b"made")]
    first, second = await call(one, install), await call(one, install)
    assert (first.status, first.body, first.headers["etag"]) == (201, b"made", '"7"')
    assert REPLAY not in first.headers
    assert (second.status, second.body, second.headers["etag"]) == (201, b"made", '"7"')
    assert second.headers[REPLAY] == "true"
    assert len(one.stub.requests) == 1
    await one.ctx.audit.flush()
    assert [row["state"] for row in rows(one.database, install.tenant_id)] == ["ok"]


async def test_t47_the_same_key_with_another_body_is_a_conflict(one: Served, install: Seed) -> None:
    await call(one, install)
    is_problem(await call(one, install, body=b"two"), 409, "idempotency_conflict")
    assert len(one.stub.requests) == 1


async def test_while_the_first_call_runs_the_second_is_told_to_wait(one: Served, install: Seed) -> None:
    gate = Gate()
    one.stub.acts = [gate]  # type: ignore[list-item]
    first = asyncio.create_task(call(one, install))
    await one.stub.arrived.wait()
    refused = await call(one, install)
    is_problem(refused, 409, "idempotency_in_progress")
    assert refused.headers["retry-after"] == "1"
    gate.open.set()
    assert (await first).status == 200
    assert (await call(one, install)).headers[REPLAY] == "true"


@pytest.mark.security
@pytest.mark.parametrize("other", ["principal", "path", "query", "method", "key"])
async def test_a_key_is_good_for_one_principal_and_one_call_only(one: Served, install: Seed, other: str) -> None:
    await call(one, install)
    changes: dict[str, dict[str, object]] = {
        "principal": {"sub": "user-2"},
        "path": {"tail": "notes/7"},
        "query": {"tail": "notes?force=1"},
        "method": {"method": "PUT"},
        "key": {"key": "k-2"},
    }
    answer = await call(one, install, **changes[other])  # type: ignore[arg-type]
    assert answer.status == 200
    assert REPLAY not in answer.headers
    assert len(one.stub.requests) == 2


async def test_a_client_that_goes_away_finds_its_answer_when_it_comes_again(one: Served, install: Seed) -> None:
    gate = Gate(status=202)
    one.stub.acts = [gate]  # type: ignore[list-item]
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.3):
            await call(one, install)
    await one.stub.arrived.wait()
    is_problem(await call(one, install), 409, "idempotency_in_progress")
    assert not one.stub.cancelled.is_set()
    gate.open.set()
    async with asyncio.timeout(5):
        while (answer := await call(one, install)).status == 409:  # noqa: ASYNC110 - as a client would
            await asyncio.sleep(0.01)
    assert (answer.status, answer.headers[REPLAY], len(one.stub.requests)) == (202, "true", 1)


async def test_a_client_without_a_key_takes_its_call_along(one: Served, install: Seed) -> None:
    one.stub.acts = [stubs.hang]
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.3):
            await call(one, install, key=None)
    async with asyncio.timeout(5):
        await one.stub.cancelled.wait()


async def test_a_guests_failure_is_remembered_and_told_again(one: Served, install: Seed) -> None:
    one.stub.acts = [stubs.refusing(errors.GuestTrapped("unreachable", started=True))]
    is_problem(await call(one, install), 502, "guest_trapped")
    again = await call(one, install)
    is_problem(again, 502, "guest_trapped")
    assert again.headers[REPLAY] == "true"
    assert len(one.stub.requests) == 1


async def test_a_call_that_never_ran_releases_its_key(one: Served, install: Seed) -> None:
    one.stub.acts = [stubs.refusing(errors.TenantOverConcurrency("full"))]
    is_problem(await call(one, install), 429, "tenant_over_concurrency")
    answer = await call(one, install)
    assert (answer.status, REPLAY in answer.headers, len(one.stub.requests)) == (200, False, 2)


@pytest.mark.parametrize(
    ("size", "kept"),
    [
        (IDEMPOTENCY_ANSWER_MAX_BYTES - 1, True),
        (IDEMPOTENCY_ANSWER_MAX_BYTES, True),
        (IDEMPOTENCY_ANSWER_MAX_BYTES + 1, False),
    ],
)
async def test_an_answer_that_is_too_large_to_keep_is_not_made_twice_either(
    one: Served, install: Seed, size: int, kept: bool
) -> None:
    one.stub.acts = [stubs.answering(status=200, body=b"x" * size)]
    assert len((await call(one, install)).body) == size
    again = await call(one, install)
    if kept:
        assert (again.status, len(again.body)) == (200, size)
    else:
        is_problem(again, 409, "idempotency_answer_not_kept")
        assert (again.json()["answer_status"], again.json()["answer_bytes"]) == (200, size)
    assert len(one.stub.requests) == 1


async def test_a_reading_call_is_made_each_time(one: Served, install: Seed) -> None:
    for _ in range(2):
        answer = await one.call(
            "GET", f"/api/ext/{install.install_id}/notes/7", authorization=bearer(install), x_idempotency_key="k"
        )
        assert (answer.status, REPLAY in answer.headers) == (200, False)
    assert len(one.stub.requests) == 2


async def test_a_key_that_is_none_is_refused_before_anything_runs(one: Served, install: Seed) -> None:
    is_problem(await call(one, install, key="k" * 256), 400, "invalid_request")
    assert one.stub.requests == []


async def test_many_at_once_run_once(one: Served, install: Seed) -> None:
    gate = Gate()
    one.stub.acts = [gate]  # type: ignore[list-item]
    calls = [asyncio.create_task(call(one, install)) for _ in range(20)]
    await one.stub.arrived.wait()
    async with asyncio.timeout(10):
        while sum(task.done() for task in calls) < 19:  # noqa: ASYNC110 - each is a client of its own
            await asyncio.sleep(0.01)
    gate.open.set()
    statuses = sorted([(await task).status for task in calls])
    assert statuses == [200] + [409] * 19
    assert len(one.stub.requests) == 1


async def test_without_redis_the_call_is_made_and_its_answer_says_that_nothing_was_promised(
    live: Served, install: Seed
) -> None:
    for _ in range(2):
        answer = await call(live, install)
        assert (answer.status, answer.headers["x-ext-platform-idempotency"]) == (200, "unavailable")


async def test_with_a_redis_that_hangs_likewise(shared_database: DatabaseUrls, tmp_path: Path, install: Seed) -> None:
    async with redis(tmp_path / "redis", keep=False) as own, serving(shared_database, GATEWAY_REDIS_URL=own.url) as one:
        os.kill(own.pid, signal.SIGSTOP)
        try:
            answer = await call(one, install)
            assert (answer.status, answer.headers["x-ext-platform-idempotency"]) == (200, "unavailable")
        finally:
            os.kill(own.pid, signal.SIGCONT)
