"""The end of an install: nothing of it is left in any table, neither at once nor by and by, and nothing of others goes."""

from __future__ import annotations

import uuid

import psycopg
import pytest
from psycopg import sql

from gateway.installs.purge import expired, purge, purge_expired
from gateway.store.pool import Database
from tests.gateway.asgi import Client
from tests.gateway.bundles import bundle
from tests.gateway.installs.versions import NAME, Life
from tests.gateway.registry_flow import install, refused
from tests.gateway.services import owner

ASKING = bundle(
    NAME,
    events=[{"topic": "a.b"}],
    capabilities=["storage.kv", "http.fetch"],
    permissions={"secrets": [{"name": "token"}]},
    api={"endpoints": [{"method": "POST", "path": "/run", "schedulable": True}]},
)
WAITS = bundle(NAME, "2.0.0", capabilities=["storage.kv", "http.fetch", "events.publish"])

KEPT = {"extension_execution_log": "the tenant's account of what ran; it holds nothing of the extension's"}
"""Tables that name installs and outlive them, each with its reason."""

FILL = """
insert into ext_storage_records (tenant_id, install_id, namespace, key, value)
  select tenant_id, id, 'n' || n % 3, 'k' || n, '{}' from tenant_extension_install, generate_series(1, 2500) n;
insert into tenant_extension_denied_target (tenant_id, install_id, target, reason, grantable, observed, times)
  select tenant_id, id, 'https://a.example', 'not-granted', true, false, 1 from tenant_extension_install;
insert into extension_event (tenant_id, id, source, topic, occurred_at, sha256, hops, install_id)
  select tenant_id, gen_random_uuid(), '/me', 'a.b', now(), '', 1, id from tenant_extension_install,
         generate_series(1, 3);
insert into extension_event (tenant_id, id, source, topic, occurred_at, sha256, hops)
  select tenant_id, gen_random_uuid(), '/host', 'a.b', now(), '', 1 from tenant_extension_install;
insert into extension_event_delivery (tenant_id, event_id, install_id)
  select e.tenant_id, e.id, i.id from extension_event e join tenant_extension_install i using (tenant_id);
insert into tenant_extension_schedule (id, tenant_id, install_id, endpoint_method, endpoint_path, cron, timezone)
  select gen_random_uuid(), tenant_id, id, 'POST', '/run', '0 0 1 1 *', 'UTC' from tenant_extension_install;
insert into tenant_extension_schedule_run (schedule_id, fire_at, tenant_id, cause, state)
  select id, now(), tenant_id, 'time', 'ok' from tenant_extension_schedule;
insert into extension_execution_log (id, tenant_id, request_id, registry_id, install_id, version_id, content_hash, method,
                                     deadline_at)
  select gen_random_uuid(), tenant_id, 'r', registry_id, id, version_id, 'sha256:', 'GET', now()
    from tenant_extension_install;
"""


async def tables(life: Life) -> list[str]:
    """Every table with a column that names an install, from the catalogue, so that a new one cannot be forgotten."""
    rows = await life.rows(
        """select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid
            where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
              and a.attname = 'install_id' and not a.attisdropped order by 1"""
    )
    return [str(row[0]) for row in rows]


async def counts(life: Life, install_id: str) -> dict[str, int]:
    """How many rows of an install each table has."""
    found: dict[str, int] = {}
    async with owner(life.database.owner) as connection:
        for table in await tables(life):
            statement = sql.SQL("select count(*) from {} where install_id = %s").format(sql.Identifier(table))
            row = await (await connection.execute(statement, (install_id,))).fetchone()
            assert row is not None
            found[table] = int(str(row[0]))
    return found


@pytest.fixture
async def neighbour(life: Life, other: Client) -> str:
    """Another tenant's install of the same extension."""
    await life.begin(ASKING, grants={"secrets": ["token"]})
    await life.rows_of("update extension_registry set visibility = 'unlisted'")
    answer = await install(other, NAME, version="1.0.0", grants={"secrets": ["token"]})
    assert answer.status == 201
    found: str = answer.json()["install_id"]
    await life.publish(WAITS)
    for client, one in ((life.client, life.id), (other, found)):
        assert (await client.put(f"/api/installs/{one}/secrets", {"token": "t"})).status == 200
        assert (await client.post(f"/api/installs/{one}/upgrade", {"version": "2.0.0"})).status == 202
    await life.rows_of(FILL)
    return found


async def is_gone(life: Life) -> None:
    left = await counts(life, life.id)
    assert {table for table, count in left.items() if count} == set(KEPT)
    assert await life.rows(f"select * from tenant_extension_install where id = '{life.id}'") == []
    assert await life.rows("select tenant_id from tenant_extension_schedule_run") == [("globex",)]
    hosts = "select tenant_id from extension_event where install_id is null order by 1"
    assert await life.rows(hosts) == [("acme",), ("globex",)]  # what the host application published stays


