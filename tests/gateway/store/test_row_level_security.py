"""Tenant isolation, table by table. The tables come from the catalogue, so that a new one cannot be forgotten."""

from __future__ import annotations

import uuid

import psycopg
import pytest
from psycopg import sql

from gateway.identity import api_keys as keys
from gateway.store import api_keys
from gateway.store.pool import Database, Tx
from shared.keys import PrivateKey
from shared.wire import Sbom, SbomPackage
from tests.gateway.asgi import Client
from tests.gateway.bundles import bundle
from tests.gateway.registry_flow import install, publish
from tests.gateway.services import DatabaseUrls, owner
from tests.gateway.stub_compiler import StubCompiler

OPEN = {"schema_migration"}
"""Tables about no tenant: everyone may read them."""

WRITE_ONLY = {"state_feed", "publish_refusal"}
"""Tables a tenant's transaction may add to and never read."""

PLATFORM_ONLY = {"console_session", "emergency_brake", "revoked_key", "abuse_alert", "upkeep_lease"}
"""Tables a tenant's transaction cannot touch at all; of a brake that is pulled it reads what it stops, and no more."""

TENANTS = ("acme", "globex")


async def tables(url: str) -> list[str]:
    """Every table, partitions included."""
    async with owner(url) as connection:
        cursor = await connection.execute(
            """select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')
                order by relname"""
        )
        return [str(row[0]) for row in await cursor.fetchall()]


async def is_partition(url: str, table: str) -> bool:
    async with owner(url) as connection:
        cursor = await connection.execute("select relispartition from pg_class where relname = %s", (table,))
        row = await cursor.fetchone()
        assert row is not None
        return bool(row[0])


async def hang(tx: Tx) -> None:
    """Rows of what hangs on an install, for each of the tenant's."""
    await tx.execute(
        """insert into ext_storage_records (tenant_id, install_id, namespace, key, value)
           select tenant_id, id, 'notes', 'first', '' from tenant_extension_install"""
    )
    await tx.execute(
        """insert into tenant_extension_denied_target
             (tenant_id, install_id, target, reason, grantable, observed, times)
           select tenant_id, id, 'https://a.example', 'not-granted', true, false, 1
             from tenant_extension_install"""
    )
    await tx.execute(
        """insert into tenant_extension_install_upgrade (install_id, tenant_id, version_id, requested_by)
           select id, tenant_id, version_id, 'test' from tenant_extension_install"""
    )
    await tx.execute(
        """with event as (
             insert into extension_event (tenant_id, id, source, topic, occurred_at, sha256, hops)
             select tenant_id, gen_random_uuid(), '/host', 'a.b', now(), '', 1 from tenant_extension_install
             returning tenant_id, id
           ) insert into extension_event_delivery (tenant_id, event_id, install_id)
           select e.tenant_id, e.id, i.id from event e, tenant_extension_install i"""
    )
    await tx.execute(
        """insert into tenant_extension_schedule
             (id, tenant_id, install_id, endpoint_method, endpoint_path, cron, timezone)
           select gen_random_uuid(), tenant_id, id, 'POST', '/notes', '0 0 1 1 *', 'UTC'
             from tenant_extension_install"""
    )


@pytest.fixture
async def populated(
    store: Database,
    database: DatabaseUrls,
    public: Client,
    other: Client,
    compiler: StubCompiler,
    publisher_key: PrivateKey,
) -> DatabaseUrls:
    """Rows of two tenants in every table."""
    for tenant, client in zip(TENANTS, (public, other), strict=True):
        one = bundle(f"{tenant}.crm", publisher=tenant, salt="events", events=[{"topic": "a.b"}])
        sbom = Sbom(
            format="spdx", spec_version="2.3", path="s.json", sha256="0" * 64, packages=(SbomPackage(name=tenant),)
        )
        await publish(client, compiler, one, publisher_key, sbom=sbom)
        made = await install(client, f"{tenant}.crm", config={"region": tenant})
        assert made.status == 201
        sealed = await client.put(f"/api/installs/{made.json()['install_id']}/secrets", {"api_key": tenant})
        assert sealed.status == 200
        fresh = keys.generate()
        async with store.tenant(tenant) as tx:
            await api_keys.insert(
                tx,
                key_id=fresh.id,
                tenant_id=tenant,
                name="ci",
                secret_sha256=fresh.secret_sha256,
                permissions=["extension:read"],
                created_by="test",
            )
        async with store.platform() as tx:
            await tx.execute(
                """insert into extension_execution_log (id, tenant_id, request_id, registry_id, install_id, version_id,
                                                        content_hash, method, deadline_at)
                   values (%s, %s, 'r', %s, %s, %s, 'sha256:', 'GET', now())""",
                (str(uuid.uuid4()), tenant, str(uuid.uuid4()), str(uuid.uuid4()), str(uuid.uuid4())),
            )
            await tx.execute(
                """insert into extension_quota_usage (tenant_id, registry_id, window_start)
                   values (%s, gen_random_uuid(), now())""",
                (tenant,),
            )
        async with store.tenant(tenant) as tx:
            await hang(tx)
        async with store.platform() as tx:
            await tx.execute(
                """insert into tenant_extension_schedule_run (schedule_id, fire_at, tenant_id, cause, state)
                   select id, now(), tenant_id, 'time', 'ok' from tenant_extension_schedule where tenant_id = %s""",
                (tenant,),
            )
    return database


