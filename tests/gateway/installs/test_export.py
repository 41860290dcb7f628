"""An export has everything an install keeps, as it was written, one object a line, and ends with a line that says so."""

from __future__ import annotations

import base64
import json
from typing import Any

from gateway.store.pool import Database
from shared.limits import INSTALL_EXPORT_PAGE_MAX_COUNT
from tests.gateway.asgi import Client
from tests.gateway.bundles import bundle
from tests.gateway.installs.versions import NAME, Life
from tests.gateway.registry_flow import refused

ASKING = bundle(
    NAME,
    capabilities=["storage.kv"],
    events=[{"topic": "a.b"}, {"topic": "c.d", "handler": "/on"}],
    permissions={"secrets": [{"name": "token"}]},
    api={"endpoints": [{"method": "POST", "path": "/run", "schedulable": True}]},
)

VALUES = [b'{"a": 1.10}', b'"text"', b"null", b'{\n "spread": true\n}', b"\x00\xff", b"", b'"\xe2\x80\xa8"', b"15e2"]


async def lines(life: Life) -> list[dict[str, Any]]:
    answer = await life.get("/export")
    assert (answer.status, answer.header("content-type")) == (200, "application/x-ndjson")
    assert answer.header("cache-control") == "no-store"
    assert answer.body.endswith(b"\n")
    return [json.loads(line) for line in answer.body.split(b"\n")[:-1]]


def of(found: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [{name: value for name, value in line.items() if name != "kind"} for line in found if line["kind"] == kind]


async def filled(life: Life, store: Database, values: list[bytes]) -> None:
    await life.begin(ASKING, grants={"capabilities": ["storage.kv"], "secrets": ["token"]}, config={"region": "emea"})
    assert (await life.client.put(f"/api/installs/{life.id}/secrets", {"token": "hush"})).status == 200
    schedule = {"endpoint": "POST /run", "cron": "0 0 1 1 *", "payload": {"a": [1]}}
    assert (await life.post("schedules", schedule)).status == 201
    async with store.tenant("acme") as tx:
        for number, value in enumerate(values):
            await tx.execute(
                """insert into ext_storage_records (tenant_id, install_id, namespace, key, value, metadata)
                   values ('acme', %s, %s, %s, %s, %s)""",
                (life.id, f"n{number % 2}", f"k{number}", value, '{"m":\n1}' if number == 0 else None),
            )


async def test_what_was_written_is_what_is_exported(life: Life, store: Database) -> None:
    await filled(life, store, VALUES)
    answer = await life.get("/export")
    for value in (b'"value":{"a": 1.10},', b'"value":"text",', b'"value":null,', b'"value":15e2,'):
        assert value in answer.body  # byte for byte
    found = [json.loads(line) for line in answer.body.split(b"\n")[:-1]]
    written = {f"k{number}": value for number, value in enumerate(VALUES)}
    for record in of(found, "record"):
        value = written.pop(record["key"])
        if "value_base64" in record:
            assert base64.b64decode(record["value_base64"]) == value
        else:
            assert json.loads(value) == record["value"]
        assert record["metadata"] == ({"m": 1} if record["key"] == "k0" else None)
        assert record["revision"] == 1
    assert written == {}
    assert of(found, "end") == [{"records": len(VALUES)}]
    assert b"hush" not in answer.body


async def test_everything_else_of_the_install_is_there(life: Life, store: Database) -> None:
    await filled(life, store, [])
    await life.publish(
        bundle(
            NAME,
            "1.1.0",
            **{k: v for k, v in ASKING.manifest.items() if k in ("capabilities", "events", "permissions", "api")},
        )
    )
    await life.upgraded()
    found = await lines(life)
    order = list(dict.fromkeys(line["kind"] for line in found))
    assert order == ["install", "config", "grants", "history", "schedule", "event_subscription", "secret", "end"]
    view = await life.view()
    assert of(found, "install") == [view | {"purge_after": None}]
    assert of(found, "config") == [(await life.get("/config")).json()]
    assert of(found, "grants") == [view["granted"]]
    assert of(found, "history") == (await life.get("/history")).json()["items"]
    assert of(found, "schedule") == (await life.get("/schedules")).json()["items"]
    assert of(found, "event_subscription") == [
        {"topic": "a.b", "handler": "/events"},
        {"topic": "c.d", "handler": "/on"},
    ]
    assert of(found, "secret") == [{"name": "token"}]
    assert of(found, "end") == [{"records": 0}]
    audit = await life.rows("select count(*) from extension_audit_log where action = 'install.exported'")
    assert audit == [(1,)]


async def test_an_export_goes_on_below_at_and_above_a_page(life: Life, store: Database) -> None:
    await life.begin(ASKING)
    page = INSTALL_EXPORT_PAGE_MAX_COUNT
    for count in (page - 1, page, page + 1):
        async with store.tenant("acme") as tx:
            await tx.execute("delete from ext_storage_records")
            await tx.execute(
                """insert into ext_storage_records (tenant_id, install_id, namespace, key, value)
                   select 'acme', %s, 'n' || n %% 3, 'k' || n, '{}' from generate_series(1, %s) n""",
                (life.id, count),
            )
        found = await lines(life)
        assert len({(one["namespace"], one["key"]) for one in of(found, "record")}) == count
        assert of(found, "end") == [{"records": count}]


async def test_records_past_their_time_are_not_exported(life: Life, store: Database) -> None:
    await filled(life, store, [b"1", b"2"])
    await life.rows_of("update ext_storage_records set expires_at = now() where key = 'k0'")
    assert [one["key"] for one in of(await lines(life), "record")] == ["k1"]


async def test_an_uninstalled_install_is_exported_until_it_is_purged(life: Life, store: Database) -> None:
    await filled(life, store, [b"1"])
    await life.client.delete(f"/api/installs/{life.id}")
    found = await lines(life)
    assert of(found, "install")[0]["status"] == "uninstalled"
    assert of(found, "install")[0]["purge_after"] is not None
    assert of(found, "end") == [{"records": 1}]
    await life.rows_of("update tenant_extension_install set purge_after = now()")
    refused(await life.get("/export"), 404, "not_installed")


async def test_another_tenant_gets_no_export(life: Life, other: Client, store: Database) -> None:
    await filled(life, store, [b'"mine"'])
    refused(await other.get(f"/api/installs/{life.id}/export"), 404, "not_installed")
