"""A guest's `fetch` through both services: three guests with the grant, the same three without, and real listeners."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from deploy.local.record import Stack
from tests.runner.egress.upstream import Received, answer, redirecting
from tests.system.acting import Visitor, visiting
from tests.system.fetchers import FETCH, OTHER, Fetcher, Place, fetcher, let_out
from tests.system.runners import execute, metric
from tests.system.test_records import row_of
from tests.system.watching import watching

GUESTS = ("hello-python", "hello-quickjs", "hello-starling")
every_guest = pytest.mark.parametrize("sample", GUESTS)
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def admin(stack: Stack) -> AsyncIterator[Visitor]:
    """The administrator of the tenant `acme`, for all tests of this file."""
    async with visiting(stack, stack.tenant("acme").admin_token) as visitor:
        yield visitor


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    """Both services, with a way out."""
    async with let_out(stack, tmp_path_factory.mktemp("out")) as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fetchers(
    admin: Visitor, place: Place, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Fetcher, Fetcher]]:
    """The guests, each installed with the grant and without."""
    folder = tmp_path_factory.mktemp("fetchers")
    return {
        sample: (
            await fetcher(admin, place, sample, folder),
            await fetcher(admin, place, sample, folder, granted=False),
        )
        for sample in GUESTS
    }


@pytest.fixture
def guest(fetchers: dict[str, tuple[Fetcher, Fetcher]], sample: str) -> Fetcher:
    return fetchers[sample][0]


@pytest.fixture
def confined(fetchers: dict[str, tuple[Fetcher, Fetcher]], sample: str) -> Fetcher:
    return fetchers[sample][1]


async def echo(received: Received, writer: Any) -> bool:
    """Says what it was asked."""
    told = {"line": received.line, "headers": received.headers, "body": received.body.decode()}
    writer.write(answer(msgspec.json.encode(told), 201, (("Content-Type", "application/json"), ("X-Seen", "yes"))))
    return True


# ---- granted ----------------------------------------------------------------------------------------------------


@every_guest
async def test_a_granted_host_answers_the_guest(guest: Fetcher, place: Place, sample: str, stack: Stack) -> None:
    async with place.upstream(echo) as upstream:
        got = await guest.fetch(
            f"{place.origin()}/v1/things?q=%C3%A4", method="POST", headers={"X-A": "ä"}, body="payload ä"
        )
    told = msgspec.json.decode(got["body"])
    assert got["status"] == 201
    assert ["x-seen", "yes"] in got["headers"]
    assert (told["line"], told["body"]) == ("POST /v1/things?q=%C3%A4 HTTP/1.1", "payload ä")
    headers = dict(told["headers"])
    assert headers["host"] == place.origin().removeprefix("https://")
    assert headers["x-a"] == "ä"
    assert not [name for name in headers if name.startswith(("x-alga-", "x-ext-"))]
    assert len(upstream.requests) == 1


async def test_bytes_to_and_from_the_host_stand_in_the_record(
    admin: Visitor, fetchers: dict[str, tuple[Fetcher, Fetcher]], place: Place, stack: Stack
) -> None:
    guest, body = fetchers["hello-quickjs"][0], "x" * 10_000
    async with place.upstream(echo):
        answered = await admin.call(
            "POST",
            f"/api/ext/{guest.extension.install_id}/fetch",
            data=msgspec.json.encode({"url": place.origin(), "method": "POST", "body": body}),
            base=place.base,
        )
    row = await row_of(stack, answered)
    assert 20_000 < row["egress_bytes"] < 21_500  # the body there and back, with what stands around it
    assert row["state"] == "ok"


@every_guest
async def test_a_redirect_is_followed_when_the_guest_asks_and_no_further_than_its_grant(
    guest: Fetcher, place: Place, sample: str
) -> None:
    where = {"/a": "/b", "/away": place.origin(OTHER) + "/", "/meta": "http://169.254.169.254/"}
    async with place.upstream(redirecting(lambda received: where.get(received.line.split()[1]))) as upstream:
        assert (await guest.fetch(f"{place.origin()}/a"))["status"] == 302
        assert (await guest.fetch(f"{place.origin()}/a", redirect="follow"))["body"] == "hello"
        for path in ("/away", "/meta"):
            assert (await guest.fetch(place.origin() + path, redirect="follow"))["error"] == "not-allowed"
    assert [request.line.split()[1] for request in upstream.requests] == ["/a", "/a", "/b", "/away", "/meta"]
    assert {request.header("host") for request in upstream.requests} == {place.origin().removeprefix("https://")}


@every_guest
async def test_a_secret_reaches_its_host_and_never_the_guest(guest: Fetcher, place: Place, sample: str) -> None:
    canary = f"canary-{sample}-value"
    kept = await guest.visitor.call(
        "PUT",
        f"/api/installs/{guest.extension.install_id}/secrets",
        data=msgspec.json.encode({"api_key": {"value": canary, "hosts": [place.origin()]}}),
        headers={"content-type": "application/json"},
    )
    assert kept.status == 200, kept.body
    async with place.upstream(echo) as upstream:
        got = await guest.fetch(place.origin(), headers={"authorization": "Bearer {{secret:api_key}}"})
    assert upstream.requests[0].header("authorization") == f"Bearer {canary}"
    assert dict(msgspec.json.decode(got["body"])["headers"])["authorization"] == "Bearer ***"
    assert canary not in repr(got)


# ---- denied -----------------------------------------------------------------------------------------------------


@every_guest
async def test_without_the_grant_the_same_guest_reaches_nothing(confined: Fetcher, place: Place, sample: str) -> None:
    async with place.upstream() as upstream:
        assert (await confined.fetch(place.origin()))["error"] == "not-allowed"
    assert upstream.connections == 0


@every_guest
async def test_what_is_not_granted_is_refused_with_the_guests_own_words(
    guest: Fetcher, place: Place, sample: str
) -> None:
    async with place.upstream() as upstream:
        for url, word in {
            place.origin(OTHER): "not-allowed",
            place.origin().replace("https", "http"): "not-allowed",
            "https://inside.example.com/": "not-allowed",  # granted, and leads to a private address
            "http://169.254.169.254/latest/meta-data/": "not-allowed",
            "http://0x7f.1/": "invalid-url",
            "/relative": "invalid-url",
        }.items():
            assert (await guest.fetch(url))["error"] == word, url
        assert (await guest.fetch(place.origin(), headers={"host": "evil.example"}))["error"] == "not-allowed"
    assert upstream.connections == 0


@every_guest
async def test_a_host_that_cannot_be_found_is_transport(guest: Fetcher, place: Place, sample: str) -> None:
    assert (await guest.fetch(place.origin()))["error"] == "transport"


async def test_the_author_sees_which_entry_would_allow_it_and_the_operator_a_count(
    admin: Visitor, fetchers: dict[str, tuple[Fetcher, Fetcher]], place: Place, stack: Stack
) -> None:
    guest = fetchers["hello-quickjs"][0]
    before = await metric(admin, place.runner.url, "ext_egress_denied_total")
    async with watching(stack, guest.extension, stack.tenant("acme").admin_token, base=place.base) as stream:
        got = await guest.fetch("https://api.example.org/canary?canary")
        await stream.until(lambda stream: any("api.example.org" in message for message in stream.messages))
    assert got["error"] == "not-allowed"
    (told,) = [message for message in stream.messages if "api.example.org" in message]
    assert '"https://api.example.org" in its egress list would allow it' in told
    assert "canary" not in told
    after = await metric(admin, place.runner.url, "ext_egress_denied_total")
    label = '{reason="not-granted"}'
    assert after[label] == before.get(label, 0) + 1


async def test_executions_of_an_install_use_each_others_connections(
    fetchers: dict[str, tuple[Fetcher, Fetcher]], place: Place
) -> None:
    guest = fetchers["hello-quickjs"][0]
    async with place.upstream() as upstream:
        for _ in range(4):
            every = [guest.fetch(place.origin()) for _ in range(5)]
            assert all(got["status"] == 200 for got in await asyncio.gather(*every))
    assert len(upstream.requests) == 20
    assert upstream.connections < 20


async def test_a_call_that_brings_its_own_grants_to_the_runner_is_held_to_them(
    admin: Visitor, fetchers: dict[str, tuple[Fetcher, Fetcher]], place: Place
) -> None:
    extension = fetchers["hello-python"][0].extension
    body = msgspec.json.encode({"url": place.origin()})
    for egress, told in (((place.origin(),), "status"), ((place.origin(OTHER),), "error"), ((), "error")):
        async with place.upstream():
            done = await execute(
                admin,
                place.runner.url,
                extension,
                "/fetch",
                method="POST",
                body=body,
                providers=("cap:context.read", FETCH),
                egress=egress,
            )
        assert done.json()["error"] is None, done.body
        assert told in msgspec.json.decode(_body(done.json()))


def _body(answered: dict[str, Any]) -> bytes:
    return b64decode(answered["body_b64"])


# ---- the operator -----------------------------------------------------------------------------------------------


async def test_an_empty_fence_lets_nobody_out_and_a_proxy_variable_changes_nothing(
    admin: Visitor, stack: Stack, tmp_path: Path, fetchers: dict[str, tuple[Fetcher, Fetcher]]
) -> None:
    granted = fetchers["hello-quickjs"][0]
    folder = tmp_path / "fenced"
    folder.mkdir()
    async with (
        let_out(stack, folder, EXT_EGRESS_ALLOWLIST="", HTTPS_PROXY="http://127.0.0.1:9") as fenced,
        fenced.upstream() as upstream,
    ):
        got = await Fetcher(admin, fenced, granted.extension).fetch(granted.place.origin())
    assert (got["error"], upstream.connections) == ("not-allowed", 0)
