"""Lists: in the order of the keys' bytes, and a continuation that skips and repeats nothing while others write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.storage.records import Records
from gateway.store.pool import Database, open_database
from gateway.store.storage import Asker, Write
from shared.errors import StorageNotFound
from tests.gateway.services import DatabaseUrls
from tests.gateway.storage.keeping import NAMESPACE, keeper, let_expire

KEYS = st.text(alphabet=st.sampled_from("aAzZ0/ä\uffff\U00010000 %_~"), min_size=1, max_size=4).filter(
    lambda key: "/" not in key
)
CHANGES = st.lists(st.tuples(st.sampled_from(["put", "delete"]), KEYS), max_size=12)


def by_bytes(keys: set[str]) -> list[str]:
    return sorted(keys, key=str.encode)


async def write_all(records: Records, asker: Asker, keys: set[str]) -> None:
    ordered = sorted(keys)
    for start in range(0, len(ordered), 20):
        part = ordered[start : start + 20]
        await records.put_all(asker, NAMESPACE, [Write(key=key, value=key.encode()) for key in part])


async def walk(records: Records, asker: Asker, limit: int, between: Callable[[], asyncio.Future[None]]) -> list[str]:
    """Every key a reader of pages sees, others writing before each page and while it is read."""
    seen: list[str] = []
    while True:
        writing = between()
        page = await records.page(asker, NAMESPACE, after=seen[-1] if seen else "", limit=limit)
        await writing
        seen += [row.key for row in page if row.key is not None]
        if len(page) < limit:
            return seen


async def change(records: Records, asker: Asker, changes: list[tuple[str, str]], steady: set[str]) -> None:
    """Writes and removals of keys; those of `steady` may be written again and are never removed."""
    for verb, key in changes:
        try:
            if verb == "put":
                await records.put(asker, NAMESPACE, Write(key=key, value=b"changed"))
            elif key not in steady:
                await records.delete(asker, NAMESPACE, key)
        except StorageNotFound:
            continue


@pytest.fixture
def on_database(shared_database: DatabaseUrls) -> Iterator[tuple[asyncio.Runner, Database]]:
    with asyncio.Runner() as runner:
        opened = open_database(shared_database.app, shared_database.platform, shared_database.app)
        yield runner, runner.run(opened.__aenter__())
        runner.run(opened.__aexit__(None, None, None))


@pytest.mark.slow
def test_a_continuation_skips_and_repeats_nothing_while_others_write(
    on_database: tuple[asyncio.Runner, Database], shared_database: DatabaseUrls, tenant: str
) -> None:
    runner, store = on_database

    @settings(max_examples=60, suppress_health_check=list(HealthCheck))
    @given(st.sets(KEYS, max_size=15), st.sets(KEYS, max_size=10), st.lists(CHANGES, max_size=8), st.integers(1, 5))
    def holds(steady: set[str], passing: set[str], changes: list[list[tuple[str, str]]], limit: int) -> None:
        records, asker = Records(store), keeper(shared_database, tenant)
        waiting = iter(changes)

        def between() -> asyncio.Future[None]:
            return asyncio.ensure_future(change(records, asker, next(waiting, []), steady))

        async def scenario() -> list[str]:
            await write_all(records, asker, steady | passing)
            return await walk(records, asker, limit, between)

        seen = runner.run(scenario())
        assert len(set(seen)) == len(seen)
        assert seen == by_bytes(set(seen))
        assert steady <= set(seen)

    holds()


@pytest.mark.slow
def test_a_list_of_a_prefix_is_the_list_of_those_keys(
    on_database: tuple[asyncio.Runner, Database], shared_database: DatabaseUrls, tenant: str
) -> None:
    runner, store = on_database

    @settings(max_examples=40, suppress_health_check=list(HealthCheck))
    @given(st.sets(KEYS, max_size=20), st.just("") | KEYS, st.just("") | KEYS)
    def holds(keys: set[str], prefix: str, after: str) -> None:
        records, asker = Records(store), keeper(shared_database, tenant)

        async def scenario() -> list[str | None]:
            await write_all(records, asker, keys)
            page = await records.page(asker, NAMESPACE, prefix=prefix, after=after, limit=100)
            return [row.key for row in page]

        wanted = {key for key in keys if key.startswith(prefix) and key.encode() > after.encode()}
        assert runner.run(scenario()) == by_bytes(wanted)

    holds()


async def test_what_is_past_its_time_takes_no_place_on_a_page(
    records: Records, asker: Asker, shared_database: DatabaseUrls
) -> None:
    await write_all(records, asker, {f"k{number}" for number in range(6)})
    let_expire(shared_database, asker, "k1")
    let_expire(shared_database, asker, "k2")
    page = await records.page(asker, NAMESPACE, limit=3)
    assert [row.key for row in page] == ["k0", "k3", "k4"]


async def test_a_list_without_values_has_none(records: Records, asker: Asker) -> None:
    await write_all(records, asker, {"k"})
    (row,) = await records.page(asker, NAMESPACE, limit=1, values=False)
    assert (row.key, row.value, row.revision) == ("k", b"", 1)
