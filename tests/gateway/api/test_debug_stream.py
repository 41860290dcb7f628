"""`GET /api/ext-debug/stream` through a real server: who may watch, what is asked, and what is shown."""

from __future__ import annotations

import time
import uuid

import pytest
from redis.asyncio import Redis as Client

from tests.gateway.api.open_stream import DEBUG, audit, refused, say, watching
from tests.gateway.debug.written import Writing
from tests.gateway.seeds import Seed, seed
from tests.gateway.services import DatabaseUrls
from tests.gateway.serving import HOST, Served, bearer, is_problem

pytestmark = pytest.mark.asyncio(loop_scope="module")


# ---- the answer ---------------------------------------------------------------------------------------------------------


async def test_a_line_reaches_who_may_watch_within_a_second(
    watched: Served, install: Seed, debug_client: Client
) -> None:
    writing = Writing()
    await say(debug_client, install, "1", "2", "3", "4", writing=writing)
    async with watching(watched, f"extensionId={install.extension_id}", authorization=bearer(install, DEBUG)) as seen:
        assert seen.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert seen.headers["cache-control"] == "no-store"
        assert seen.headers["x-request-id"]
        await seen.until(1, "status")
        assert seen.lines == ["2", "3", "4"]
        began = time.monotonic()
        await say(debug_client, install, "now", writing=writing)
        *_, last = await seen.until(4)
        assert time.monotonic() - began < 1
        assert (last["message"], last["tenantId"], last["extensionId"]) == (
            "now",
            install.tenant_id,
            install.extension_id,
        )


@pytest.mark.parametrize("form", ["extension_id", "install_id", "name", "full"])
async def test_every_form_of_the_extensions_name_works(
    watched: Served, install: Seed, debug_client: Client, form: str
) -> None:
    await say(debug_client, install, "here")
    reference = f"{install.publisher}.{install.name}" if form == "full" else getattr(install, form)
    for name in ("extensionId", "installId"):
        async with watching(watched, f"{name}={reference}", authorization=bearer(install, DEBUG)) as seen:
            await seen.until(1)
            assert seen.lines == ["here"]


async def test_request_and_level_narrow_what_is_shown(watched: Served, install: Seed, debug_client: Client) -> None:
    writing = Writing()
    for request_id, level in (("r-1", "error"), ("r-2", "error"), ("r-1", "info")):
        await say(debug_client, install, f"{request_id} {level}", writing=writing, request_id=request_id, level=level)
    query = f"extensionId={install.extension_id}&installId={install.install_id}&requestId=r-1&level=warn"
    async with watching(watched, query, authorization=bearer(install, DEBUG)) as seen:
        await seen.until(1, "status")
        assert seen.lines == ["r-1 error"]


async def test_a_viewer_that_comes_again_goes_on_where_it_was(
    watched: Served, install: Seed, debug_client: Client
) -> None:
    ids = await say(debug_client, install, *map(str, range(10)))
    query, credential = f"extensionId={install.extension_id}", bearer(install, DEBUG)
    async with watching(watched, query, authorization=credential, last_event_id=ids[3]) as seen:
        await seen.until(1, "status")
        assert seen.lines == [str(number) for number in range(4, 10)]
        assert [event.id for event in seen.events if event.event == "log"] == ids[4:]
        assert seen.of("gap") == []


async def test_what_was_trimmed_is_one_gap(watched: Served, install: Seed, debug_client: Client) -> None:
    ids = await say(debug_client, install, *map(str, range(10)))
    await debug_client.xtrim(f"ext-debug:{install.tenant_id}:{install.extension_id}", maxlen=4, approximate=False)
    query, credential = f"extensionId={install.extension_id}", bearer(install, DEBUG)
    async with watching(watched, query, authorization=credential, last_event_id=ids[1]) as seen:
        await seen.until(1, "status")
        assert seen.of("gap") == [{"reason": "trimmed"}]
        assert seen.lines == ["6", "7", "8", "9"]


# ---- who may ------------------------------------------------------------------------------------------------------------


async def test_without_a_credential_there_is_nothing_to_see(watched: Served, install: Seed) -> None:
    is_problem(await refused(watched, f"extensionId={install.extension_id}"), 401, "unauthenticated")


@pytest.mark.parametrize("permissions", [("extension:read", "extension:write"), ("extension:admin",)])
async def test_the_permission_is_asked_for_by_name(
    watched: Served, install: Seed, permissions: tuple[str, ...]
) -> None:
    query = f"extensionId={install.extension_id}"
    answer = await refused(watched, query, authorization=bearer(install, *permissions))
    is_problem(answer, 403, "forbidden")
    assert answer.json()["permission"] == DEBUG


async def test_a_client_user_may_not_watch_other_clients(watched: Served, install: Seed) -> None:
    credential = bearer(install, DEBUG, user_type="client", client_id="c1")
    answer = await refused(watched, f"extensionId={install.extension_id}", authorization=credential)
    is_problem(answer, 403, "forbidden")


@pytest.mark.parametrize("name", ["token", "access_token", "authorization", "api_key", "tenant", "lastEventId"])
async def test_a_credential_or_a_tenant_in_the_query_is_refused(watched: Served, install: Seed, name: str) -> None:
    token = HOST.token(install.tenant_id, permissions=(DEBUG,))
    query = f"extensionId={install.extension_id}&{name}={token}"
    answer = await refused(watched, query, authorization=f"Bearer {token}")
    is_problem(answer, 400, "invalid_request")
    assert token not in answer.body.decode()
    is_problem(await refused(watched, query), 401, "unauthenticated")


