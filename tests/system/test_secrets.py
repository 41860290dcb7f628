"""Secrets through the whole platform, with real guests in two languages: read where granted, nowhere to be seen else."""

from __future__ import annotations

import asyncio
import base64
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import psycopg
import pytest
from psycopg import sql
from redis.asyncio import Redis as Client

from deploy.local.record import Stack
from tests.system.acting import Answer, Visitor
from tests.system.recorded import row_of
from tests.system.secret_keepers import CANARY, SOURCES, Keeper, installed, offered, settles
from tests.system.watching import watching

pytestmark = [pytest.mark.guests, pytest.mark.timeout(300)]

every_guest = pytest.mark.parametrize("engine", SOURCES)


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[Client]:
    async with Client.from_url(stack.redis_url, protocol=2) as found:
        yield found


# ---- granted, denied, expired, missing ----------------------------------------------------------------------


@every_guest
async def test_a_guest_reads_what_its_install_was_given(keeper: Keeper) -> None:
    assert (await keeper.put({"api_key": CANARY, "webhook": "another-canary"})).status == 200
    assert await keeper.get("api_key") == {"value": CANARY}
    assert (await keeper.call("/list")).json() == {"names": ["api_key", "webhook"]}
    assert (await keeper.put({"api_key": "a-new-canary"})).status == 200
    await settles(lambda: keeper.get("api_key"), {"value": "a-new-canary"})


@every_guest
async def test_a_secret_can_be_missing_or_past_its_time(keeper: Keeper, stack: Stack) -> None:
    await keeper.put({"api_key": CANARY})
    assert await keeper.get("webhook") == {"error": "missing"}
    with psycopg.connect(stack.database_url, autocommit=True) as database:
        database.execute(
            "update tenant_extension_install_secrets set expires_at = now() - interval '1 s' where install_id = %s",
            (keeper.install_id,),
        )
    await keeper.put({"webhook": "another-canary"})  # gateways look again
    await settles(lambda: keeper.get("webhook"), {"value": "another-canary"})
    answer = await keeper.call("/get/api_key")
    assert answer.json() == {"error": "expired"}
    row = await row_of(stack, answer)
    assert (row["state"], row["code"], row["blame"]) == ("ok", "secret_expired", "host")


@every_guest
async def test_without_the_grant_it_is_denied_and_nothing_is_listed(
    engine: str, admin: Visitor, secret_component: Callable[[str], bytes], tmp_path: Path
) -> None:
    version = await offered(admin, tmp_path, f"tests.secrets-bare-{engine}", secret_component(engine))
    bare = await installed(admin, version, granted=False)
    await bare.put({"api_key": CANARY})
    assert await bare.get("api_key") == {"error": "denied"}
    assert (await bare.call("/list")).json() == {"names": []}


@every_guest
async def test_two_tenants_have_secrets_of_their_own(keeper: Keeper, version: dict[str, Any], other: Visitor) -> None:
    theirs = await installed(other, version, granted=True)
    await keeper.put({"api_key": "canary-of-acme"})
    await theirs.put({"api_key": "canary-of-globex"})
    for _ in range(3):
        assert await keeper.get("api_key") == {"value": "canary-of-acme"}
        assert await theirs.get("api_key") == {"value": "canary-of-globex"}
    foreign = await other.get(f"/api/installs/{keeper.install_id}/secrets")
    assert (foreign.status, foreign.code) == (404, "not_installed")


# ---- T62 ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["quickjs"])
async def test_t62_a_box_copied_into_another_tenants_row_is_denied_and_recorded(
    keeper: Keeper, version: dict[str, Any], other: Visitor, stack: Stack, stack_directory: Path
) -> None:
    thief = await installed(other, version, granted=True)
    await keeper.put({"api_key": CANARY})
    await thief.put({"api_key": "something-else"})
    with psycopg.connect(stack.database_url, autocommit=True) as database:
        database.execute(
            """update tenant_extension_install_secrets t set ciphertext = s.ciphertext, key_id = s.key_id
                 from tenant_extension_install_secrets s
                where t.install_id = %s and s.install_id = %s and s.name = t.name""",
            (thief.install_id, keeper.install_id),
        )
    await thief.put({"webhook": "another-canary"})
    await settles(lambda: thief.get("webhook"), {"value": "another-canary"})
    answer = await thief.call("/get/api_key")
    assert answer.json() == {"error": "denied"}
    row = await row_of(stack, answer)
    assert (row["state"], row["code"], row["tenant_id"]) == ("ok", "secret_binding_mismatch", "globex")
    lines = (stack_directory / "logs" / "runner.log").read_text().splitlines()
    said = [line for line in map(msgspec.json.decode, lines) if line.get("code") == "secret_binding_mismatch"]
    (line,) = [line for line in said if line["request_id"] == answer.headers["x-request-id"]]
    assert (line["event"], line["level"], line["tenant"]) == ("secret_refused", "error", "globex")
    assert await keeper.get("api_key") == {"value": CANARY}


