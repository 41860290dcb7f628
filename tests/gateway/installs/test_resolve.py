"""Which install a reference means: against a real database, with row-level security on."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from gateway.installs.resolve import Found, InstallResolver, loader
from gateway.installs.resolved import ResolvedInstall
from gateway.store.pool import Database
from shared.errors import AccessPolicyUnavailable, AmbiguousExtension, NotInstalled
from shared.limits import INSTALL_CACHE_MAX_COUNT, INSTALL_CACHE_S, INSTALL_NEGATIVE_CACHE_S
from tests.gateway.seeds import seed
from tests.gateway.services import DatabaseUrls


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Source:
    """A look-up that counts, and waits or fails when told to."""

    def __init__(self, *found: ResolvedInstall) -> None:
        self.found: Found = found
        self.asked: list[tuple[str, str]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.began = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, tenant_id: str, reference: str) -> Found:
        self.asked.append((tenant_id, reference))
        self.began.set()
        found = self.found
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return found


def _install(**fields: object) -> ResolvedInstall:
    given: dict[str, object] = {
        "tenant_id": "acme",
        "install_id": "i",
        "extension_id": "e",
        "version_id": "v",
        "publisher": "acme",
        "name": "com.acme.notes",
        "version": "1.0.0",
        "content_hash": "sha256:00",
        "capabilities": (),
        **fields,
    }
    return ResolvedInstall(**given)  # type: ignore[arg-type]


# ---- against the database -----------------------------------------------------------------------------------


async def test_all_four_forms_mean_the_same_install(
    shared_store: Database, shared_database: DatabaseUrls, tenant: str
) -> None:
    made = seed(
        shared_database,
        tenant,
        caps=("cap:context.read", "cap:http.fetch"),
        config={"region": "emea", "on": True, "n": 5},
    )
    resolver = InstallResolver(loader(shared_store))
    found = await resolver.resolve(tenant, made.install_id)
    for reference in (made.extension_id, f"{made.publisher}.{made.name}", made.name):
        found = await resolver.resolve(tenant, reference)
        assert (found.install_id, found.extension_id, found.version_id) == (
            made.install_id,
            made.extension_id,
            made.version_id,
        )
    assert found.tenant_id == tenant
    assert found.content_hash == made.content_hash
    assert found.capabilities == ("cap:context.read", "cap:http.fetch")
    assert found.config == {"region": "emea", "on": "true", "n": "5"}
    assert found.config_version == 3
    assert (found.timeout_ms, found.memory_mb) == (4000, 32)
    assert [(e.method, e.path, e.timeout_ms) for e in found.endpoints] == [
        ("GET", "/notes/:id", 2000),
        ("POST", "/notes", None),
    ]
    assert (found.ui_entry, found.hooks, found.for_clients) == ("ui/index.html", frozenset({"appMenu"}), False)
    assert (found.enabled, found.revoked, found.runnable, found.debug) == (True, False, True, False)


async def test_another_tenants_install_reads_exactly_like_none(
    shared_store: Database, shared_database: DatabaseUrls, tenant: str
) -> None:
    theirs = seed(shared_database, "somebody-else")
    resolver = InstallResolver(loader(shared_store))
    said = set()
    for reference in (theirs.install_id, theirs.extension_id, theirs.name, str(uuid.uuid4()), "com.nobody.has.this"):
        with pytest.raises(NotInstalled) as caught:
            await resolver.resolve(tenant, reference)
        said.add((caught.value.detail, caught.value.code, caught.value.status, str(caught.value.extra)))
    assert len(said) == 1


async def test_two_tenants_with_the_same_extension_each_get_their_own(
    shared_store: Database, shared_database: DatabaseUrls, tenant: str
) -> None:
    mine = seed(shared_database, tenant)
    theirs = seed(shared_database, f"{tenant}-other", extension_of=mine)
    resolver = InstallResolver(loader(shared_store))
    assert (await resolver.resolve(tenant, mine.name)).install_id == mine.install_id
    assert (await resolver.resolve(theirs.tenant_id, mine.name)).install_id == theirs.install_id
    with pytest.raises(NotInstalled):
        await resolver.resolve(tenant, theirs.install_id)


async def test_a_name_that_two_publishers_use_is_ambiguous_and_the_full_name_is_not(
    shared_store: Database, shared_database: DatabaseUrls, tenant: str
) -> None:
    first = seed(shared_database, tenant, publisher="acme")
    second = seed(shared_database, tenant, publisher="globex", name=first.name)
    resolver = InstallResolver(loader(shared_store))
    with pytest.raises(AmbiguousExtension):
        await resolver.resolve(tenant, first.name)
    assert (await resolver.resolve(tenant, f"globex.{first.name}")).install_id == second.install_id
    assert (await resolver.resolve(tenant, first.install_id)).install_id == first.install_id


async def test_a_name_that_reads_as_bare_and_as_publishers_is_ambiguous(
    shared_store: Database, shared_database: DatabaseUrls, tenant: str
) -> None:
    tail = f"x{uuid.uuid4().hex[:6]}.notes"
    seed(shared_database, tenant, publisher="com", name=tail)
    seed(shared_database, tenant, publisher="acme", name=f"com.{tail}")
    with pytest.raises(AmbiguousExtension):
        await InstallResolver(loader(shared_store)).resolve(tenant, f"com.{tail}")


async def test_an_uninstalled_extension_is_not_there_and_a_disabled_one_is(
    shared_store: Database, shared_database: DatabaseUrls, tenant: str
) -> None:
    gone = seed(shared_database, tenant, status="uninstalled")
    off = seed(shared_database, tenant, status="disabled")
    resolver = InstallResolver(loader(shared_store))
    with pytest.raises(NotInstalled):
        await resolver.resolve(tenant, gone.install_id)
    assert not (await resolver.resolve(tenant, off.install_id)).enabled


@pytest.mark.parametrize(
    "reference",
    ["", "x", "a" * 400, "A.B", "../etc", "a..b", "' or 1=1 --", "%", "00000000-0000-4000-8000-00000000000G", "a.b\x00",
     "00000000-0000-4000-8000-00000000000", "ünï.cødé"],
)  # fmt: skip
async def test_what_can_be_no_reference_asks_nobody(reference: str) -> None:
    source = Source(_install())
    with pytest.raises(NotInstalled):
        await InstallResolver(source).resolve("acme", reference)
    assert source.asked == []


async def test_one_statement_reads_an_index_whatever_the_number_of_installs(
    shared_store: Database, shared_database: DatabaseUrls, tenant: str
) -> None:
    made = seed(shared_database, tenant)
    async with shared_store.tenant(tenant) as tx:
        await tx.execute("set local enable_seqscan = off")
        cursor = await tx.execute(
            "explain select 1 from tenant_extension_install i where i.tenant_id = %s and (i.id = %s or i.registry_id = %s)",
            (tenant, made.install_id, made.install_id),
        )
        plan = " ".join(str(row[0]) for row in await cursor.fetchall())
    assert "Seq Scan" not in plan


# ---- the cache ----------------------------------------------------------------------------------------------


async def test_a_found_install_is_asked_for_again_after_five_seconds() -> None:
    clock, source = Clock(), Source(_install())
    resolver = InstallResolver(source, clock=clock)
    await resolver.resolve("acme", "com.acme.notes")
    clock.now_s += INSTALL_CACHE_S - 0.01
    await resolver.resolve("acme", "com.acme.notes")
    assert len(source.asked) == 1
    clock.now_s += 0.01
    await resolver.resolve("acme", "com.acme.notes")
    assert len(source.asked) == 2


async def test_an_absent_install_is_asked_for_again_after_one_second() -> None:
    clock, source = Clock(), Source()
    resolver = InstallResolver(source, clock=clock)
    for elapsed_s, asked in ((0.0, 1), (INSTALL_NEGATIVE_CACHE_S - 0.01, 1), (0.01, 2)):
        clock.now_s += elapsed_s
        with pytest.raises(NotInstalled):
            await resolver.resolve("acme", "com.acme.notes")
        assert len(source.asked) == asked


async def test_one_tenants_answer_is_never_anothers() -> None:
    source = Source(_install())
    resolver = InstallResolver(source)
    await resolver.resolve("acme", "com.acme.notes")
    source.found = ()
    with pytest.raises(NotInstalled):
        await resolver.resolve("globex", "com.acme.notes")


async def test_a_hundred_callers_share_one_look_up_and_one_that_leaves_takes_nothing_with_it() -> None:
    source = Source(_install())
    source.open.clear()
    resolver = InstallResolver(source)
    callers = [asyncio.create_task(resolver.resolve("acme", "com.acme.notes")) for _ in range(100)]
    await asyncio.sleep(0)
    callers[0].cancel()
    await asyncio.sleep(0)
    source.open.set()
    answers = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert {type(answer) for answer in answers[1:]} == {ResolvedInstall}
    assert len(source.asked) == 1


async def test_a_change_drops_the_tenants_answers_and_nobody_elses() -> None:
    source = Source(_install())
    resolver = InstallResolver(source)
    await resolver.resolve("acme", "com.acme.notes")
    await resolver.resolve("globex", "com.acme.notes")
    resolver.forget("acme")
    await resolver.resolve("acme", "com.acme.notes")
    await resolver.resolve("globex", "com.acme.notes")
    assert [tenant for tenant, _ in source.asked] == ["acme", "globex", "acme"]


async def test_what_was_read_before_a_change_is_not_kept_after_it() -> None:
    source = Source(_install(generation=1))
    source.open.clear()
    resolver = InstallResolver(source)
    early = asyncio.create_task(resolver.resolve("acme", "com.acme.notes"))
    await source.began.wait()
    source.found = (_install(generation=2),)
    resolver.forget("acme")
    late = asyncio.create_task(resolver.resolve("acme", "com.acme.notes"))
    await asyncio.sleep(0)
    source.open.set()
    assert (await early).generation == 1
    assert (await late).generation == 2
    assert (await resolver.resolve("acme", "com.acme.notes")).generation == 2
    assert len(source.asked) == 2


async def test_a_gap_in_the_announcements_drops_everything() -> None:
    source = Source(_install())
    resolver = InstallResolver(source)
    await resolver.resolve("acme", "com.acme.notes")
    resolver.doubt_all()
    await resolver.resolve("acme", "com.acme.notes")
    assert len(source.asked) == 2


async def test_the_cache_is_bounded() -> None:
    source = Source(_install())
    resolver = InstallResolver(source)
    for number in range(INSTALL_CACHE_MAX_COUNT + 1):
        await resolver.resolve("acme", f"com.acme.n{number}")
    await resolver.resolve("acme", "com.acme.n1")
    assert len(source.asked) == INSTALL_CACHE_MAX_COUNT + 1
    await resolver.resolve("acme", "com.acme.n0")
    assert len(source.asked) == INSTALL_CACHE_MAX_COUNT + 2


# ---- without the database -----------------------------------------------------------------------------------


async def test_without_the_database_nothing_is_allowed_by_default() -> None:
    clock, source = Clock(), Source(_install())
    resolver = InstallResolver(source, clock=clock)
    await resolver.resolve("acme", "com.acme.notes")
    source.error = AccessPolicyUnavailable()
    clock.now_s += INSTALL_CACHE_S
    with pytest.raises(AccessPolicyUnavailable):
        await resolver.resolve("acme", "com.acme.notes")


async def test_best_effort_serves_what_it_knew_for_a_minute_and_not_longer() -> None:
    clock, source = Clock(), Source(_install())
    resolver = InstallResolver(source, stale_s=60, clock=clock)
    await resolver.resolve("acme", "com.acme.notes")
    resolver.doubt_all()
    source.error = AccessPolicyUnavailable()
    clock.now_s += 60
    assert (await resolver.resolve("acme", "com.acme.notes")).install_id == "i"
    clock.now_s += 0.01
    with pytest.raises(AccessPolicyUnavailable):
        await resolver.resolve("acme", "com.acme.notes")


async def test_best_effort_never_serves_what_was_changed_since() -> None:
    source = Source(_install())
    resolver = InstallResolver(source, stale_s=60)
    await resolver.resolve("acme", "com.acme.notes")
    resolver.forget("acme")
    source.error = AccessPolicyUnavailable()
    with pytest.raises(AccessPolicyUnavailable):
        await resolver.resolve("acme", "com.acme.notes")


async def test_a_failed_look_up_is_tried_again_at_once() -> None:
    source = Source(_install())
    source.error = AccessPolicyUnavailable()
    resolver = InstallResolver(source)
    with pytest.raises(AccessPolicyUnavailable):
        await resolver.resolve("acme", "com.acme.notes")
    source.error = None
    await resolver.resolve("acme", "com.acme.notes")