async def test_a_tenant_header_may_agree_and_never_decides(watched: Served, install: Seed) -> None:
    query, credential = f"extensionId={install.extension_id}", bearer(install, DEBUG)
    async with watching(watched, query, authorization=credential, x_alga_tenant=install.tenant_id) as seen:
        assert seen.status == 200
    answer = await refused(watched, query, authorization=credential, x_alga_tenant="globex")
    is_problem(answer, 403, "tenant_mismatch")


async def test_another_tenants_extension_reads_like_none(
    watched: Served, shared_database: DatabaseUrls, install: Seed, debug_client: Client
) -> None:
    theirs = seed(shared_database, f"{install.tenant_id}-other")
    await say(debug_client, theirs, "their secret")
    said = set()
    for query in (
        f"extensionId={theirs.extension_id}",
        f"installId={theirs.install_id}",
        f"extensionId={theirs.name}",
        f"extensionId={uuid.uuid4()}",
        f"extensionId={install.extension_id}&installId={theirs.install_id}",
        "extensionId=*",
        "extensionId=x%7D:%7By",
    ):
        answer = await refused(watched, query, authorization=bearer(install, DEBUG), x_request_id="req-1")
        is_problem(answer, 404, "not_installed")
        said.add(answer.body)
    assert len(said) == 1


async def test_a_tenant_that_installed_the_same_extension_sees_only_its_own_calls(
    watched: Served, shared_database: DatabaseUrls, install: Seed, debug_client: Client
) -> None:
    theirs = seed(shared_database, f"{install.tenant_id}-too", extension_of=install)
    await say(debug_client, theirs, "theirs")
    await say(debug_client, install, "ours")
    async with watching(watched, f"extensionId={install.extension_id}", authorization=bearer(install, DEBUG)) as seen:
        await seen.until(1, "status")
        await say(debug_client, theirs, "theirs again", writing=Writing("b.0", "pod-2/0"))
        await say(debug_client, install, "ours again", writing=Writing("b.0", "pod-2/0"))
        await seen.until(2)
        assert seen.lines == ["ours", "ours again"]


async def test_who_watched_what_is_written_down(
    watched: Served, shared_database: DatabaseUrls, install: Seed, debug_client: Client
) -> None:
    query = f"extensionId={install.extension_id}&requestId=r-7&level=warn"
    async with watching(watched, query, authorization=bearer(install, DEBUG), x_request_id="req-watch") as seen:
        await seen.until(1, "status")
    (row,) = audit(shared_database, install.tenant_id)
    assert (row["action"], row["actor"], row["actor_kind"]) == ("debug.watched", "user:user-1", "session")
    assert (row["subject_kind"], row["subject_id"], row["request_id"]) == ("install", install.install_id, "req-watch")
    assert row["detail"] == {
        "extension_id": install.extension_id,
        "watched_request_id": "r-7",
        "level": "warn",
        "resumed": False,
    }


async def test_a_refused_viewer_leaves_no_row(watched: Served, shared_database: DatabaseUrls, install: Seed) -> None:
    await refused(watched, f"extensionId={install.extension_id}", authorization=bearer(install, "extension:read"))
    assert audit(shared_database, install.tenant_id) == []


# ---- what is asked ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "",
        "level=warn",
        "extensionId={id}&level=loud",
        "extensionId={id}&level=",
        "extensionId={id}&requestId=",
        "extensionId={id}&requestId=a%20b",
        "extensionId={id}&requestId=a%0d%0aXADD",
        "extensionId={id}&extensionId={id}",
        "extensionId={id}&other=1",
    ],
)
async def test_a_query_that_is_not_understood_is_refused(watched: Served, install: Seed, query: str) -> None:
    asked = query.format(id=install.extension_id)
    is_problem(await refused(watched, asked, authorization=bearer(install, DEBUG)), 400, "invalid_request")


@pytest.mark.parametrize("value", ["0-0 XADD", "$", "*", "1", "(1-0", "-", "1-0-0", "99999999999999999999999-0"])
async def test_a_last_event_id_that_is_none_is_refused(watched: Served, install: Seed, value: str) -> None:
    query = f"extensionId={install.extension_id}"
    answer = await refused(watched, query, authorization=bearer(install, DEBUG), last_event_id=value)
    is_problem(answer, 400, "invalid_request")


async def test_a_line_break_in_last_event_id_never_arrives(
    watched: Served, install: Seed, debug_client: Client
) -> None:
    head = (
        f"GET /api/ext-debug/stream?extensionId={install.extension_id} HTTP/1.1\r\nhost: x\r\n"
        f"authorization: {bearer(install, DEBUG)}\r\nconnection: close\r\nlast-event-id: 0-0\r"
    )
    answer = await watched.raw(head.encode() + b"XADD ext-debug:x * a b\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400")
    assert await debug_client.keys("ext-debug:x*") == []


async def test_two_last_event_ids_are_refused(watched: Served, install: Seed) -> None:
    head = (
        f"GET /api/ext-debug/stream?extensionId={install.extension_id} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
        f"authorization: {bearer(install, DEBUG)}\r\nlast-event-id: 1-0\r\nlast-event-id: 2-0\r\n\r\n"
    )
    assert (await watched.raw(head.encode())).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("method", ["HEAD", "POST", "DELETE", "OPTIONS"])
async def test_a_stream_is_got(watched: Served, install: Seed, method: str) -> None:
    target = f"/api/ext-debug/stream?extensionId={install.extension_id}"
    answer = await watched.call(method, target, authorization=bearer(install, DEBUG))
    assert answer.status == 405
    assert answer.headers["allow"] == "GET"
