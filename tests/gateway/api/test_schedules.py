"""`/api/installs/{id}/schedules` through a real server: who may, what is answered, and a run that reaches the guest."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from shared.limits import SCHEDULE_BODY_MAX_BYTES, SCHEDULE_RUNS_KEPT
from tests.gateway.seeds import Seed
from tests.gateway.serving import Answer, Served, bearer, is_problem

pytestmark = pytest.mark.asyncio(loop_scope="module")

READ, ADMIN = "extension:read", "extension:admin"
WANTED = {"endpoint": "POST /notes", "cron": "0 8 * * 1-5", "timezone": "Europe/Berlin", "payload": {"a": [1]}}


async def call(
    live: Served, made: Seed, method: str, tail: str = "", body: Any = None, *permissions: str, **claims: object
) -> Answer:
    """One request by a user of the install's tenant; an administrator unless permissions are named."""
    data = None if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
    headers = {"authorization": bearer(made, *(permissions or (READ, ADMIN)), **claims)}
    if data is not None:
        headers["content_type"] = "application/json"
    return await live.call(method, f"/api/installs/{made.install_id}/schedules{tail}", data, **headers)


async def created(live: Served, made: Seed, **fields: Any) -> str:
    answer = await call(live, made, "POST", "", {**WANTED, **fields})
    assert answer.status == 201, answer.body
    return str(answer.json()["schedule_id"])


async def test_a_schedule_is_made_read_listed_changed_and_removed(live: Served, install: Seed) -> None:
    made = await call(live, install, "POST", "", WANTED)
    assert made.status == 201
    shown = made.json()
    tail = f"/{shown['schedule_id']}"
    assert {name: shown[name] for name in WANTED} == WANTED
    assert (shown["enabled"], shown["delivery"], shown["missed"]) == (True, "at_most_once", "run_latest")
    assert (shown["name"], shown["last_run_at"], shown["created_by"]) == (None, None, "user:user-1")
    assert shown["next_run_at"]
    assert (await call(live, install, "GET", tail)).json() == shown
    assert (await call(live, install, "GET")).json() == {"items": [shown], "next_cursor": None}
    changed = await call(live, install, "PATCH", tail, {"name": "n", "payload": None, "delivery": "at_least_once"})
    assert changed.status == 200
    assert changed.json() == shown | {
        "name": "n",
        "payload": None,
        "delivery": "at_least_once",
        "updated_at": changed.json()["updated_at"],
    }
    assert (await call(live, install, "PATCH", tail, {"name": None, "enabled": False})).json()["next_run_at"] is None
    gone = await call(live, install, "DELETE", tail)
    assert (gone.status, gone.body) == (204, b"")
    is_problem(await call(live, install, "GET", tail), 404, "not_found")
    is_problem(await call(live, install, "DELETE", tail), 404, "not_found")


async def test_a_run_by_request_reaches_the_guest_and_its_end_is_in_the_history(live: Served, install: Seed) -> None:
    schedule = await created(live, install)
    asked = await call(live, install, "POST", f"/{schedule}/run")
    assert (asked.status, asked.json()["cause"], asked.json()["attempts"]) == (202, "request", 0)
    async with asyncio.timeout(10):
        while True:
            runs = (await call(live, install, "GET", f"/{schedule}/runs")).json()["items"]
            if runs[0]["state"] == "ok":
                break
            await asyncio.sleep(0.02)
    (run,) = runs
    assert (run["attempts"], run["http_status"], run["code"], run["fire_at"]) == (1, 200, None, asked.json()["fire_at"])
    (request,) = live.stub.requests
    assert (request.http.method, request.http.path, request.http.body) == ("POST", "/notes", b'{"a":[1]}')
    assert request.http.headers["x-idempotency-key"].startswith(f"sched:{schedule}:20")
    assert request.user is None
    shown = (await call(live, install, "GET", f"/{schedule}")).json()
    assert (shown["last_run_status"], shown["last_error"]) == ("ok", None)
    assert shown["last_run_at"]


async def test_the_history_comes_in_pages_the_newest_first(live: Served, install: Seed) -> None:
    schedule = await created(live, install)
    async with live.ctx.store.platform() as tx:
        await tx.execute(
            """insert into tenant_extension_schedule_run (schedule_id, fire_at, tenant_id, cause, state)
               select id, '2027-01-01'::timestamptz + n * interval '1 hour', tenant_id, 'time', 'ok'
                 from tenant_extension_schedule, generate_series(0, 4) n where id = %s""",
            (schedule,),
        )
    cursor, seen = "", []
    for size in (2, 2, 1):
        page = (await call(live, install, "GET", f"/{schedule}/runs?limit=2{cursor}")).json()
        assert len(page["items"]) == size
        seen += [run["fire_at"] for run in page["items"]]
        cursor = f"&cursor={page['next_cursor']}"
    assert page["next_cursor"] is None
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) == 5
    assert (await call(live, install, "GET", f"/{schedule}/runs?limit={SCHEDULE_RUNS_KEPT}")).status == 200
    is_problem(
        await call(live, install, "GET", f"/{schedule}/runs?limit={SCHEDULE_RUNS_KEPT + 1}"), 400, "invalid_request"
    )