async def visible(tx: Tx, table: str) -> set[str]:
    """Which rows of a table a transaction sees, by their place."""
    statement = sql.SQL("select tableoid::regclass::text || ctid::text from {}").format(sql.Identifier(table))
    return {str(row[0]) for row in await (await tx.execute(statement)).fetchall()}


async def test_every_table_forces_row_level_security(database: DatabaseUrls) -> None:
    async with owner(database.owner) as connection:
        cursor = await connection.execute(
            """select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')
                and not (relrowsecurity and relforcerowsecurity)"""
        )
        assert {str(row[0]) for row in await cursor.fetchall()} == OPEN


async def test_the_serving_logins_own_nothing_and_are_nothing_special(database: DatabaseUrls) -> None:
    async with owner(database.owner) as connection:
        cursor = await connection.execute(
            """select count(*) from pg_class where relowner in ('gateway_app'::regrole, 'gateway_platform'::regrole)"""
        )
        assert await cursor.fetchone() == (0,)
        cursor = await connection.execute(
            """select rolname from pg_roles where rolname like 'gateway_%'
                and (rolsuper or rolbypassrls or rolcreaterole or rolcreatedb)"""
        )
        assert await cursor.fetchall() == []


async def test_two_tenants_see_disjoint_rows_of_every_table(populated: DatabaseUrls, store: Database) -> None:
    for table in await tables(populated.owner):
        if table in OPEN | WRITE_ONLY | PLATFORM_ONLY or await is_partition(populated.owner, table):
            continue
        seen = {}
        for tenant in TENANTS:
            async with store.tenant(tenant) as tx:
                seen[tenant] = await visible(tx, table)
        assert seen["acme"], f"{table}: this test needs rows of both tenants in it"
        assert seen["globex"], f"{table}: this test needs rows of both tenants in it"
        assert not seen["acme"] & seen["globex"], table


@pytest.mark.parametrize("setting", ["unset", "empty", "somebody else", "left over"])
async def test_without_a_tenant_of_its_own_no_transaction_sees_a_row(
    populated: DatabaseUrls, store: Database, setting: str
) -> None:
    async with store.tenant("acme"):
        pass  # the connection has now carried a tenant
    async with store._app.connection() as connection:
        for table in await tables(populated.owner):
            if table in OPEN:
                continue
            async with connection.transaction():
                if setting == "empty":
                    await connection.execute("select set_config('app.tenant', '', true)")
                if setting == "somebody else":
                    await connection.execute("select set_config('app.tenant', 'nobody', true)")
                try:
                    async with connection.transaction():
                        assert not await visible(connection, table), table
                except psycopg.errors.InsufficientPrivilege:
                    assert table in WRITE_ONLY | PLATFORM_ONLY or await is_partition(populated.owner, table), table


async def test_a_tenant_cannot_write_into_another_ones_rows(populated: DatabaseUrls, store: Database) -> None:
    async with store.tenant("globex") as tx:
        row = await (await tx.execute("select id from tenant_extension_install")).fetchone()
    assert row is not None
    async with store.tenant("acme") as tx:
        cursor = await tx.execute("update tenant_extension_install set status = 'disabled' where id = %s", (row[0],))
        assert cursor.rowcount == 0
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with store.tenant("acme") as tx:
            await tx.execute("update tenant_extension_install set tenant_id = 'globex'")


