"""The life of an install through the running platform: consent, upgrade under load, rollback, export, and its end.

The two versions are two samples under one name, so that each answer says which of them gave it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
import pytest_asyncio
from psycopg import sql

from deploy.local.record import Stack
from shared.digest import sha256_hex
from shared.keys import PrivateKey
from tests.system.acting import Answer, Visitor, manifest, packed, signed, visiting
from tests.system.keepers import Keeper, component

NAME = "tests.upgrades"
OLD, NEW = "javascript (quickjs)", "javascript (starlingmonkey)"
PARALLEL = 200

KEPT = {"extension_execution_log"}
"""Tables that name installs and outlive them: the tenant's account of what ran."""

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Lives(Keeper, frozen=True):
    """The install, through its versions.

    Attributes:
        old, same, new: versions: one that is installed, another with the same asks, and one that asks for more.
    """

    old: str
    same: str
    new: str

    async def change(self, tail: str, body: object = None) -> Answer:
        """`POST` to the install."""
        return await self.visitor.post(f"/api/installs/{self.install_id}/{tail}", body or {})

    async def view(self) -> Any:
        """The install as it stands."""
        return (await self.visitor.get(f"/api/installs/{self.install_id}")).json()

    async def says(self) -> str:
        """The language of the guest that answers."""
        answer = await self.visitor.get(f"/api/ext/{self.install_id}/hello")
        assert answer.status == 200, answer.body
        return str(answer.json()["language"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def admin(stack: Stack) -> AsyncIterator[Visitor]:
    """The administrator of the tenant `acme`, for all tests of this file."""
    async with visiting(stack, stack.tenant("acme").admin_token) as visitor:
        yield visitor


async def published(admin: Visitor, folder: Path, guest: bytes, number: str, **more: Any) -> str:
    """A version of the extension with this guest; what it is called."""
    version = f"{number}-c{sha256_hex(guest)[:8]}"  # a sample may be built anew while the stack runs
    described = manifest(NAME, version, **more)
    data, digest = packed(folder, described, guest)
    key = PrivateKey.from_pem(Path(admin.stack.signing_key).read_text())
    answer = await admin.publish(data, signed(described, digest, key))
    assert answer.status == 200, answer.body
    assert answer.json()["state"] == "ready", answer.body
    return version


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def versions(admin: Visitor, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """The three versions, ready."""
    folder = tmp_path_factory.mktemp("upgrades")
    quick, starling = await component("hello-quickjs"), await component("hello-starling")
    keeps = {"capabilities": ["cap:storage.kv"]}
    wider = {
        "capabilities": ["cap:storage.kv", "cap:http.fetch"],
        "permissions": {"egress": [{"host": "api.example.com", "reason": "reads rates"}]},
    }
    return (
        await published(admin, folder, quick, "1.0.0", **keeps),
        await published(admin, folder, starling, "1.1.0", **keeps),
        await published(admin, folder, starling, "2.0.0", **wider),
    )


@pytest_asyncio.fixture(loop_scope="module")
async def life(admin: Visitor, versions: tuple[str, str, str]) -> AsyncIterator[Lives]:
    """The oldest version, installed with storage; nothing of it is left behind."""
    grants = {"capabilities": ["cap:storage.kv"]}
    installed = await admin.post("/api/installs", {"extension": NAME, "version": versions[0], "grants": grants})
    assert installed.status == 201, installed.body
    install_id = str(installed.json()["install_id"])
    yield Lives(admin, install_id, *versions)
    await admin.call("DELETE", f"/api/installs/{install_id}?purge=true")


async def rows_of(stack: Stack, install_id: str) -> dict[str, int]:
    """How many rows each table has that name the install, for every table with a column for it."""
    found: dict[str, int] = {}
    async with await psycopg.AsyncConnection.connect(stack.database_url) as database:
        cursor = await database.execute(
            """select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid
                where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
                  and a.attname = 'install_id' and not a.attisdropped"""
        )
        for (table,) in await cursor.fetchall():
            count = sql.SQL("select count(*) from {} where install_id = %s").format(sql.Identifier(str(table)))
            row = await (await database.execute(count, (install_id,))).fetchone()
            assert row is not None
            found[str(table)] = int(row[0])
    return found


async def test_what_asks_for_more_waits_while_the_old_version_answers_and_consent_switches(life: Lives) -> None:
    assert await life.says() == OLD
    answer = await life.change("upgrade", {"version": life.new})
    assert answer.status == 202, answer.body
    diff = answer.json()["upgrade"]["diff"]
    assert diff["capabilities"]["added"] == ["cap:http.fetch"]
    assert diff["egress"]["added"] == [{"host": "api.example.com", "reason": "reads rates"}]
    assert await life.says() == OLD
    answer = await life.change("consent", {"grants": {"capabilities": ["storage.kv"]}, "version": life.new})
    assert (answer.status, answer.json()["version"]) == (200, life.new), answer.body
    assert await _soon(life, NEW)


async def test_one_call_goes_back_and_what_was_kept_is_there(life: Lives) -> None:
    assert (await life.put("k", b"kept")).status == 200
    assert (await life.change("upgrade", {"version": life.same})).status == 200
    assert await _soon(life, NEW)
    assert (await life.get("k")).body == b"kept"
    answer = await life.change("rollback")
    assert (answer.status, answer.json()["version"]) == (200, life.old), answer.body
    assert await _soon(life, OLD)
    assert (await life.get("k")).body == b"kept"


async def test_an_upgrade_under_parallel_calls_fails_none_and_each_is_answered_by_one_version(
    stack: Stack, life: Lives
) -> None:
    assert await life.says() == OLD
    started = asyncio.Event()
    answers: list[Answer] = []

    async def caller(number: int) -> None:
        answer = await life.visitor.get(f"/api/ext/{life.install_id}/hello?n={number}")
        answers.append(answer)
        if len(answers) == PARALLEL // 8:
            started.set()

    async with asyncio.TaskGroup() as group:
        for number in range(PARALLEL):
            group.create_task(caller(number))
        await started.wait()
        changed = await life.change("upgrade", {"version": life.same})
    assert changed.status == 200, changed.body
    assert len(answers) == PARALLEL
    assert {answer.status for answer in answers} == {200}, [answer.body for answer in answers if answer.status != 200]
    assert await _soon(life, NEW)
    ran = await _ran(stack, [answer.headers["x-request-id"] for answer in answers])
    expected = {
        await _version_id(stack, life, life.old): OLD,
        await _version_id(stack, life, life.same): NEW,
    }
    for answer in answers:
        (version_id,) = ran[answer.headers["x-request-id"]]
        assert expected[version_id] == answer.json()["language"]


async def test_a_purge_leaves_no_row_of_the_install(stack: Stack, life: Lives) -> None:
    assert (await life.put("k", b"kept")).status == 200
    await life.change("upgrade", {"version": life.new})
    before = await rows_of(stack, life.install_id)
    for table in ("ext_storage_records", "install_version_history", "tenant_extension_install_upgrade"):
        assert before[table], table
    answer = await life.visitor.call("DELETE", f"/api/installs/{life.install_id}?purge=true")
    assert (answer.status, answer.json()["status"]) == (200, "uninstalled"), answer.body
    after = await rows_of(stack, life.install_id)
    assert {table for table, count in after.items() if count} <= KEPT
    assert (await life.visitor.get(f"/api/ext/{life.install_id}/hello")).code == "not_installed"


async def test_an_export_has_what_the_guest_wrote_also_after_it_was_uninstalled(life: Lives) -> None:
    written = {f"k{number}": json.dumps({"n": number, "text": "é"}).encode() for number in range(70)}
    for key, value in written.items():
        assert (await life.put(key, value)).status == 200
    for _ in range(2):
        answer = await life.visitor.get(f"/api/installs/{life.install_id}/export")
        assert answer.status == 200
        lines = [msgspec.json.decode(line) for line in answer.body.splitlines()]
        records = {line["key"]: line["value"] for line in lines if line["kind"] == "record"}
        assert records == {key: json.loads(value) for key, value in written.items()}
        assert lines[0]["kind"] == "install"
        assert lines[-1] == {"kind": "end", "records": len(written)}
        await life.visitor.call("DELETE", f"/api/installs/{life.install_id}")


async def test_another_tenant_sees_none_of_it(stack: Stack, life: Lives) -> None:
    stranger = life.visitor.with_token(stack.tenant("globex").admin_token)
    one = f"/api/installs/{life.install_id}"
    for tail in ("", "/history", "/grants", "/export", "/diff"):
        assert (await stranger.get(one + tail)).code == "not_installed"
    for tail, body in (("/upgrade", {}), ("/rollback", {}), ("/consent", {"grants": {}})):
        assert (await stranger.post(one + tail, body)).code == "not_installed"
    assert (await stranger.call("DELETE", f"{one}?purge=true")).code == "not_installed"
    assert (await life.view())["version"] == life.old


async def _soon(life: Lives, language: str) -> bool:
    """Whether the next answers come from the other guest; the change is announced, not waited for."""
    async with asyncio.timeout(10):
        while True:
            if await life.says() == language:
                return True
            await asyncio.sleep(0.05)


async def _ran(stack: Stack, request_ids: list[str]) -> dict[str, list[str]]:
    """The versions that ran for each request."""
    found: dict[str, list[str]] = {}
    async with await psycopg.AsyncConnection.connect(stack.database_url) as database:
        cursor = await database.execute(
            "select request_id, version_id from extension_execution_log where request_id = any(%s)", (request_ids,)
        )
        for request_id, version_id in await cursor.fetchall():
            found.setdefault(str(request_id), []).append(str(version_id))
    return found


async def _version_id(stack: Stack, life: Lives, version: str) -> str:
    async with await psycopg.AsyncConnection.connect(stack.database_url) as database:
        cursor = await database.execute(
            """select v.id from extension_version v join tenant_extension_install i on i.registry_id = v.registry_id
                where i.id = %s and v.version = %s""",
            (life.install_id, version),
        )
        row = await cursor.fetchone()
        assert row is not None
        return str(row[0])