# ---- T29 ----------------------------------------------------------------------------------------------------


def traces(text: str) -> list[str]:
    """Forms of the canary that stand in a text; its core survives URL- and JSON-encoding, and base64 is looked for."""
    data = CANARY.encode()
    forms = [CANARY, quote(CANARY, safe=""), msgspec.json.encode(CANARY).decode()[1:-1], "7f3a91"]
    forms += [base64.b64encode(data).decode()[4:-4], base64.b64encode(b"user:" + data).decode()[12:-4]]
    return [form for form in forms if form in text]


@every_guest
async def test_t29_what_a_guest_prints_is_nowhere_to_be_read(
    keeper: Keeper, stack: Stack, stack_directory: Path, client: Client, engine: str
) -> None:
    await keeper.put({"api_key": CANARY})
    extension = stack.extension("hello-quickjs", "acme")
    watched = msgspec.structs.replace(extension, id=keeper.extension_id, install_id=keeper.install_id)
    await settles(lambda: keeper.get("api_key"), {"value": CANARY})
    async with watching(stack, watched, stack.tenant("acme").admin_token) as stream:
        answers: dict[str, Answer] = {}
        for path in ("say", "fail", "header"):
            answers[path] = await keeper.call(f"/{path}/api_key", headers={"x-request-id": f"req-{engine}-{path}"})
        await stream.until(lambda stream: "guest_response_invalid" in str(stream.messages[-1:]))
        said = msgspec.json.encode(stream.logs).decode()
        assert len([message for message in stream.messages if message.startswith("said")]) >= 15
        assert said.count("***") >= 16
    assert {path: answer.status for path, answer in answers.items()} == {"say": 204, "fail": 500, "header": 502}
    assert answers["header"].code == "guest_response_invalid"
    everything = {
        "stream": said,
        "answers": "".join(answer.body.decode() for answer in answers.values()),
        "redis": await _redis(client),
        "postgres": _postgres(stack),
        **{path.name: path.read_text() for path in (stack_directory / "logs").iterdir()},
    }
    assert {"runner.log", "gateway.log"} <= set(everything)
    assert {place: found for place, text in everything.items() if (found := traces(text))} == {}
    rows = [await row_of(stack, answer) for answer in answers.values()]
    assert [row["code"] for row in rows] == [None, None, "guest_response_invalid"]


async def _redis(client: Client) -> str:
    """Every entry of every stream, and every other key's value."""
    found: list[bytes] = []
    async for key in client.scan_iter():
        if await client.type(key) == b"stream":
            found += [value for _, fields in await client.xrange(key) for value in fields.values()]
        elif await client.type(key) == b"string":
            found.append(await client.get(key))
    assert any(b"said ***" in value for value in found)
    return b"\n".join(found).decode("utf-8", "replace")


def _postgres(stack: Stack) -> str:
    """Every row of every table, as text."""
    with psycopg.connect(stack.database_url) as database:
        tables = database.execute(
            "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'"
        ).fetchall()
        rows = [
            str(row[0])
            for (table,) in tables
            for row in database.execute(sql.SQL("select t::text from {} t").format(sql.Identifier(table))).fetchall()
        ]
    assert any("install.secrets" in row for row in rows)
    return "\n".join(rows)


# ---- the command line ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["quickjs"])
async def test_the_command_line_sets_what_it_is_given_on_standard_input(
    keeper: Keeper, stack: Stack, stack_directory: Path, tmp_path: Path
) -> None:
    def alga_ext(*words: str, value: str = "") -> subprocess.CompletedProcess[str]:
        words = ("secret", *words, "--extension", keeper.install_id, "--stack", str(stack_directory / "stack.json"))
        return subprocess.run(
            [sys.executable, "-m", "gateway.cli.main", *words],
            input=value,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    done = await asyncio.to_thread(alga_ext, "set", "api_key", value=CANARY + "\n")
    assert (done.returncode, "canary" in done.stdout + done.stderr) == (0, False), done.stderr
    listed = await asyncio.to_thread(alga_ext, "list")
    assert "api_key" in listed.stdout
    await settles(lambda: keeper.get("api_key"), {"value": CANARY})
    assert (await asyncio.to_thread(alga_ext, "unset", "api_key")).returncode == 0
