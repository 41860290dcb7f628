"""diff: two bundles, a version of the registry, what is installed; what grew is marked."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gateway.cli.projects import manifest, pages_only
from tests.gateway.cli.small_gateway import as_json

MORE = {
    "capabilities": ["cap:http.fetch"],
    "permissions": {"egress": [{"host": "api.example.com", "reason": "rates"}]},
    "limits": {"timeoutMs": 9000},
}


@pytest.fixture
def bundles(elsewhere: Path, command) -> tuple[Path, Path]:
    """Version 1.0.0, which asks for nothing, and 2.0.0, which asks for more."""
    made = []
    for version, asks in (("1.0.0", {}), ("2.0.0", MORE)):
        pages_only(elsewhere, version=version, **asks)
        assert command("pack").status == 0
        made.append(elsewhere / "dist" / f"local.notes-{version}.tar.zst")
    return made[0], made[1]


def test_what_is_more_stands_out(bundles, command):
    ran = command("diff", *bundles)
    assert ran.status == 0
    marked = [line for line in ran.out.splitlines() if "← more" in line]
    assert [line.split()[1] for line in marked] == ["cap:http.fetch", "host", "time"]
    assert "an administrator is asked first" in ran.out
    said = command("diff", *bundles, "--json").json()
    assert (said["grew"], said["capabilities"]["added"]) == (True, ["cap:http.fetch"])
    assert said["limits"]["timeout_ms"] == [5000, 9000]


def test_what_is_less_needs_no_consent(bundles, command):
    ran = command("diff", *reversed(bundles))
    assert "needs no consent" in ran.out
    assert "← more" not in ran.out
    assert command("diff", *reversed(bundles), "--json").json()["grew"] is False


def test_the_same_twice_is_no_difference(bundles, command):
    assert "the same" in command("diff", bundles[0], bundles[0]).out


def test_the_second_side_is_what_pack_wrote_here(bundles, command):
    assert command("diff", bundles[0], "--json").json()["to_version"] == "2.0.0"


def version(number, **asks):
    return {
        "extension_id": "e-1",
        "version_id": f"v-{number}",
        "publisher": "local",
        "name": "local.notes",
        "version": number,
        "content_hash": "x",
        "state": "ready",
        "manifest": manifest(version=number, **asks),
    }


@pytest.fixture
def registry(at):
    known = {"extension_id": "e-1", "publisher": "local", "name": "local.notes"}
    latest = {"version_id": "v-2.0.0", "version": "2.0.0"}
    at.on("GET", "/api/registry/extensions", as_json({"items": [{**known, "latest": latest}]}))
    at.on(
        "GET", "/api/registry/extensions/e-1/versions", as_json({"items": [version("2.0.0", **MORE), version("1.0.0")]})
    )
    at.on("GET", "/api/registry/versions/v-2.0.0", as_json(version("2.0.0", **MORE)))
    at.on("GET", "/api/registry/versions/v-1.0.0", as_json(version("1.0.0")))
    install = {**known, "install_id": "i-1", "version_id": "v-1.0.0", "version": "1.0.0", "content_hash": "x"}
    at.on("GET", "/api/installs", as_json({"items": [{**install, "status": "enabled"}]}))
    return at


@pytest.mark.parametrize("before", ["installed", "local.notes@1.0.0", "local.local.notes@1.0.0", "e-1@1.0.0"])
def test_a_side_may_be_installed_or_in_the_registry(registry, bundles, command, before):
    said = command("diff", before, bundles[1], "--json")
    assert (said.status, said.json()["from_version"], said.json()["grew"]) == (0, "1.0.0", True)


def test_without_a_version_the_newest_is_meant(registry, command):
    assert command("diff", "installed", "local.notes", "--json").json()["to_version"] == "2.0.0"


def test_a_version_that_is_not_there_says_where_to_look(registry, command):
    ran = command("diff", "local.notes@3.0.0", "local.notes", "--json")
    assert (ran.status, ran.json()["code"]) == (1, "not_found")
    assert "alga-ext versions" in ran.json()["next"]


def test_installed_against_itself_is_a_usage_error(registry, command):
    assert command("diff", "installed", "installed").status == 2


def test_a_bundle_that_is_not_there_is_named(elsewhere, command):
    assert command("diff", "a.tar.zst", "b.tar.zst", "--json").json()["code"] == "cli_no_bundle"
