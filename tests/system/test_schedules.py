"""Schedules through both services: a real guest is called when its time has come, once, and arranges its own times."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import psycopg
import pytest
import pytest_asyncio
from psycopg.rows import dict_row

from deploy.local.record import Stack
from tests.system.acting import Visitor, visiting
from tests.system.gateways import another_gateway
from tests.system.schedule_keepers import ENDPOINTS, Keeper, due_now, keeper

ENGINES = ("quickjs", "python")
every_guest = pytest.mark.parametrize("engine", ENGINES)
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(400, func_only=True)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def visitor(stack: Stack) -> AsyncIterator[Visitor]:
    """The administrator of the tenant `acme`, for all tests of this file."""
    async with visiting(stack, stack.tenant("acme").admin_token) as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(visitor: Visitor, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Keeper]:
    """The guests, each installed with the grant."""
    folder = tmp_path_factory.mktemp("schedules")
    return {engine: await keeper(visitor, engine, folder) for engine in ENGINES}


@pytest.fixture
def guest(made: dict[str, Keeper], engine: str) -> Keeper:
    return made[engine]


@every_guest
async def test_a_guest_is_called_when_its_time_has_come(stack: Stack, guest: Keeper, engine: str) -> None:
    schedule = await guest.created(payload={"morning": True})
    due_now(stack, schedule)
    (run,) = await guest.ended(schedule)
    assert (run["state"], run["cause"], run["attempts"], run["http_status"]) == ("ok", "time", 1, 204)
    (tick,) = [tick for tick in await guest.ticks() if schedule in tick["key"]]
    assert tick["times"] == 1
    assert (tick["body"], tick["type"], tick["user"]) == ('{"morning":true}', "application/json", "not-available")
    assert tick["key"] == f"sched:{schedule}:{run['fire_at']}"
    shown = (await guest.rest("GET", f"/{schedule}")).json()
    assert (shown["last_run_status"], shown["last_error"]) == ("ok", None)
    assert shown["next_run_at"] > run["fire_at"]


@pytest.mark.parametrize("engine", ENGINES[:1])
async def test_the_execution_log_has_the_call_and_names_the_schedule(stack: Stack, guest: Keeper, engine: str) -> None:
    schedule = await guest.created()
    assert (await guest.rest("POST", f"/{schedule}/run")).status == 202
    (run,) = await guest.ended(schedule)
    async with asyncio.timeout(10):
        while True:
            with psycopg.connect(stack.database_url, row_factory=dict_row) as database:
                row = database.execute(
                    "select * from extension_execution_log where id = %s and finished_at is not null",
                    (run["execution_id"],),
                ).fetchone()
            if row is not None:
                break
            await asyncio.sleep(0.05)
    assert (row["principal"], row["principal_kind"]) == (f"schedule:{schedule}", "schedule")
    assert (row["state"], row["endpoint"], row["http_status"]) == ("ok", "/tick", 204)


async def test_a_sample_is_scheduled_as_the_readme_says(stack: Stack, visitor: Visitor) -> None:
    (sample,) = [one for one in stack.extensions if one.name.endswith("hello-python") and one.tenant_id == "acme"]
    guest = Keeper(visitor, sample.install_id)
    schedule = await guest.created(endpoint="GET /log", cron="0 8 * * 1-5", timezone="Europe/Berlin")
    assert (await guest.rest("POST", f"/{schedule}/run")).status == 202
    assert (await guest.ended(schedule))[0]["state"] == "ok"
    assert (await guest.rest("DELETE", f"/{schedule}")).status == 204


@pytest.mark.parametrize("engine", ENGINES[:1])
async def test_of_three_gateways_one_makes_the_call(stack: Stack, guest: Keeper, engine: str) -> None:
    schedules = [await guest.created(name=f"race {number}") for number in range(6)]
    async with contextlib.AsyncExitStack() as stacked:
        for _ in range(2):
            await stacked.enter_async_context(another_gateway(stack))
        for schedule in schedules:
            due_now(stack, schedule)
        for schedule in schedules:
            (run,) = await guest.ended(schedule)
            assert (run["state"], run["attempts"]) == ("ok", 1)
    ticks = {tick["key"].split(":")[1]: tick["times"] for tick in await guest.ticks()}
    assert [ticks[schedule] for schedule in schedules] == [1] * len(schedules)


@pytest.mark.parametrize("engine", ENGINES[:1])
async def test_a_guest_that_fails_is_in_the_history_and_not_called_again(guest: Keeper, engine: str) -> None:
    schedule = await guest.created(endpoint="GET /fail")
    assert (await guest.rest("POST", f"/{schedule}/run")).status == 202
    (run,) = await guest.ended(schedule)
    assert (run["state"], run["attempts"], run["http_status"]) == ("failed", 1, 500)
    assert run["error"] == "the handler answered 500"


async def test_a_disabled_extension_is_not_called_and_nothing_is_made_up_for(
    stack: Stack, made: dict[str, Keeper]
) -> None:
    guest, witness = made["quickjs"], made["python"]
    resting, running = await guest.created(), await witness.created()
    assert (await guest.visitor.post(f"/api/installs/{guest.install_id}/disable", None)).status == 200
    assert (await guest.rest("GET", f"/{resting}")).json()["next_run_at"] is None
    due_now(stack, resting)
    due_now(stack, running)
    await witness.ended(running)
    assert (await guest.rest("GET", f"/{resting}/runs")).json()["items"] == []
    assert (await guest.visitor.post(f"/api/installs/{guest.install_id}/enable", None)).status == 200
    async with asyncio.timeout(20):
        while (await guest.rest("GET", f"/{resting}")).json()["next_run_at"] is None:  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.05)
    assert (await guest.rest("GET", f"/{resting}/runs")).json()["items"] == []
    await guest.serves()


# ---- the guest's own functions ----------------------------------------------------------------------------------


@every_guest
async def test_a_guest_arranges_its_schedules_with_every_function(guest: Keeper, engine: str) -> None:
    listed = await guest.ask("endpoints")
    assert [(one["id"], one["handler"], one["schedulable"]) for one in listed] == [
        (f"{one['method']} {one['path']}", one.get("handler", ""), bool(one.get("schedulable"))) for one in ENDPOINTS
    ]
    wanted = {"endpoint": "POST /tick", "cron": "0 8 * * 1-5", "timezone": "Europe/Berlin", "payload": '{"a": 1}'}
    created = await guest.ask("create", **wanted, name="by the guest")
    assert (created["success"], created["error"], created["field_errors"]) == (True, None, None)
    schedule = created["schedule_id"]
    info = await guest.ask("get", id=schedule)
    assert (info["endpoint_method"], info["endpoint_path"], info["cron"]) == ("POST", "/tick", "0 8 * * 1-5")
    assert (info["timezone"], info["name"], info["payload"]) == ("Europe/Berlin", "by the guest", '{"a": 1}')
    assert (info["enabled"], info["last_run_at"]) == (True, None)
    assert info in await guest.ask("list")
    shown = (await guest.rest("GET", f"/{schedule}")).json()
    assert (shown["endpoint"], shown["payload"], shown["created_by"].split(":")[0]) == (
        "POST /tick",
        {"a": 1},
        "extension",
    )
    updated = await guest.ask("update", id=schedule, cron="30 6 * * *", enabled=False)
    assert (updated["success"], updated["error"]) == (True, None)
    assert await guest.ask("get", id=schedule) == {**info, "cron": "30 6 * * *", "enabled": False}
    assert await guest.ask("delete", id=schedule) == {"success": True, "error": None}
    assert await guest.ask("get", id=schedule) is None


@every_guest
async def test_a_guest_is_told_what_would_be_valid(guest: Keeper, engine: str) -> None:
    refused = await guest.ask("create", endpoint="GET /ticks", cron="* * * * *")
    assert (refused["success"], refused["schedule_id"]) == (False, None)
    assert refused["error"].startswith("validation-failed: endpoint: must be one of: POST /tick, GET /fail; cron: ")
    assert set(msgspec.json.decode(refused["field_errors"])) == {"endpoint", "cron"}
    for function in ("update", "delete"):
        answer = await guest.ask(function, id="no-such-schedule")
        assert answer["success"] is False
        assert answer["error"].startswith("not-found: ")


@every_guest
async def test_the_same_guest_without_the_grant_is_denied_each_function(
    visitor: Visitor, engine: str, tmp_path: Path
) -> None:
    bare = await keeper(visitor, engine, tmp_path, granted=False)
    for function in ("list", "endpoints"):
        assert await bare.ask(function) == {"refused": "denied"}
    assert await bare.ask("get", id="x") == {"refused": "denied"}
    for function, asked in (
        ("create", {"endpoint": "/tick", "cron": "0 0 * * *"}),
        ("update", {"id": "x"}),
        ("delete", {"id": "x"}),
    ):
        answer = await bare.ask(function, **asked)
        assert answer["success"] is False
        assert answer["error"] == "cap:scheduler.manage is not granted to this install"
    assert (await bare.rest("GET")).json()["items"] == []  # its administrator may have some all the same
    await bare.created()


@pytest.mark.security
@pytest.mark.parametrize("engine", ENGINES[:1])
async def test_another_tenant_finds_no_schedule(stack: Stack, visitor: Visitor, guest: Keeper, engine: str) -> None:
    schedule = await guest.created()
    stranger = msgspec.structs.replace(guest, visitor=visitor.with_token(stack.tenant("globex").admin_token))
    for method, tail in (
        ("GET", ""),
        ("GET", f"/{schedule}"),
        ("POST", f"/{schedule}/run"),
        ("DELETE", f"/{schedule}"),
    ):
        refused = await stranger.rest(method, tail)
        assert (refused.status, refused.code) == (404, "not_installed")
