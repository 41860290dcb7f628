"""Who finds an extension: what is private to one account does not exist for another, whichever way it is asked for."""

from __future__ import annotations

from typing import Any

import pytest

from shared.keys import PrivateKey
from shared.registry_limits import ALLOWED_TENANTS_MAX_COUNT, SEARCH_MAX_CHARS
from shared.wire import Sbom, SbomPackage
from tests.gateway.asgi import Answer, Client
from tests.gateway.bundles import bundle
from tests.gateway.registry_flow import install, publish, refused
from tests.gateway.stub_compiler import StubCompiler

SBOM = Sbom(
    format="cyclonedx",
    spec_version="1.5",
    path="sbom.json",
    sha256="a" * 64,
    packages=(
        SbomPackage(name="left-pad", version="1.3.0", purl="pkg:npm/left-pad@1.3.0"),
        SbomPackage(name="left-pad", version="1.2.0"),
    ),
)


@pytest.fixture
async def crm(public: Client, compiler: StubCompiler, publisher_key: PrivateKey) -> dict[str, Any]:
    """A private extension of `acme`, with an SBOM."""
    return await publish(public, compiler, bundle(description="Customers and deals"), publisher_key, sbom=SBOM)


async def patch(client: Client, version: dict[str, Any], **members: Any) -> Answer:
    return await client.send_json("PATCH", f"/api/registry/extensions/{version['extension_id']}", members)


async def named(client: Client, query: str = "") -> list[str]:
    return [item["name"] for item in (await client.get(f"/api/registry/extensions{query}")).json()["items"]]


async def ways(client: Client, version: dict[str, Any]) -> dict[str, bool]:
    """By which ways an account finds a version."""
    extension, one = f"/api/registry/extensions/{version['extension_id']}", version["version_id"]
    sboms = (await client.get("/api/registry/sbom?package=left-pad")).json()["items"]
    return {
        "listed": version["name"] in await named(client),
        "exact name": version["name"] in await named(client, f"?q={version['name']}"),
        "search": version["name"] in await named(client, "?q=customers"),
        "publisher": version["name"] in await named(client, f"?publisher={version['publisher']}"),
        "extension id": (await client.get(extension)).status == 200,
        "versions": (await client.get(f"{extension}/versions")).status == 200,
        "version id": (await client.get(f"/api/registry/versions/{one}")).status == 200,
        "sbom": (await client.get(f"/api/registry/versions/{one}/sbom")).status == 200,
        "sbom search": bool(sboms),
    }


EVERY_WAY = {"listed", "exact name", "search", "publisher", "extension id", "versions", "version id", "sbom"}
EVERY_WAY |= {"sbom search"}
KNOWN = {"exact name", "extension id", "versions", "version id", "sbom"}


def found(by: dict[str, bool]) -> set[str]:
    return {way for way, finds in by.items() if finds}


async def test_a_private_extension_does_not_exist_for_another_account(
    crm: dict[str, Any], public: Client, other: Client
) -> None:
    assert found(await ways(public, crm)) == EVERY_WAY
    assert found(await ways(other, crm)) == set()
    refused(await install(other, crm["extension_id"]), 404, "not_found")
    refused(await install(other, "acme.acme.crm"), 404, "not_found")
    for method, path, body in (
        ("PATCH", f"/api/registry/extensions/{crm['extension_id']}", {"visibility": "public"}),
        ("POST", f"/api/registry/versions/{crm['version_id']}/deprecate", {"message": "no"}),
        ("POST", f"/api/registry/versions/{crm['version_id']}/revoke", {"reason": "no"}),
        ("POST", f"/api/registry/versions/{crm['version_id']}/signatures", {"signature": {}}),
    ):
        refused(await other.send_json(method, path, body), 404, "not_found")


async def test_a_private_extension_is_found_by_the_tenants_it_names(
    crm: dict[str, Any], public: Client, other: Client
) -> None:
    changed = await patch(public, crm, allowed_tenants=["globex"])
    assert (changed.status, changed.json()["allowed_tenants"]) == (200, ["globex"])
    assert found(await ways(other, crm)) == EVERY_WAY
    assert (await other.get(f"/api/registry/extensions/{crm['extension_id']}")).json()["allowed_tenants"] is None
    refused(await patch(other, crm, visibility="unlisted"), 403, "forbidden")
    assert (await patch(public, crm, allowed_tenants=[])).status == 200
    assert found(await ways(other, crm)) == set()


async def test_an_unlisted_extension_is_found_by_its_exact_name_and_in_no_list(
    crm: dict[str, Any], public: Client, other: Client
) -> None:
    assert (await patch(public, crm, visibility="unlisted")).status == 200
    assert found(await ways(other, crm)) == KNOWN
    assert await named(other, "?q=acme.acme.crm") == ["acme.crm"]
    assert await named(other, "?q=acme") == []
    assert (await patch(public, crm, allowed_tenants=["initech"])).status == 200
    assert found(await ways(other, crm)) == set()  # it names its tenants, and this is none of them
    assert (await patch(public, crm, allowed_tenants=["initech", "globex"])).status == 200
    assert found(await ways(other, crm)) == KNOWN