async def test_a_refusal_says_field_by_field_what_would_be_valid(live: Served, install: Seed) -> None:
    refused = await call(
        live, install, "POST", "", {"endpoint": "GET /notes/:id", "cron": "* * * * *", "timezone": "x"}
    )
    is_problem(refused, 400, "invalid_request")
    told = refused.json()["field_errors"]
    assert set(told) == {"endpoint", "cron", "timezone"}
    assert told["endpoint"] == "must be one of: POST /notes"
    schedule = await created(live, install)
    is_problem(await call(live, install, "PATCH", f"/{schedule}", {"cron": "*/4 * * * *"}), 400, "invalid_request")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {**WANTED, "color": "red"},
        {**WANTED, "delivery": "exactly_once"},
        {**WANTED, "missed": "all"},
        {**WANTED, "enabled": "yes"},
        {**WANTED, "cron": None},
        [],
        b'{"endpoint": "POST /notes", "cron": "0 8 * * *", "payload": "\xff"}',
        b"{",
    ],
)
async def test_a_body_that_is_no_schedule_is_refused(live: Served, install: Seed, body: Any) -> None:
    is_problem(await call(live, install, "POST", "", body), 400, "invalid_request")
    assert (await call(live, install, "GET")).json()["items"] == []


async def test_a_body_beyond_the_limit_is_refused(live: Served, install: Seed) -> None:
    padded = msgspec.json.encode(WANTED).ljust(SCHEDULE_BODY_MAX_BYTES)
    assert (await call(live, install, "POST", "", padded)).status == 201
    is_problem(await call(live, install, "POST", "", padded + b" "), 413, "payload_too_large")


async def test_reading_needs_read_and_everything_else_admin(live: Served, install: Seed) -> None:
    schedule = await created(live, install)
    for method, tail, body in (
        ("GET", "", None),
        ("GET", f"/{schedule}", None),
        ("GET", f"/{schedule}/runs", None),
    ):
        assert (await call(live, install, method, tail, body, READ)).status == 200
        is_problem(await call(live, install, method, tail, body, "extension:write"), 403, "forbidden")
    for method, tail, body in (
        ("POST", "", WANTED),
        ("PATCH", f"/{schedule}", {}),
        ("POST", f"/{schedule}/run", None),
        ("DELETE", f"/{schedule}", None),
    ):
        refused = await call(live, install, method, tail, body, READ, "extension:write")
        is_problem(refused, 403, "forbidden")
        assert refused.json()["permission"] == ADMIN
    assert (await live.call("GET", f"/api/installs/{install.install_id}/schedules")).status == 401


async def test_a_client_of_the_tenant_sees_no_schedules(live: Served, install: Seed) -> None:
    refused = await call(live, install, "GET", "", None, READ, user_type="client", client_id="c-1")
    is_problem(refused, 403, "forbidden")


async def test_another_tenants_install_is_absent_whatever_is_asked(live: Served, install: Seed) -> None:
    schedule = await created(live, install)
    stranger = msgspec.structs.replace(install, tenant_id="somebody-else")
    for method, tail, body in (
        ("GET", "", None),
        ("POST", "", WANTED),
        ("GET", f"/{schedule}", None),
        ("PATCH", f"/{schedule}", {}),
        ("DELETE", f"/{schedule}", None),
        ("POST", f"/{schedule}/run", None),
        ("GET", f"/{schedule}/runs", None),
    ):
        is_problem(await call(live, stranger, method, tail, body), 404, "not_installed")
    nobodys = msgspec.structs.replace(install, install_id="no-uuid")
    is_problem(await call(live, nobodys, "GET"), 404, "not_installed")


async def test_disabling_rests_the_schedules_and_uninstalling_hides_them(live: Served, install: Seed) -> None:
    schedule = await created(live, install)
    admin = bearer(install, ADMIN, READ)
    one = f"/api/installs/{install.install_id}"
    assert (await live.call("POST", f"{one}/disable", authorization=admin)).status == 200
    assert (await call(live, install, "GET", f"/{schedule}")).json()["next_run_at"] is None
    is_problem(await call(live, install, "POST", f"/{schedule}/run"), 409, "conflict")
    assert (await live.call("POST", f"{one}/enable", authorization=admin)).status == 200
    async with asyncio.timeout(15):
        while (await call(live, install, "GET", f"/{schedule}")).json()["next_run_at"] is None:  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # the clockwork tells nobody
    assert (await call(live, install, "GET", f"/{schedule}/runs")).json()["items"] == []
    assert (await live.call("DELETE", one, authorization=admin)).status == 200
    is_problem(await call(live, install, "GET"), 404, "not_installed")
    async with live.ctx.store.tenant(install.tenant_id) as tx:
        row = await (await tx.execute("select next_fire_at from tenant_extension_schedule")).fetchone()
    assert row == (None,)
