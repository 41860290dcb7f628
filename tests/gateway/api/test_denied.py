"""`/api/installs/{id}/denied`: what a runner reports with its answers, as the administrator of that install sees it."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from shared.errors import GuestTrapped
from shared.wire import DeniedTarget, ErrorBody, ExecuteResponse
from tests.gateway.seeds import MANIFEST, Seed, seed
from tests.gateway.services import DatabaseUrls
from tests.gateway.serving import Answer, Served, bearer, is_problem
from tests.gateway.stub_runner import USAGE, answering, message

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADMIN = "extension:admin"
ASKING = {**MANIFEST, "capabilities": ["cap:http.fetch"], "permissions": {"egress": ["api.example.com", "*.b.example"]}}


@pytest.fixture
def asking(shared_database: DatabaseUrls, tenant: str) -> Seed:
    """An install whose manifest asks for hosts, of which one was granted."""
    return seed(shared_database, tenant, manifest=ASKING, granted_egress=["*.b.example"])


def denied(target: str, reason: str = "not-granted", **fields: Any) -> DeniedTarget:
    return DeniedTarget(target=target, reason=reason, **{"grantable": True, **fields})


async def call(live: Served, install: Seed, *targets: DeniedTarget) -> None:
    """A call in which the guest was denied these."""
    live.stub.acts.append(answering(incidents=("egress_denied",), denied_targets=targets))
    answer = await live.call("GET", f"/api/ext/{install.install_id}/notes/1", authorization=bearer(install))
    assert answer.status == 200, answer.body
    assert "denied" not in repr(answer.headers)


async def asked(live: Served, install: Seed, method: str = "GET", **headers: str) -> Answer:
    await live.ctx.denials.flush()
    return await live.call(
        method, f"/api/installs/{install.install_id}/denied", **{"authorization": bearer(install, ADMIN), **headers}
    )


async def items(live: Served, install: Seed) -> list[dict[str, Any]]:
    answer = await asked(live, install)
    assert answer.status == 200, answer.body
    return answer.json()["items"]  # type: ignore[no-any-return]


async def test_a_target_is_listed_with_its_count_and_the_entry_that_would_allow_it(live: Served, asking: Seed) -> None:
    for _ in range(2):
        await call(live, asking, denied("https://api.example.com"))
    (one,) = await items(live, asking)
    first, last = one.pop("first_seen"), one.pop("last_seen")
    assert first <= last
    assert one == {
        "target": "https://api.example.com",
        "host": "api.example.com",
        "port": 443,
        "reason": "not-granted",
        "verdict": "denied",
        "count": 2,
        "would_allow": {"entry": "https://api.example.com", "where": "grants"},
    }


@pytest.mark.parametrize(
    ("target", "would_allow"),
    [
        (denied("https://other.example"), {"entry": "https://other.example", "where": "manifest"}),
        (denied("http://api.example.com:8080"), {"entry": "http://api.example.com:8080", "where": "manifest"}),
        (denied("https://x.b.example"), {"entry": "https://x.b.example", "where": "granted"}),
        (denied("https://x.b.example", "outside-fence"), {"entry": "https://x.b.example", "where": "operator"}),
        (denied("http://10.0.0.1", "ip-denied", grantable=False), None),
        (denied("https://api.example.com", "method-denied", grantable=False), None),
    ],
)
async def test_it_says_in_whose_list_the_entry_is_missing(
    live: Served, asking: Seed, target: DeniedTarget, would_allow: dict[str, str] | None
) -> None:
    await call(live, asking, target)
    (one,) = await items(live, asking)
    assert one["would_allow"] == would_allow


async def test_a_wildcard_of_the_manifest_is_what_can_be_granted(
    live: Served, shared_database: DatabaseUrls, tenant: str
) -> None:
    install = seed(shared_database, tenant, manifest=ASKING)
    await call(live, install, denied("https://x.b.example"))
    (one,) = await items(live, install)
    assert one["would_allow"] == {"entry": "https://*.b.example", "where": "grants"}


async def test_observed_targets_say_so_and_the_latest_stand_first(live: Served, asking: Seed) -> None:
    await call(live, asking, denied("https://first.example"))
    await live.ctx.denials.flush()
    await call(live, asking, denied("https://later.example", observed=True))
    assert [(one["host"], one["verdict"]) for one in await items(live, asking)] == [
        ("later.example", "observed"),
        ("first.example", "denied"),
    ]


async def test_a_call_that_failed_tells_as_well(live: Served, asking: Seed) -> None:
    async def trapped(_: Any) -> Any:
        error = ErrorBody(code=GuestTrapped.code, message="it stopped", blame="guest", started=True)
        targets = (denied("https://api.example.com"),)
        return message(ExecuteResponse(status=502, error=error, usage=USAGE, denied_targets=targets), 502)

    live.stub.acts.append(trapped)
    answer = await live.call("GET", f"/api/ext/{asking.install_id}/notes/1", authorization=bearer(asking))
    is_problem(answer, 502, "guest_trapped")
    assert b"api.example.com" not in answer.body
    assert [one["count"] for one in await items(live, asking)] == [1]


async def test_clearing_forgets_and_is_audited(live: Served, asking: Seed) -> None:
    await call(live, asking, denied("https://a.example"), denied("https://b.example"))
    await live.ctx.denials.flush()
    answer = await asked(live, asking, "DELETE")
    assert (answer.status, answer.json()) == (200, {"items": []})
    assert await items(live, asking) == []
    await call(live, asking, denied("https://a.example"))
    assert [one["count"] for one in await items(live, asking)] == [1]
    with psycopg.connect(live.database.owner) as connection:
        found = connection.execute(
            "select action, detail->>'count' from extension_audit_log where tenant_id = %s", (asking.tenant_id,)
        ).fetchall()
    assert found == [("install.denied_cleared", "2")]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_only_an_administrator_of_the_tenant_may(
    live: Served, asking: Seed, shared_database: DatabaseUrls, method: str
) -> None:
    await call(live, asking, denied("https://a.example"))
    stranger = seed(shared_database, f"{asking.tenant_id}-x")
    is_problem(await asked(live, asking, method, authorization=bearer(asking)), 403, "forbidden")
    is_problem(await asked(live, asking, method, authorization="Bearer nothing"), 401, "invalid_session")
    is_problem(await asked(live, asking, method, authorization=bearer(stranger, ADMIN)), 404, "not_installed")
    assert [one["count"] for one in await items(live, asking)] == [1]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_an_install_that_is_not_there_has_none(live: Served, asking: Seed, method: str) -> None:
    for path in ("nothing", "00000000-0000-4000-8000-000000000000"):
        answer = await live.call(method, f"/api/installs/{path}/denied", authorization=bearer(asking, ADMIN))
        is_problem(answer, 404, "not_installed")


async def test_other_methods_are_not_offered(live: Served, asking: Seed) -> None:
    is_problem(await asked(live, asking, "POST"), 405, "method_not_allowed")


async def test_an_install_that_was_denied_nothing_has_an_empty_list(live: Served, install: Seed) -> None:
    assert await items(live, install) == []