async def test_only_an_approved_publisher_lists_publicly(
    crm: dict[str, Any], public: Client, other: Client, operator: Client
) -> None:
    answer = await patch(public, crm, visibility="public")
    refused(answer, 403, "forbidden")
    assert "approved publisher" in answer.json()["detail"]
    assert found(await ways(other, crm)) == set()
    assert (await operator.post("/api/admin/publishers/acme/approve", {"reason": "known"})).status == 200
    assert (await patch(public, crm, visibility="public")).status == 200
    assert found(await ways(other, crm)) == EVERY_WAY
    assert (await operator.post("/api/admin/publishers/acme/suspend", {"reason": "stolen key"})).status == 200
    assert not {"listed", "exact name", "search", "publisher", "sbom search"} & found(await ways(other, crm))
    refused(await patch(public, crm, visibility="public"), 403, "forbidden")


async def test_who_has_it_installed_goes_on_seeing_it(crm: dict[str, Any], public: Client, other: Client) -> None:
    await patch(public, crm, visibility="unlisted")
    assert (await install(other, crm["extension_id"])).status == 201
    await patch(public, crm, visibility="private")
    assert found(await ways(other, crm)) == EVERY_WAY


async def test_another_account_sees_no_version_that_is_not_ready(
    crm: dict[str, Any], public: Client, other: Client, compiler: StubCompiler, publisher_key: PrivateKey
) -> None:
    await patch(public, crm, allowed_tenants=["globex"])
    path = f"/api/registry/extensions/{crm['extension_id']}/versions"
    newer = await publish(public, compiler, bundle(version="1.1.0"), publisher_key)
    first = (await public.get(f"{path}?limit=1")).json()
    assert [item["version"] for item in first["items"]] == ["1.1.0"]
    second = (await public.get(f"{path}?limit=1&cursor={first['next_cursor']}")).json()
    assert ([item["version"] for item in second["items"]], second["next_cursor"]) == (["1.0.0"], None)
    assert [item["version_id"] for item in (await other.get(path)).json()["items"]] == [
        newer["version_id"],
        crm["version_id"],
    ]


async def test_an_sbom_is_shown_and_searched_by_package_and_version(crm: dict[str, Any], public: Client) -> None:
    assert crm["sbom"] == {"format": "cyclonedx", "packages": 2}
    shown = (await public.get(f"/api/registry/versions/{crm['version_id']}/sbom")).json()
    assert (shown["format"], shown["path"], shown["sha256"]) == ("cyclonedx", "sbom.json", "a" * 64)
    assert [one["version"] for one in shown["packages"]] == ["1.3.0", "1.2.0"]
    first = (await public.get("/api/registry/sbom?package=left-pad&limit=1")).json()
    assert first["items"][0]["package"] == {
        "name": "left-pad",
        "version": "1.3.0",
        "purl": "pkg:npm/left-pad@1.3.0",
    }
    second = (await public.get(f"/api/registry/sbom?package=left-pad&cursor={first['next_cursor']}")).json()
    assert [one["package"]["version"] for one in second["items"]] == ["1.2.0"]
    assert (await public.get("/api/registry/sbom?package=left-pad&version=9")).json()["items"] == []
    exact = (await public.get("/api/registry/sbom?package=left-pad&version=1.2.0")).json()["items"]
    assert [one["version_id"] for one in exact] == [crm["version_id"]]
    assert (await public.get("/api/registry/sbom?package=left")).json()["items"] == []
    refused(await public.get("/api/registry/sbom"), 400, "invalid_request")


async def test_a_bundle_without_an_sbom_says_so(
    public: Client, compiler: StubCompiler, publisher_key: PrivateKey
) -> None:
    one = await publish(public, compiler, bundle(), publisher_key)
    assert one["sbom"] is None
    refused(await public.get(f"/api/registry/versions/{one['version_id']}/sbom"), 404, "not_found")


@pytest.mark.parametrize(
    "members",
    [
        {"visibility": "secret"},
        {"allowed_tenants": ["a b"]},
        {"allowed_tenants": ["t"] * (ALLOWED_TENANTS_MAX_COUNT + 1)},
        {"display_name": "a\n"},
        {"display_name": "x" * 101},
        {"name": "other"},
    ],
    ids=lambda members: next(iter(members)),
)
async def test_a_change_that_cannot_be_is_refused(crm: dict[str, Any], public: Client, members: dict[str, Any]) -> None:
    refused(await patch(public, crm, **members), 400, "invalid_request")
    seen = (await public.get(f"/api/registry/extensions/{crm['extension_id']}")).json()
    assert (seen["visibility"], seen["allowed_tenants"], seen["display_name"]) == ("private", [], "")


@pytest.mark.parametrize("query", [f"?q={'x' * (SEARCH_MAX_CHARS + 1)}", "?q=a%00", "?publisher=%1b"])
async def test_a_search_that_cannot_be_is_refused(public: Client, query: str) -> None:
    refused(await public.get(f"/api/registry/extensions{query}"), 400, "invalid_request")


async def test_what_is_searched_for_is_words_and_never_a_pattern(crm: dict[str, Any], public: Client) -> None:
    assert await named(public, "?q=DEALS") == ["acme.crm"]
    for query in ("%25", "_", "a%25m", "%27"):
        assert await named(public, f"?q={query}") == []