@pytest.mark.parametrize(
    "statement",
    [
        "insert into state_feed (kind, subject) values ('revoked_key', 'abc')",
        "insert into state_feed (kind, subject) values ('disabled_install', gen_random_uuid()::text)",
        "insert into state_feed (kind, subject) values ('ui_live', 'a/sha256:b')",
        "select * from state_feed",
        "select * from console_session",
        "delete from console_session",
        "delete from extension_audit_log",
        "update extension_audit_log set actor = 'nobody'",
        "update extension_version set revoked_at = null",
        "update publisher set approved = true",
        "update publisher set suspended_at = null",
        "insert into publisher (name, owner_account, suspended_at) values ('mine', 'acme', now())",
        "select reason from emergency_brake",
        "select pulled_by from emergency_brake",
        "insert into emergency_brake (scope, reason, pulled_by) values ('all', 'r', 'me')",
        "update emergency_brake set released_at = now()",
        "select * from revoked_key",
        "select * from abuse_alert",
        "update abuse_alert set resolved_at = now()",
        "select * from publish_refusal",
        "delete from publish_refusal",
        "insert into publish_refusal (account, code) values ('globex', 'x')",
        "insert into publish_refusal (account, publisher, code) values ('acme', 'globex', 'x')",
        "update upkeep_lease set holder = 'me'",
        "update extension_version set revoked_reason = 'none'",
        "update extension_bundle set content_hash = 'x'",
        "insert into extension_sbom_package (version_id, ordinal, name) values (gen_random_uuid(), 1, 'n')",
        "insert into publisher (name, owner_account, approved) values ('mine', 'acme', true)",
        "insert into publisher (name, owner_account) values ('theirs', 'globex')",
        "insert into extension_execution_log (id) values (gen_random_uuid())",
        "update api_key set permissions = '{platform:admin}'",
        "select ensure_execution_log_partitions()",
        "create table mine ()",
        """insert into tenant_extension_schedule
             (id, tenant_id, install_id, endpoint_method, endpoint_path, cron, timezone)
           values (gen_random_uuid(), 'acme', gen_random_uuid(), 'POST', '/', '0 0 1 1 *', 'UTC')""",
        """insert into tenant_extension_schedule_run (schedule_id, fire_at, tenant_id, cause, state)
           values (gen_random_uuid(), now(), 'acme', 'time', 'ok')""",
        "update tenant_extension_schedule_run set state = 'ok'",
        "delete from tenant_extension_schedule_run",
        "insert into ext_storage_usage values ('globex', gen_random_uuid(), 0, 0)",
        "insert into ext_storage_namespaces values ('globex', gen_random_uuid(), 'n', 0)",
        "insert into ext_storage_records select 'globex', gen_random_uuid(), 'n', 'k', ''",
        """insert into extension_event (tenant_id, id, source, topic, occurred_at, sha256, hops)
           values ('globex', gen_random_uuid(), '/host', 'a.b', now(), '', 1)""",
        "insert into extension_event_delivery values ('globex', gen_random_uuid(), gen_random_uuid())",
        "insert into extension_event_delivery values ('acme', gen_random_uuid(), gen_random_uuid())",
        "insert into extension_event_subscription values (gen_random_uuid(), 'a.b', '/events')",
        "update extension_event set topic = 'c.d'",
        "update extension_event_subscription set handler = '/'",
        "insert into tenant_extension_denied_target values ('globex', gen_random_uuid(), 't', 'r', true, false, 1)",
        "insert into tenant_extension_denied_target values ('acme', gen_random_uuid(), 't', 'r', true, false, 1)",
    ],
)
async def test_a_tenants_transaction_is_refused(store: Database, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with store.tenant("acme") as tx:
            await tx.execute(statement)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "statement",
    [
        "update tenant_extension_install set status = 'disabled'",
        "update extension_version set state = 'ready'",
        "update api_key set permissions = '{extension:admin}'",
        "delete from state_feed",
        "delete from extension_execution_log",
        "select config from tenant_extension_install_config",
        "select * from extension_audit_log",
        "update extension_audit_log set actor = 'nobody'",
        "update publisher set owner_account = 'globex'",
        "update emergency_brake set reason = 'none'",
        "delete from emergency_brake",
        "delete from revoked_key",
        "update revoked_key set reason = 'none'",
        "update extension_bundle set signature = '{}'",
        "select * from extension_sbom_package",
        "delete from tenant_extension_install_secrets",
        "update tenant_extension_install_secrets set hosts = '{}'",
        "update console_session set tenant_id = 'globex'",
        "select payload from extension_event",
        "select topic from extension_event",
        "update extension_event set payload = null",
        "insert into extension_event_delivery values ('acme', gen_random_uuid(), gen_random_uuid())",
        "update extension_event_delivery set install_id = gen_random_uuid()",
        "update extension_event_delivery set tenant_id = 'globex'",
        "select target from tenant_extension_denied_target",
        "update tenant_extension_denied_target set last_at = now()",
        "insert into tenant_extension_denied_target values ('acme', gen_random_uuid(), 't', 'r', true, false, 1)",
    ],
)
async def test_the_platforms_transaction_is_refused(store: Database, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with store.platform() as tx:
            await tx.execute(statement)  # type: ignore[arg-type]
