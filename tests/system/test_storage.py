"""Storage through both services: three guests with the grant, the same three without, and REST beside them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from deploy.local.record import Extension, Stack
from shared import wire
from shared.capabilities import DEFAULTS
from shared.limits import STORAGE_NAMESPACES_MAX, STORAGE_VALUE_MAX_BYTES
from tests.system.acting import Visitor, visiting
from tests.system.keepers import Keeper, keeper
from tests.system.runners import execute
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
async def made(admin: Visitor, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Keeper, Extension]]:
    """The guests, each installed with the grant."""
    folder = tmp_path_factory.mktemp("keepers")
    return {sample: await keeper(admin, sample, folder) for sample in GUESTS}


@pytest.fixture
def guest(made: dict[str, tuple[Keeper, Extension]], sample: str) -> Keeper:
    return made[sample][0]


async def rest(visitor: Visitor, method: str, path: str, body: Any = None) -> Any:
    data = None if body is None else msgspec.json.encode(body)
    return await visitor.call(method, path, data=data, headers={"content-type": "application/json"} if data else {})


# ---- granted --------------------------------------------------------------------------------------------------


@every_guest
async def test_a_guest_keeps_reads_lists_and_removes(guest: Keeper, sample: str) -> None:
    assert ((await guest.get("k")).status, (await guest.delete("k")).status) == (404, 404)
    assert (await guest.put("k", b"one")).json() == {"revision": 1, "bytes": 3}
    assert (await guest.put("k", b"two")).json() == {"revision": 2, "bytes": 3}
    found = await guest.get("k")
    assert (found.status, found.body, found.headers["x-ext-app-revision"]) == (200, b"two", "2")
    assert (await guest.put("k", b"three", revision=2)).status == 200
    for stale in (0, 1, 2, 4):
        refused = await guest.put("k", b"stale", revision=stale)
        assert (refused.status, refused.json()["error"]) == (409, "conflict")
    assert (await guest.put("l", b"", revision=0)).json() == {"revision": 1, "bytes": 0}
    assert await guest.entries() == [["k", 3, 5], ["l", 1, 0]]
    assert await guest.entries(cursor="k") == [["l", 1, 0]]
    assert await guest.entries("elsewhere") == []
    for key in ("k", "l"):
        assert (await guest.delete(key)).status == 204
    assert (await guest.get("k")).json()["error"] == "missing"
    assert await guest.entries() == []


@every_guest
async def test_a_value_of_every_size_comes_back_as_it_was_and_one_beyond_the_limit_is_denied(
    guest: Keeper, sample: str
) -> None:
    for size in (0, 1, 1000, STORAGE_VALUE_MAX_BYTES - 1, STORAGE_VALUE_MAX_BYTES):
        value = bytes(number % 256 for number in range(size))
        assert (await guest.put("sized", value)).json()["bytes"] == size
        assert (await guest.get("sized")).body == value
    refused = await guest.put("sized", b"x" * (STORAGE_VALUE_MAX_BYTES + 1))
    assert (refused.status, refused.json()["error"]) == (403, "denied")
    assert len((await guest.get("sized")).body) == STORAGE_VALUE_MAX_BYTES
    assert (await guest.delete("sized")).status == 204


@every_guest
@pytest.mark.security
@pytest.mark.parametrize("key", ["../other-tenant/x", "a\x00b", "", "k" * 257])
async def test_t26_a_guests_key_that_is_none_is_internal_and_nothing_is_kept(
    guest: Keeper, sample: str, key: str
) -> None:
    for method in ("GET", "PUT", "DELETE"):
        answer = await guest.entry(method, "hostile", key, b"x" if method == "PUT" else None)
        assert (answer.status, answer.json()["error"]) == (500, "internal")
    assert await guest.entries("hostile") == []


@every_guest
@pytest.mark.security
async def test_t26_any_other_key_of_a_guest_is_data(guest: Keeper, sample: str) -> None:
    keys = ["a:}b", "x}:{y", "..", "'; delete from ext_storage_records; --", "%00", "ä\n\t*", "\U0001f4be" * 256]
    for key in keys:
        assert (await guest.entry("PUT", "harmless", key, b"x")).status == 200
        assert (await guest.entry("GET", "harmless", key)).body == b"x"
    assert [row[0] for row in await guest.entries("harmless")] == sorted(keys, key=str.encode)
    for key in keys:
        assert (await guest.entry("DELETE", "harmless", key)).status == 204


@every_guest
async def test_a_guest_and_rest_see_the_same_records_and_pages(admin: Visitor, guest: Keeper, sample: str) -> None:
    for part in range(6):
        items = [{"key": f"k{part * 20 + at:03}", "value": {"n": at}} for at in range(20)]
        assert (await rest(admin, "POST", guest.records("paged"), {"items": items})).status == 200
    first = await guest.entries("paged")
    second = await guest.entries("paged", cursor=first[-1][0])
    assert [row[0] for row in first + second] == [f"k{number:03}" for number in range(120)]
    assert len(first) == 100
    assert (await guest.entry("GET", "paged", "k007")).body == b'{"n":7}'
    assert (await guest.entry("PUT", "paged", "k007", b"plain words", revision=1)).status == 200
    seen = (await admin.get(f"{guest.records('paged')}/k007")).json()
    assert (seen["valueBase64"], seen["revision"]) == ("cGxhaW4gd29yZHM=", 2)
    listed = (await admin.get(f"{guest.records('paged')}?keyPrefix=k00&limit=4")).json()
    assert [item["key"] for item in listed["items"]] == ["k000", "k001", "k002", "k003"]
    refused = await rest(admin, "PUT", f"{guest.records('paged')}/k007", {"value": 1, "ifRevision": 1})
    assert (refused.status, refused.code) == (409, "REVISION_MISMATCH")


@pytest.mark.security
@pytest.mark.parametrize("sample", ["hello-quickjs"])
async def test_t27_guests_at_once_end_exactly_at_the_quota(admin: Visitor, guest: Keeper, sample: str) -> None:
    taken = sum([bool(await guest.entries(name)) for name in ("notes", "harmless", "hostile", "paged")])
    room = asyncio.Semaphore(12)

    async def write(number: int) -> int:
        async with room:
            return (await guest.entry("PUT", f"n{number}", "k", b"x")).status

    statuses = await asyncio.gather(*(write(number) for number in range(45)))
    assert sorted(set(statuses)) == [200, 403]
    assert statuses.count(200) == STORAGE_NAMESPACES_MAX - taken
    refused = await rest(admin, "PUT", f"{guest.records('beyond')}/k", {"value": 1})
    assert (refused.status, refused.code) == (429, "QUOTA_EXCEEDED")
    for number, status in enumerate(statuses):
        if status == 200:
            assert (await guest.entry("DELETE", f"n{number}", "k")).status == 204


@pytest.mark.parametrize("sample", ["hello-python"])
async def test_what_is_denied_or_internal_is_explained_in_the_debug_stream(
    stack: Stack, made: dict[str, tuple[Keeper, Extension]], sample: str
) -> None:
    guest, extension = made[sample]
    async with watching(stack, extension, stack.tenant("acme").admin_token) as stream:
        await guest.put("large", b"x" * (STORAGE_VALUE_MAX_BYTES + 1))
        await guest.put("a/b", b"x")
        await stream.until(lambda stream: sum("storage.put: internal" in line for line in stream.messages))
    told = [data["message"] for data in stream.logs if data["stream"] == "system" and data["level"] == "warn"]
    assert "storage.put: denied: a value may have at most 65536 bytes" in told
    assert "storage.put: internal: a key must be 1-256 characters without '/' and U+0000" in told


# ---- not granted ----------------------------------------------------------------------------------------------


@every_guest
async def test_the_same_guest_without_the_grant_is_denied_each_function(
    admin: Visitor, sample: str, tmp_path: Path
) -> None:
    guest, _ = await keeper(admin, sample, tmp_path, granted=False)
    for method, body in (("GET", None), ("PUT", b"x"), ("DELETE", None)):
        answer = await guest.entry(method, "notes", "k", body)
        assert (answer.status, answer.json().get("error")) == (403, "denied"), answer.body
    listed = await admin.get(f"/api/ext/{guest.install_id}/entries?namespace=notes")
    assert (listed.status, listed.json()["error"]) == (403, "denied")
    refused = await admin.get(guest.records())
    assert (refused.status, refused.code) == (403, "NAMESPACE_DENIED")


@pytest.mark.security
@pytest.mark.parametrize("sample", ["hello-quickjs"])
async def test_a_call_with_the_service_token_has_no_storage_and_is_told_why(
    admin: Visitor, stack: Stack, made: dict[str, tuple[Keeper, Extension]], sample: str
) -> None:
    _, extension = made[sample]
    async with watching(stack, extension, stack.tenant("acme").admin_token) as stream:
        answer = await execute(
            admin,
            stack.runner_url,
            extension,
            "/entry?namespace=notes&key=k",
            providers=(*DEFAULTS, "cap:storage.kv"),
            debug=True,
        )
        told = wire.decode_answer(answer.body, wire.JSON)
        assert (told.status, msgspec.json.decode(told.body or b"")["error"]) == (403, "denied")
        await stream.until(lambda stream: any("carries no host token" in line for line in stream.messages))


@pytest.mark.security
@pytest.mark.parametrize("sample", ["hello-python"])
async def test_another_tenant_finds_nothing(admin: Visitor, stack: Stack, guest: Keeper, sample: str) -> None:
    assert (await guest.put("mine", b"secret")).status == 200
    other = admin.with_token(stack.tenant("globex").admin_token)
    for path in (guest.records(), f"{guest.records()}/mine"):
        refused = await other.get(path)
        assert (refused.status, refused.code) == (404, "NOT_FOUND")
    client = admin.with_token(stack.tenant("acme").client_token)
    refused = await client.get(f"{guest.records()}/mine")
    assert (refused.status, refused.code) == (403, "NAMESPACE_DENIED")
    assert (await guest.delete("mine")).status == 204


@pytest.mark.parametrize("sample", ["hello-quickjs"])
async def test_a_grant_that_goes_takes_the_records_out_of_reach_and_they_are_there_when_it_comes_back(
    admin: Visitor, guest: Keeper, sample: str, tmp_path: Path
) -> None:
    assert (await guest.put("kept", b"through everything")).status == 200
    assert (await admin.post(f"/api/installs/{guest.install_id}/disable", None)).status == 200
    async with asyncio.timeout(20):
        while (await guest.get("kept")).status != 404:  # noqa: ASYNC110  # a cache forgets, and tells nobody
            await asyncio.sleep(0.05)
    assert (await admin.post(f"/api/installs/{guest.install_id}/enable", None)).status == 200
    async with asyncio.timeout(20):
        while (answer := await guest.get("kept")).status != 200:  # noqa: ASYNC110  # likewise
            await asyncio.sleep(0.05)
    assert answer.body == b"through everything"
    assert (await guest.delete("kept")).status == 204
