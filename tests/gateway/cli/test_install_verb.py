"""install and list: the newest version, exactly the named grants, and never a second install of one extension."""

from __future__ import annotations

import json

import pytest

from tests.gateway.cli.projects import manifest, pages_only
from tests.gateway.cli.small_gateway import as_json, refusing

CATALOGUE = "/api/registry/extensions"
INSTALLS = "/api/installs"


def listed(version="2.0.0", **changes):
    return {
        "extension_id": "e-1",
        "publisher": "local",
        "name": "local.notes",
        "latest": {"version_id": "v-2", "version": version, "content_hash": "x"},
        **changes,
    }


def installed(version="2.0.0", **changes):
    return {
        "install_id": "i-1",
        "extension_id": "e-1",
        "publisher": "local",
        "name": "local.notes",
        "version": version,
        "content_hash": "sha256:" + "0" * 64,
        "status": "enabled",
        "granted": {"capabilities": ["cap:context.read", "cap:http.fetch"], "egress": ["a.example"], "secrets": []},
        **changes,
    }


def page(*items, after=None):
    return as_json({"items": list(items), "next_cursor": after})


ASKS = {"capabilities": ["cap:http.fetch"], "permissions": {"egress": ["a.example"]}}


@pytest.fixture
def install(at, command):
    """The verb, against a registry with one extension in version 2.0.0 that asks for something, installed nowhere."""
    version = {
        **{name: listed()[name] for name in ("extension_id", "publisher", "name")},
        "version_id": "v-2",
        "version": "2.0.0",
        "content_hash": "x",
        "state": "ready",
        "manifest": manifest(version="2.0.0", **ASKS),
    }
    older = {
        **version,
        "version_id": "v-1",
        "version": "1.0.0",
        "manifest": manifest(version="1.0.0", capabilities=["cap:storage.kv"]),
    }
    at.on("GET", CATALOGUE, page(listed()))
    at.on("GET", "/api/registry/extensions/e-1/versions", page(version, older))
    at.on("GET", "/api/registry/versions/v-2", as_json(version))
    at.on("GET", INSTALLS, page())
    at.on("POST", INSTALLS, as_json(installed(), 201))
    return lambda *words: command("install", *words)


def sent(at):
    return [one.json() for one in at.calls("POST", INSTALLS)]


def test_everything_can_be_granted_at_once(at, install):
    ran = install("local.notes", "--grant-all", "--json")
    assert (ran.status, ran.json()["install_id"]) == (0, "i-1")
    grants = {"capabilities": ["cap:http.fetch"], "egress": ["a.example"], "secrets": [], "withhold": []}
    assert sent(at) == [{"extension": "e-1", "version": "2.0.0", "grants": grants, "config": {}}]


def test_only_what_is_named_is_granted(at, install):
    assert install("local.notes", "--grant", "http.fetch", "--withhold", "user.read").status == 0
    assert sent(at)[0]["grants"] == {
        "capabilities": ["cap:http.fetch"],
        "egress": [],
        "secrets": [],
        "withhold": ["cap:user.read"],
    }


def test_without_a_word_about_grants_nothing_is_installed(at, install):
    ran = install("local.notes", "--json")
    assert (ran.status, ran.json()["code"]) == (3, "cli_consent_needed")
    assert ran.json()["asked"]["egress"] == ["a.example"]
    assert sent(at) == []


def test_what_it_asks_for_is_shown(install):
    ran = install("local.notes", "--grant-all")
    assert "cap:http.fetch" in ran.err
    assert "host a.example" in ran.err


def test_all_and_some_is_a_usage_error(at, install):
    assert install("local.notes", "--grant-all", "--grant", "http.fetch").status == 2
    assert at.asked == []


@pytest.mark.parametrize("reference", ["local.notes", "local.local.notes", "e-1", "local.notes@2.0.0"])
def test_an_extension_has_several_names(install, reference):
    assert install(reference, "--grant-all").status == 0


def test_the_default_is_the_manifest_here(at, install, elsewhere):
    pages_only(elsewhere, version="2.0.0")
    assert install("--grant-all").status == 0
    assert sent(at)[0]["version"] == "2.0.0"


def test_a_manifest_that_was_not_published_is_not_replaced_by_another_version(at, install, elsewhere):
    pages_only(elsewhere, version="3.0.0")
    ran = install("--grant-all")
    assert ran.status == 1
    assert "3.0.0" in ran.err
    assert sent(at) == []


def test_what_an_older_version_asks_for_is_shown_as_well(at, install):
    ran = install("local.notes@1.0.0", "--grant-all")
    assert (ran.status, "cap:storage.kv" in ran.err) == (0, True)
    assert (sent(at)[0]["version"], sent(at)[0]["grants"]["capabilities"]) == ("1.0.0", ["cap:storage.kv"])


