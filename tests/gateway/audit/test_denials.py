"""Denied targets are counted behind the answers: added up, bounded, believed only in the policy's own forms."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from gateway.audit.denials import Denials, denied_targets_sweep, open_denials
from gateway.store import denied_targets
from gateway.store.denied_targets import Counted
from gateway.store.pool import Database, open_database
from shared.errors import AccessPolicyUnavailable
from shared.limits import (
    DENIED_TARGETS_KEPT_DAYS,
    DENIED_TARGETS_KEPT_MAX_COUNT,
    DENIED_TARGETS_WAITING_MAX_COUNT,
    EGRESS_DENIED_TARGETS_MAX_COUNT,
)
from shared.wire import DeniedTarget
from tests.gateway.seeds import Seed, seed
from tests.gateway.services import DatabaseUrls, owner

HOST = DeniedTarget(target="https://api.example.com", reason="not-granted", grantable=True)


@pytest.fixture
def install(shared_database: DatabaseUrls, tenant: str) -> Seed:
    return seed(shared_database, tenant)


@pytest.fixture
def metrics() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def denials(shared_store: Database, metrics: CollectorRegistry) -> AsyncIterator[Denials]:
    async with open_denials(shared_store, metrics) as found:
        yield found


def dropped(metrics: CollectorRegistry) -> float | None:
    return metrics.get_sample_value("ext_egress_denied_uncounted_total")


def many(count: int, start: int = 0) -> list[DeniedTarget]:
    return [msgspec.structs.replace(HOST, target=f"https://h{at:05}.example.com") for at in range(start, start + count)]


async def listed(store: Database, install: Seed) -> list[Counted]:
    async with store.tenant(install.tenant_id) as tx:
        return await denied_targets.of_install(tx, install.install_id)


async def counts(store: Database, install: Seed) -> dict[tuple[str, str], int]:
    return {(one.target, one.reason): one.times for one in await listed(store, install)}


async def test_what_is_noted_is_written_by_itself_a_moment_later(
    denials: Denials, shared_store: Database, install: Seed
) -> None:
    denials.note(install.tenant_id, install.install_id, [HOST])
    async with asyncio.timeout(10):
        while not (found := await listed(shared_store, install)):  # noqa: ASYNC110  # rows have no event to wait for
            await asyncio.sleep(0.02)
    (one,) = found
    assert (one.target, one.reason, one.times) == ("https://api.example.com", "not-granted", 1)
    assert one.first_at == one.last_at
    assert (one.grantable, one.observed) == (True, False)


async def test_counts_add_up_for_each_target_and_reason(
    denials: Denials, shared_store: Database, install: Seed
) -> None:
    other = msgspec.structs.replace(HOST, reason="outside-fence", observed=True, times=4)
    for _ in range(2):
        denials.note(install.tenant_id, install.install_id, [HOST, other])
        denials.note(install.tenant_id, install.install_id, [HOST])
        await denials.flush()
    assert await counts(shared_store, install) == {(HOST.target, "not-granted"): 4, (HOST.target, "outside-fence"): 8}
    latest = (await listed(shared_store, install))[0]
    assert latest.first_at < latest.last_at


async def test_each_install_has_its_own_counts_and_no_tenant_sees_anothers(
    denials: Denials, shared_store: Database, shared_database: DatabaseUrls, install: Seed
) -> None:
    other = seed(shared_database, f"other-{uuid.uuid4().hex[:8]}", extension_of=install)
    denials.note(install.tenant_id, install.install_id, [HOST])
    denials.note(other.tenant_id, other.install_id, [HOST, HOST])
    await denials.flush()
    assert await counts(shared_store, install) == {(HOST.target, "not-granted"): 1}
    assert await counts(shared_store, other) == {(HOST.target, "not-granted"): 2}
    async with shared_store.tenant(other.tenant_id) as tx:
        assert await denied_targets.of_install(tx, install.install_id) == []
        assert await denied_targets.clear(tx, install.install_id) == 0
    assert await counts(shared_store, install) == {(HOST.target, "not-granted"): 1}


@pytest.mark.parametrize(
    "wrong",
    [
        {"target": ""},
        {"target": "api.example.com"},
        {"target": "https://api.example.com/path"},
        {"target": "https://api.example.com:443"},
        {"target": "HTTPS://API.example.com"},
        {"target": "https://user@api.example.com"},
        {"target": "https://a" + ".a" * 200},
        {"target": "javascript:alert(1)"},
        {"target": "https://api.example.com\x00"},
        {"reason": "because"},
        {"reason": ""},
        {"times": 0},
        {"times": -5},
    ],
)
async def test_what_is_not_in_the_policys_form_is_nothing(
    denials: Denials, shared_store: Database, install: Seed, wrong: dict[str, str | int]
) -> None:
    denials.note(install.tenant_id, install.install_id, [msgspec.structs.replace(HOST, **wrong)])
    await denials.flush()
    assert await listed(shared_store, install) == []


async def test_one_call_cannot_count_for_more_than_it_could_ask(
    denials: Denials, shared_store: Database, install: Seed
) -> None:
    denials.note(install.tenant_id, install.install_id, [msgspec.structs.replace(HOST, times=2**62)])
    denials.note(install.tenant_id, install.install_id, [msgspec.structs.replace(HOST, times=2**62)])
    await denials.flush()
    assert await counts(shared_store, install) == {(HOST.target, "not-granted"): 600}


@pytest.mark.parametrize("extra", [-1, 0, 1])
async def test_one_call_reports_so_many_targets(
    denials: Denials, shared_store: Database, install: Seed, extra: int
) -> None:
    denials.note(install.tenant_id, install.install_id, many(EGRESS_DENIED_TARGETS_MAX_COUNT + extra))
    await denials.flush()
    assert len(await listed(shared_store, install)) == EGRESS_DENIED_TARGETS_MAX_COUNT + min(0, extra)


@pytest.mark.parametrize("extra", [-1, 0, 1])
async def test_an_install_keeps_so_many_targets_and_forgets_those_denied_longest_ago(
    denials: Denials, shared_store: Database, install: Seed, extra: int
) -> None:
    total = DENIED_TARGETS_KEPT_MAX_COUNT + extra
    for start in range(0, total, 20):
        denials.note(install.tenant_id, install.install_id, many(min(20, total - start), start))
        await denials.flush()
    found = await counts(shared_store, install)
    assert len(found) == min(total, DENIED_TARGETS_KEPT_MAX_COUNT)
    assert ("https://h00019.example.com", "not-granted") in found or extra == 1
    assert (f"https://h{total - 1:05}.example.com", "not-granted") in found


async def test_what_waits_is_bounded_for_each_install_and_in_all(
    denials: Denials, install: Seed, metrics: CollectorRegistry
) -> None:
    for start in range(0, DENIED_TARGETS_KEPT_MAX_COUNT, 20):
        denials.note(install.tenant_id, install.install_id, many(20, start))
    assert dropped(metrics) == 0
    denials.note(install.tenant_id, install.install_id, many(1, 1000))
    assert dropped(metrics) == 1
    denials.note(install.tenant_id, install.install_id, many(1))  # what waits already goes on counting
    assert dropped(metrics) == 1
    for number in range(DENIED_TARGETS_WAITING_MAX_COUNT - DENIED_TARGETS_KEPT_MAX_COUNT):
        denials.note("nobody", str(number), many(1))
    assert dropped(metrics) == 1
    denials.note("nobody", "one too many", many(1))
    assert dropped(metrics) == 2
    denials._waiting.clear()


async def test_an_install_that_is_gone_costs_its_own_counts_only(
    denials: Denials, shared_store: Database, install: Seed, metrics: CollectorRegistry
) -> None:
    denials.note(install.tenant_id, str(uuid.uuid4()), [HOST])
    denials.note(install.tenant_id, install.install_id, [HOST])
    await denials.flush()
    assert dropped(metrics) == 1
    assert len(await listed(shared_store, install)) == 1


async def test_two_gateways_count_the_same_install_together(
    shared_database: DatabaseUrls, shared_store: Database, install: Seed
) -> None:
    async with (
        open_database(shared_database.app, shared_database.platform, shared_database.app) as second,
        open_denials(shared_store, CollectorRegistry()) as one,
        open_denials(second, CollectorRegistry()) as two,
    ):
        for _ in range(5):
            for denials in (one, two):
                denials.note(install.tenant_id, install.install_id, many(20))
            await asyncio.gather(one.flush(), two.flush())
    assert set((await counts(shared_store, install)).values()) == {10}


class Away:
    """A database that answers when it is told to."""

    def __init__(self, store: Database) -> None:
        self.store, self.is_away = store, True

    def tenant(self, tenant_id: str) -> object:
        if self.is_away:
            raise AccessPolicyUnavailable("the database is away")
        return self.store.tenant(tenant_id)


async def test_while_the_database_is_away_what_waits_is_kept_and_added_to(
    shared_store: Database, install: Seed
) -> None:
    away = Away(shared_store)
    async with open_denials(away, CollectorRegistry()) as denials:  # type: ignore[arg-type]  # its one method
        denials.note(install.tenant_id, install.install_id, [HOST])
        with pytest.raises(AccessPolicyUnavailable):
            await denials.flush()
        denials.note(install.tenant_id, install.install_id, [HOST])
        away.is_away = False
    assert await counts(shared_store, install) == {(HOST.target, "not-granted"): 2}  # written as the block ended


async def test_what_is_cleared_does_not_come_back_from_what_waits(
    denials: Denials, shared_store: Database, install: Seed
) -> None:
    denials.note(install.tenant_id, install.install_id, [HOST])
    denials.forget(install.tenant_id, install.install_id)
    await denials.flush()
    assert await listed(shared_store, install) == []


@pytest.mark.parametrize(
    ("days", "is_kept"), [(DENIED_TARGETS_KEPT_DAYS - 1, True), (DENIED_TARGETS_KEPT_DAYS + 1, False)]
)
async def test_the_sweep_removes_what_was_not_denied_for_long_and_nothing_else(
    denials: Denials,
    shared_store: Database,
    shared_database: DatabaseUrls,
    install: Seed,
    days: int,
    is_kept: bool,
) -> None:
    denials.note(install.tenant_id, install.install_id, [HOST])
    await denials.flush()
    async with owner(shared_database.owner) as connection:
        await connection.execute(
            "update tenant_extension_denied_target set last_at = now() - %s * interval '1 day' where install_id = %s",
            (days, install.install_id),
        )
    await denied_targets_sweep(shared_store)()
    assert bool(await listed(shared_store, install)) is is_kept
