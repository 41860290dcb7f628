"""`/api/usage`, and an install's usage and calls, as its tenant reads them."""

from __future__ import annotations

import csv
import io

import pytest

from tests.gateway.seeds import Seed, seed
from tests.gateway.services import DatabaseUrls
from tests.gateway.serving import Answer, Served, bearer, is_problem, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADMIN = "extension:admin"


async def called(live: Served, install: Seed, count: int) -> None:
    for _ in range(count):
        answer = await live.call("GET", f"/api/ext/{install.install_id}/notes/7", authorization=bearer(install))
        assert answer.status == 200
    await live.ctx.audit.flush()


async def get(live: Served, install: Seed, target: str, *permissions: str) -> Answer:
    return await live.call("GET", target, authorization=bearer(install, *permissions))


async def test_calls_are_counted_by_hour_and_extension(live: Served, install: Seed) -> None:
    await called(live, install, 3)
    (hour,) = (await get(live, install, "/api/usage")).json()["items"]
    assert (hour["extension_id"], hour["publisher"], hour["name"]) == (
        install.extension_id,
        install.publisher,
        install.name,
    )
    assert (hour["invocations"], hour["errors"], hour["cpu_ms"], hour["egress_bytes"]) == (3, 0, 7.5, 21)
    assert hour["window_start"].endswith(":00:00Z")


async def test_csv_has_the_same_rows(live: Served, install: Seed) -> None:
    await called(live, install, 2)
    answer = await get(live, install, f"/api/installs/{install.install_id}/usage?format=csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    (row,) = csv.DictReader(io.StringIO(answer.body.decode()))
    assert (row["extension_id"], row["invocations"], row["cpu_ms"]) == (install.extension_id, "2", "5.0")
    assert list(row)[:2] == ["window_start", "extension_id"]


async def test_pages_follow_each_other_without_a_gap(live: Served, shared_database: DatabaseUrls, tenant: str) -> None:
    made = [seed(shared_database, tenant) for _ in range(3)]
    for one in made:
        await called(live, one, 1)
    seen, cursor = [], ""
    for _ in range(3):
        page = (await get(live, made[0], f"/api/usage?limit=1{cursor}")).json()
        seen += [item["extension_id"] for item in page["items"]]
        cursor = f"&cursor={page['next_cursor']}"
    assert page["next_cursor"] is None
    assert sorted(seen) == sorted(one.extension_id for one in made)


async def test_an_administrator_reads_the_calls_of_an_install_newest_first(live: Served, install: Seed) -> None:
    for number in range(3):
        await live.call(
            "GET",
            f"/api/ext/{install.install_id}/notes/7",
            authorization=bearer(install),
            x_request_id=f"req-usage-{number}",
        )
    await live.ctx.audit.flush()
    target = f"/api/installs/{install.install_id}/executions"
    first = (await get(live, install, f"{target}?limit=2", ADMIN)).json()
    rest = (await get(live, install, f"{target}?limit=2&cursor={first['next_cursor']}", ADMIN)).json()
    found = [item["request_id"] for item in first["items"] + rest["items"]]
    assert found == ["req-usage-2", "req-usage-1", "req-usage-0"]
    assert rest["next_cursor"] is None
    one = (await get(live, install, f"{target}?request_id=req-usage-1&state=ok", ADMIN)).json()["items"]
    assert [(item["endpoint"], item["http_status"], item["state"]) for item in one] == [("/notes/:id", 200, "ok")]
    assert (await get(live, install, f"{target}?state=lost", ADMIN)).json()["items"] == []


@pytest.mark.security
async def test_nobody_reads_what_is_another_tenants(live: Served, shared_database: DatabaseUrls, install: Seed) -> None:
    await called(live, install, 1)
    other = seed(shared_database, f"{install.tenant_id}-x")
    assert (await get(live, other, "/api/usage")).json()["items"] == []
    for tail in ("usage", "executions"):
        answer = await get(live, other, f"/api/installs/{install.install_id}/{tail}", ADMIN, "extension:read")
        is_problem(answer, 404, "not_installed")


async def test_who_called_is_for_administrators(live: Served, install: Seed) -> None:
    answer = await get(live, install, f"/api/installs/{install.install_id}/executions", "extension:read")
    is_problem(answer, 403, "forbidden")


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("from=yesterday", "ISO 8601"),
        ("from=2026-02-01&to=2026-01-01", "before to"),
        ("from=2025-01-01&to=2026-01-03", "366 days"),
        ("format=xml", "json or csv"),
        ("limit=0", "limit"),
    ],
)
async def test_a_period_that_is_none_is_refused(live: Served, install: Seed, query: str, says: str) -> None:
    answer = await get(live, install, f"/api/usage?{query}")
    is_problem(answer, 400, "invalid_request")
    assert says in answer.json()["detail"]


@pytest.mark.parametrize(("since", "status"), [("2025-01-01", 200), ("2024-12-31", 400)])
async def test_a_period_has_a_length(live: Served, install: Seed, since: str, status: int) -> None:
    assert (await get(live, install, f"/api/usage?from={since}&to=2026-01-02")).status == status


async def test_an_install_that_used_up_its_hour_is_refused_and_others_are_served(
    shared_database: DatabaseUrls, tenant: str
) -> None:
    busy, other = seed(shared_database, tenant), seed(shared_database, tenant)
    async with serving(shared_database, GATEWAY_INSTALL_CALLS_PER_HOUR="2") as live:
        await called(live, busy, 2)
        live.ctx.resolver.forget(tenant)  # as it would be after five seconds
        refused = await get(live, busy, f"/api/ext/{busy.install_id}/notes/7", "extension:read")
        is_problem(refused, 429, "quota_exceeded")
        assert refused.json()["limited_by"] == {"scope": "install", "kind": "calls", "limit": 2, "used": 2}
        assert 0 < int(refused.headers["retry-after"]) <= 3_600
        await called(live, other, 1)