def test_a_name_that_fits_two_is_refused(at, install):
    at.on("GET", CATALOGUE, page(listed(), after="c"), page(listed(publisher="other", extension_id="e-2")))
    ran = install("local.notes", "--grant-all", "--json")
    assert (ran.status, ran.json()["code"]) == (1, "ambiguous_extension")
    assert at.calls("GET", CATALOGUE)[1].path.endswith("&cursor=c")


def test_a_name_nobody_published_says_so(install):
    ran = install("absent", "--json")
    assert (ran.status, ran.json()["code"]) == (1, "not_found")


def test_settings_come_from_a_file(at, install, tmp_path):
    (tmp_path / "s.json").write_text('{"region": "eu", "retries": 3}')
    assert install("local.notes", "--grant-all", "--config", tmp_path / "s.json").status == 0
    assert sent(at)[0]["config"] == {"region": "eu", "retries": 3}


@pytest.mark.parametrize("text", ["[1]", "nothing", None])
def test_what_holds_no_settings_is_a_usage_error(at, install, tmp_path, text):
    if text is not None:
        (tmp_path / "s.json").write_text(text)
    assert install("local.notes", "--grant-all", "--config", tmp_path / "s.json").status == 2
    assert at.asked == []


# ---- what is installed already ----------------------------------------------------------------------------------


def test_the_same_version_is_left_alone(at, install):
    at.on("GET", INSTALLS, page(installed()))
    at.on("GET", f"{INSTALLS}/i-1", as_json(installed()))
    ran = install("local.notes", "--json")
    assert (ran.status, ran.json()["install_id"]) == (0, "i-1")
    assert sent(at) == []


def test_another_version_is_named_with_what_to_do(at, install):
    at.on("GET", INSTALLS, page(installed("1.0.0")))
    ran = install("local.notes", "--grant-all", "--json")
    assert (ran.status, ran.json()["code"], ran.json()["version"]) == (1, "conflict", "1.0.0")
    assert "--replace" in ran.json()["next"]
    assert [one.method for one in at.asked if one.method != "GET"] == []


@pytest.fixture
def old(at):
    """Version 1.0.0 is installed, with settings."""
    at.on("GET", INSTALLS, page(installed("1.0.0")))
    at.on("GET", f"{INSTALLS}/i-1/config", as_json({"config": {"region": "eu"}, "version": 1}))
    at.on("DELETE", f"{INSTALLS}/i-1", as_json(installed("1.0.0", status="uninstalled")))


def test_another_version_is_replaced_and_keeps_its_settings(at, install, old):
    assert install("local.notes", "--grant-all", "--replace").status == 0
    assert [one.method for one in at.asked if one.method != "GET"] == ["DELETE", "POST"]
    assert sent(at)[0]["config"] == {"region": "eu"}


def test_a_refused_replacement_is_undone(at, install, old):
    at.on("POST", INSTALLS, refusing(422, "invalid_request", "$.region: is required"), as_json(installed("1.0.0"), 201))
    ran = install("local.notes", "--grant-all", "--replace")
    assert ran.status == 1
    assert "is required" in ran.err
    assert sent(at)[1] == {
        "extension": "e-1",
        "version": "1.0.0",
        "config": {"region": "eu"},
        "grants": {
            "capabilities": ["cap:context.read", "cap:http.fetch"],
            "egress": ["a.example"],
            "secrets": [],
            "withhold": ["cap:config.read", "cap:log.emit", "cap:metrics.emit", "cap:user.read"],
        },
    }


def test_nothing_is_uninstalled_before_consent(at, install, old):
    assert install("local.notes", "--replace").status == 3
    assert at.calls("DELETE", f"{INSTALLS}/i-1") == []


# ---- list -------------------------------------------------------------------------------------------------------


def test_every_page_is_listed(at, command):
    at.on("GET", INSTALLS, page(installed(), after="c"), page(installed(install_id="i-2", name="other")))
    ran = command("list")
    assert ran.status == 0
    rows = [line.split() for line in ran.out.splitlines()]
    assert rows[0][:3] == ["PUBLISHER", "NAME", "VERSION"]
    assert [row[1] for row in rows[1:]] == ["local.notes", "other"]


def test_the_list_in_json_is_the_apis(at, command):
    at.on("GET", INSTALLS, page(installed(of_a_later_release=1)))
    assert json.loads(command("list", "--json").out) == {
        "items": [installed(of_a_later_release=1)],
        "next_cursor": None,
    }


def test_an_empty_list_says_so(at, command):
    at.on("GET", INSTALLS, page())
    assert "nothing is installed" in command("list").out