async def test_a_purge_leaves_no_row_of_the_install_and_every_row_of_others(life: Life, neighbour: str) -> None:
    mine, theirs = await counts(life, life.id), await counts(life, neighbour)
    assert all(mine.values()), "each table is filled, or this proves nothing about it"
    answer = await life.client.delete(f"/api/installs/{life.id}?purge=true")
    assert (answer.status, answer.json()["status"]) == (200, "uninstalled")
    await is_gone(life)
    assert await counts(life, neighbour) == theirs
    refused(await life.get(), 404, "not_installed")
    refused(await life.client.delete(f"/api/installs/{life.id}?purge=true"), 404, "not_installed")
    refused(await life.get("/export"), 404, "not_installed")
    audit = await life.rows(
        "select action, actor from extension_audit_log where tenant_id = 'acme' order by id desc limit 3"
    )
    assert [row[0] for row in audit] == ["install.purged", "install.uninstalled", "install.purge_asked"]
    feed = await life.rows(f"select kind from state_feed where subject = '{life.id}' order by seq desc limit 1")
    assert feed == [("disabled_install",)]


async def test_what_was_uninstalled_before_can_be_purged(life: Life, neighbour: str) -> None:
    await life.client.delete(f"/api/installs/{life.id}")
    assert (await counts(life, life.id))["ext_storage_records"] == 2500
    refused(await life.client.delete(f"/api/installs/{life.id}?purge=perhaps"), 400, "invalid_request")
    refused(await life.client.delete(f"/api/installs/{life.id}?purge=false"), 404, "not_installed")
    assert (await life.client.delete(f"/api/installs/{life.id}?purge=true")).status == 200
    await is_gone(life)


async def test_upkeep_purges_what_is_past_its_time_and_nothing_else(
    life: Life, neighbour: str, store: Database
) -> None:
    await life.client.delete(f"/api/installs/{life.id}")
    await purge_expired(store)()
    assert (await counts(life, life.id))["ext_storage_records"] == 2500
    await life.rows_of("update tenant_extension_install set purge_after = now() where status = 'uninstalled'")
    theirs = await counts(life, neighbour)
    await purge_expired(store)()
    await is_gone(life)
    assert await counts(life, neighbour) == theirs
    audit = await life.rows("select action, actor from extension_audit_log order by id desc limit 1")
    assert audit == [("install.purged", "platform")]
    await purge_expired(store)()  # nothing is left to do


async def test_an_install_that_is_there_is_never_purged(life: Life, neighbour: str, store: Database) -> None:
    before = await counts(life, life.id)
    assert not await purge(store, expired("acme", life.id))
    assert await counts(life, life.id) == before


async def test_a_purge_that_was_cut_off_is_finished_by_upkeep(life: Life, neighbour: str, store: Database) -> None:
    await life.client.delete(f"/api/installs/{life.id}")
    await life.rows_of(
        f"""update tenant_extension_install set purge_after = now() where status = 'uninstalled';
            delete from ext_storage_records where install_id = '{life.id}' and namespace = 'n1'"""
    )
    await purge_expired(store)()
    await is_gone(life)


async def test_an_extension_is_installed_anew_after_a_purge(life: Life, neighbour: str) -> None:
    await life.client.delete(f"/api/installs/{life.id}?purge=true")
    again = await install(life.client, NAME, version="1.0.0")
    assert again.status == 201
    assert again.json()["install_id"] != life.id


async def test_what_is_being_purged_is_not_brought_back_but_installed_anew(life: Life, neighbour: str) -> None:
    await life.client.delete(f"/api/installs/{life.id}")
    await life.rows_of("update tenant_extension_install set purge_after = now() where status = 'uninstalled'")
    again = await install(life.client, NAME, version="1.0.0")
    assert again.status == 201
    assert again.json()["install_id"] != life.id
    await is_gone(life)


@pytest.mark.security
@pytest.mark.parametrize(
    "table",
    [
        "tenant_extension_install",
        "tenant_extension_install_config",
        "install_version_history",
        "extension_event",
    ],
)
async def test_a_tenants_transaction_cannot_remove_what_can_still_be_brought_back(
    life: Life, neighbour: str, store: Database, table: str
) -> None:
    statement = sql.SQL("delete from {}").format(sql.Identifier(table))
    for undo in ("enabled", "uninstalled"):
        if undo == "uninstalled":
            await life.client.delete(f"/api/installs/{life.id}")
        async with store.tenant("acme") as tx:
            assert (await tx.execute(statement)).rowcount == 0


@pytest.mark.security
async def test_a_waiting_version_of_another_tenant_is_neither_seen_nor_written(
    life: Life, neighbour: str, store: Database
) -> None:
    async with store.tenant("acme") as tx:
        cursor = await tx.execute("select install_id from tenant_extension_install_upgrade")
        assert [str(row[0]) for row in await cursor.fetchall()] == [life.id]
        changed = await tx.execute("update tenant_extension_install_upgrade set requested_by = 'x'")
        assert changed.rowcount == 1
        removed = await tx.execute(
            "delete from tenant_extension_install_upgrade where install_id = %s", (uuid.UUID(neighbour),)
        )
        assert removed.rowcount == 0
    insert = """insert into tenant_extension_install_upgrade (install_id, tenant_id, version_id, requested_by)
                select %s, %s, version_id, 'x' from tenant_extension_install limit 1
                on conflict (install_id) do update set requested_by = 'y'"""
    for tenant_id in ("acme", "globex"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with store.tenant("acme") as tx:
                await tx.execute(insert, (neighbour, tenant_id))
