"""The store: what a real server and the one in memory do alike, and what a misbehaving one leads to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

import pytest

from deploy.local.s3 import S3
from runner.bundles import objects
from runner.bundles.objects import Objects, RetryBudget, open_objects
from shared.deadline import Deadline
from shared.errors import BundleNotFound, BundleUnavailable, BundleUntrusted
from tests.runner.conftest import store_settings
from tests.runner.memory_store import MemoryObjects

ABSENT = "sha256/absent/bundle.tar.zst"
PAGE_KEYS = 1_000  # of one answer of ListObjectsV2
LARGE = b"0123456789abcdef" * 40_000  # 640 kB: several reads of a socket


def soon() -> Deadline:
    return Deadline.after_ms(10_000)


# ---- the real server, and the one in memory -----------------------------------------------------------------


@pytest.fixture(params=["memory", pytest.param("server", marks=pytest.mark.system)])
def server(request: pytest.FixtureRequest) -> S3 | None:
    """The server, or none."""
    return request.getfixturevalue("store_server") if request.param == "server" else None


@pytest.fixture
async def store(server: S3 | None, tmp_path: Path) -> AsyncIterator[Objects]:
    """A store with nothing in it that these tests know."""
    if server is None:
        yield MemoryObjects()
        return
    login = server.gateway
    async with open_objects(store_settings(tmp_path, server.endpoint, login.access_key, login.secret_key)) as opened:
        yield opened


async def test_what_was_written_is_read(store: Objects):
    await store.write("aot/a/large", LARGE, soon())
    assert await store.read("aot/a/large", max_bytes=len(LARGE), deadline=soon()) == LARGE


async def test_a_key_that_is_not_there_is_bundle_not_found(store: Objects):
    with pytest.raises(BundleNotFound, match=ABSENT):
        await store.read(ABSENT, max_bytes=10, deadline=soon())


@pytest.mark.parametrize(("limit", "accepted"), [(3, False), (4, True), (5, True)])
async def test_an_object_longer_than_it_may_be_is_untrusted(store: Objects, limit: int, accepted: bool):
    await store.write("aot/a/four", b"four", soon())
    if accepted:
        assert await store.read("aot/a/four", max_bytes=limit, deadline=soon()) == b"four"
    else:
        with pytest.raises(BundleUntrusted):
            await store.read("aot/a/four", max_bytes=limit, deadline=soon())


async def test_an_empty_object_is_read_as_such(store: Objects):
    await store.write("aot/a/empty", b"", soon())
    assert await store.read("aot/a/empty", max_bytes=0, deadline=soon()) == b""


async def test_a_store_that_answers_is_reachable(store: Objects):
    assert await store.reachable(soon())


async def test_folders_are_the_names_directly_below_a_prefix(store: Objects):
    for key in ("aot/folders/b/x", "aot/folders/a/x", "aot/folders/a/y/z", "aot/folders/file", "aot/foldersx/c/x"):
        await store.write(key, b"data", soon())
    assert await store.folders("aot/folders/", soon()) == ["a", "b"]
    assert await store.folders("aot/nothing/", soon()) == []


@pytest.mark.slow
async def test_more_folders_than_one_page_holds_are_all_listed(store: Objects):
    async with asyncio.TaskGroup() as tasks:
        for number in range(PAGE_KEYS + 1):
            tasks.create_task(store.write(f"aot/pages/{number:04}/x", b"", Deadline.after_ms(60_000)))
    found = await store.folders("aot/pages/", soon())
    assert found == [f"{number:04}" for number in range(PAGE_KEYS + 1)]


@pytest.mark.system
async def test_every_role_may_list(store_server: S3, tmp_path: Path):
    for login in (store_server.gateway, store_server.compiler, store_server.runner):
        settings = store_settings(tmp_path, store_server.endpoint, login.access_key, login.secret_key)
        async with open_objects(settings) as store:
            assert "nothing" not in await store.folders("aot/", soon())


@pytest.mark.system
async def test_the_runners_credentials_cannot_write(store_server: S3, tmp_path: Path):
    login = store_server.runner
    async with open_objects(
        store_settings(tmp_path, store_server.endpoint, login.access_key, login.secret_key)
    ) as store:
        with pytest.raises(BundleUnavailable):
            await store.write("aot/a/b", b"data", soon())


@pytest.mark.system
async def test_the_compilers_credentials_write_below_aot_only(store_server: S3, tmp_path: Path):
    login = store_server.compiler
    async with open_objects(
        store_settings(tmp_path, store_server.endpoint, login.access_key, login.secret_key)
    ) as store:
        await store.write("aot/a/b", b"data", soon())
        with pytest.raises(BundleUnavailable):
            await store.write("sha256/a/bundle.tar.zst", b"data", soon())


# ---- a server that misbehaves -------------------------------------------------------------------------------

Answer = bytes | None  # None: say nothing and keep the connection


def http(status: str, body: bytes, length: int | None = None, connection: str = "close") -> bytes:
    said = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\ncontent-length: {said}\r\nconnection: {connection}\r\n\r\n".encode() + body


def xml(code: str) -> bytes:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>".encode()


class Stub:
    """Answers each request with the next of `answers`, then with the last one for ever."""

    def __init__(self, answers: Iterable[Answer]) -> None:
        self.answers = list(answers)
        self.requests = 0
        self.connections = 0
        self.tasks: set[asyncio.Task[object]] = set()

    async def aclose(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        self.connections += 1
        try:
            while await self.answered(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def answered(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether another request may follow on the connection."""
        await reader.readuntil(b"\r\n\r\n")
        answer = self.answers[min(self.requests, len(self.answers) - 1)]
        self.requests += 1
        if answer is None:
            await reader.read()
            return False
        writer.write(answer)
        await writer.drain()
        return b"connection: keep-alive" in answer


Start = Callable[..., "contextlib.AbstractAsyncContextManager[tuple[Objects, Stub]]"]


@pytest.fixture
def misbehaving(tmp_path: Path) -> Start:
    @contextlib.asynccontextmanager
    async def start(*answers: Answer) -> AsyncIterator[tuple[Objects, Stub]]:
        stub = Stub(answers)
        server = await asyncio.start_server(stub, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with open_objects(store_settings(tmp_path, f"http://127.0.0.1:{port}")) as store:
            yield store, stub
        server.close()
        await stub.aclose()
        await server.wait_closed()

    return start


GOOD = http("200 OK", b"data")


async def test_slow_down_is_tried_again(misbehaving: Start):
    async with misbehaving(http("503 Slow Down", xml("SlowDown")), GOOD) as (store, stub):
        assert await store.read("a", max_bytes=10, deadline=soon()) == b"data"
        assert stub.requests == 2


async def test_a_body_that_ends_early_is_read_again_from_the_start(misbehaving: Start):
    async with misbehaving(http("200 OK", b"da", length=4), GOOD) as (store, stub):
        assert await store.read("a", max_bytes=10, deadline=soon()) == b"data"
        assert stub.requests == 2


async def test_a_body_that_always_ends_early_is_unavailable_and_never_short(misbehaving: Start):
    async with misbehaving(http("200 OK", b"da", length=4)) as (store, stub):
        with pytest.raises(BundleUnavailable) as raised:
            await store.read("a", max_bytes=10, deadline=soon())
        assert stub.requests == objects.ATTEMPTS_MAX
        assert raised.value.retry_after_s == objects.RETRY_AFTER_S


async def test_a_refusal_of_our_credentials_is_unavailable_and_not_repeated(misbehaving: Start):
    async with misbehaving(http("403 Forbidden", xml("AccessDenied"))) as (store, stub):
        with pytest.raises(BundleUnavailable):
            await store.read("a", max_bytes=10, deadline=soon())
        assert stub.requests == 1


async def test_a_store_that_stays_down_is_not_hammered(misbehaving: Start):
    async with misbehaving(http("503 Slow Down", xml("SlowDown"))) as (store, stub):
        for _ in range(30):
            with pytest.raises(BundleUnavailable):
                await store.read("a", max_bytes=10, deadline=soon())
        assert stub.requests == 30 + objects.BUDGET_MAX / 2


async def test_a_store_that_refuses_to_list_is_unavailable_and_never_empty(misbehaving: Start):
    async with misbehaving(http("403 Forbidden", xml("AccessDenied"))) as (store, _):
        with pytest.raises(BundleUnavailable):
            await store.folders("sha256/", soon())


async def test_a_silent_store_costs_no_more_than_the_deadline(misbehaving: Start):
    async with misbehaving(None) as (store, _):
        async with asyncio.timeout(5):
            with pytest.raises(BundleUnavailable):
                await store.read("a", max_bytes=10, deadline=Deadline.after_ms(100))
        assert not await store.reachable(Deadline.after_ms(50))


async def test_a_store_that_is_silent_between_two_reads_is_not_waited_for_twice(
    misbehaving: Start, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(objects, "READ_MAX_S", 0.1)
    async with misbehaving(None) as (store, stub):
        with pytest.raises(BundleUnavailable):
            await store.read("a", max_bytes=10, deadline=soon())
        assert stub.requests == 1


async def test_a_connection_that_rested_after_a_large_answer_serves_the_next_one(
    misbehaving: Start, monkeypatch: pytest.MonkeyPatch
):
    """700 kB and a reader that lags behind: then aiohttp 3.14.5 leaves a timer running on the pooled connection."""
    monkeypatch.setattr(objects, "READ_MAX_S", 0.1)
    large = b"x" * 700_000
    answers = (http("200 OK", large, connection="keep-alive"), http("200 OK", b"data", connection="keep-alive"))
    async with misbehaving(*answers) as (store, stub):
        size = 0
        async for part in store.stream("a", max_bytes=len(large), deadline=soon(), restart=list):
            size += len(part)
            for _ in range(100):  # turns of the loop, in which all of it comes
                await asyncio.sleep(0)
        assert size == len(large)
        await asyncio.sleep(2 * objects.READ_MAX_S)  # the rest itself is what is tested
        assert await store.read("b", max_bytes=10, deadline=soon()) == b"data"
        assert (stub.requests, stub.connections) == (2, 1)


async def test_nothing_listening_is_unavailable(tmp_path: Path, unused_tcp_port: int):
    async with open_objects(store_settings(tmp_path, f"http://127.0.0.1:{unused_tcp_port}")) as store:
        async with asyncio.timeout(5):
            with pytest.raises(BundleUnavailable):
                await store.read("a", max_bytes=10, deadline=soon())


async def test_an_announced_length_beyond_the_limit_is_not_even_begun(misbehaving: Start):
    async with misbehaving(http("200 OK", b"", length=10**12)) as (store, stub):
        with pytest.raises(BundleUntrusted):
            await store.read("a", max_bytes=10, deadline=soon())
        assert stub.requests == 1


def test_ten_successes_earn_one_retry():
    budget = RetryBudget()
    while budget.spend():
        pass
    for _ in range(9):
        budget.earn()
    assert not budget.spend()
    budget.earn()
    budget.earn()
    assert budget.spend()
    assert not budget.spend()
