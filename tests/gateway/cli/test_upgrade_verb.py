"""upgrade, rollback, status and the rest of an install's life, as requests and exit statuses; the real routes are tried
by the system tests."""

from __future__ import annotations

import pytest

from tests.gateway.cli.projects import manifest
from tests.gateway.cli.small_gateway import as_json

KNOWN = {"extension_id": "e-1", "publisher": "local", "name": "local.notes"}
ASKS = {"capabilities": ["cap:http.fetch"], "permissions": {"egress": ["a.example"]}}
INSTALL = "/api/installs/i-1"


def version(number, **asks):
    return {
        **KNOWN,
        "version_id": f"v-{number}",
        "version": number,
        "content_hash": "x",
        "state": "ready",
        "manifest": manifest(version=number, **asks),
    }


def installed(number="1.0.0", **changes):
    return {
        **KNOWN,
        "install_id": "i-1",
        "version_id": f"v-{number}",
        "version": number,
        "content_hash": "sha256:" + "0" * 64,
        "status": "enabled",
        "granted": {"capabilities": ["cap:context.read", "cap:log.emit"], "egress": [], "secrets": []},
        **changes,
    }


@pytest.fixture
def life(at, command):
    """1.0.0 is installed, 2.0.0 asks for more, 1.1.0 does not."""
    older, newer = version("1.0.0"), version("2.0.0", **ASKS)
    at.on("GET", "/api/registry/extensions", as_json({"items": [{**KNOWN, "latest": newer}]}))
    at.on("GET", "/api/registry/extensions/e-1/versions", as_json({"items": [newer, version("1.1.0"), older]}))
    for one in (older, newer, version("1.1.0")):
        at.on("GET", f"/api/registry/versions/{one['version_id']}", as_json(one))
    at.on("GET", "/api/installs", as_json({"items": [installed()]}))
    at.on("GET", INSTALL, as_json(installed()))
    at.on("POST", f"{INSTALL}/upgrade", as_json(installed("2.0.0")))
    return command


def sent(at, what="upgrade"):
    return [one.json() for one in at.calls("POST", f"{INSTALL}/{what}")]


def test_with_ask_a_version_that_asks_for_more_waits_for_an_administrator(at, life):
    waiting = {"state": "pending_consent", "version_id": "v-2.0.0", "version": "2.0.0"}
    at.on("POST", f"{INSTALL}/upgrade", as_json(installed(upgrade=waiting), 202))
    ended = life("upgrade", "local.notes@2.0.0", "--ask")
    assert ended.status == 0, ended.err
    assert sent(at) == [{"version": "2.0.0"}]
    assert "1.0.0 goes on; 2.0.0 waits for consent" in ended.out


def test_a_version_that_asks_for_no_more_goes_in_without_a_word_about_grants(at, life):
    for words in ([], ["--yes"]):
        assert life("upgrade", "local.notes@1.1.0", *words).status == 0
    assert sent(at) == [{"version": "1.1.0"}] * 2


@pytest.mark.parametrize("words", [[], ["--yes"]])
def test_a_version_that_asks_for_more_is_shown_and_refused_without_consent(at, life, words):
    ran = life("upgrade", "local.notes", *words)
    assert ran.status == 3
    assert "cap:http.fetch" in ran.out
    assert sent(at) == []
    said = life("upgrade", "local.notes", *words, "--json").json()
    assert (said["code"], said["diff"]["grew"]) == ("cli_consent_needed", True)


def test_consent_to_all_of_it_keeps_what_was_decided_before(at, life):
    assert life("upgrade", "local.notes", "--grant-all").status == 0
    (wish,) = sent(at)
    assert wish["version"] == "2.0.0"
    assert wish["grants"]["capabilities"] == ["cap:http.fetch"]
    assert wish["grants"]["egress"] == ["a.example"]
    assert set(wish["grants"]["withhold"]) == {"cap:config.read", "cap:metrics.emit", "cap:user.read"}


def test_only_what_is_named_is_granted(at, life):
    assert life("upgrade", "local.notes", "--grant", "http.fetch").status == 0
    assert (sent(at)[0]["grants"]["capabilities"], sent(at)[0]["grants"]["egress"]) == (["cap:http.fetch"], [])
    assert life("upgrade", "local.notes", "--grant", "host:b.example").status == 2


def test_the_installed_version_again_changes_nothing(at, life):
    assert life("upgrade", "local.notes@1.0.0").status == 0
    assert sent(at) == []


def test_words_that_contradict_each_other_are_a_usage_error(at, life):
    assert life("upgrade", "local.notes", "--yes", "--grant-all").status == 2
    assert at.asked == []


def test_what_waits_for_consent_can_be_declined(at, life):
    at.on("DELETE", f"{INSTALL}/consent", as_json(installed()))
    assert life("upgrade", "local.notes", "--decline").status == 0
    assert len(at.calls("DELETE", f"{INSTALL}/consent")) == 1


def test_rollback_names_a_version_or_none(at, life):
    at.on("POST", f"{INSTALL}/rollback", as_json(installed()))
    assert life("rollback", "local.notes").status == 0
    assert life("rollback", "local.notes@1.0.0").status == 0
    assert sent(at, "rollback") == [{}, {"version": "1.0.0"}]


def test_what_waits_and_what_is_deprecated_is_seen_in_status_and_list(at, life):
    waiting = {"state": "pending_consent", "version_id": "v-2.0.0", "version": "2.0.0"}
    now = installed(upgrade=waiting, deprecated={"message": "use 2.0.0", "since": "2026-01-01T00:00:00Z"})
    at.on("GET", "/api/installs", as_json({"items": [now]}))
    at.on("GET", INSTALL, as_json(now))
    at.on(
        "GET", f"{INSTALL}/history", as_json({"items": [{"action": "install", "version": "1.0.0", "at": "2026-01-01"}]})
    )
    for words in (["status", "local.notes"], ["list"]):
        ran = life(*words)
        assert ran.status == 0
        assert "2.0.0 waits for consent" in ran.out
        assert "use 2.0.0" in ran.out
        assert "alga-ext upgrade" in ran.err
    assert life("status", "local.notes", "--json").json()["install"]["upgrade"] == waiting


def test_enable_disable_and_uninstall_are_one_request_each(at, life):
    for verb in ("enable", "disable"):
        at.on("POST", f"{INSTALL}/{verb}", as_json(installed()))
        assert life(verb, "local.notes").status == 0
        assert len(at.calls("POST", f"{INSTALL}/{verb}")) == 1
    at.on("DELETE", INSTALL, as_json(installed(status="uninstalled")))
    assert life("uninstall", "local.notes").status == 0
    assert at.calls("DELETE", INSTALL)[0].path == INSTALL


def test_erasing_has_to_be_meant(at, life):
    at.on("DELETE", INSTALL, as_json(installed(status="uninstalled")))
    assert life("uninstall", "local.notes", "--purge").status == 3
    assert at.calls("DELETE", INSTALL) == []
    assert life("uninstall", "local.notes", "--purge", "--yes").status == 0
    assert at.calls("DELETE", INSTALL)[0].path.endswith("?purge=true")


def test_settings_are_typed_as_the_manifest_declares_them(at, life):
    schema = {
        "type": "object",
        "properties": {
            "region": {"type": "string", "default": "eu"},
            "retries": {"type": "integer", "title": "how often"},
            "loud": {"type": "boolean"},
        },
    }
    at.on("GET", "/api/registry/versions/v-1.0.0", as_json(version("1.0.0", config=schema)))
    at.on("GET", f"{INSTALL}/config", as_json({"config": {"retries": 1, "old": 2}, "version": 1}))
    at.on("PUT", f"{INSTALL}/config", as_json({"config": {}, "version": 2}))
    ran = life("config", "get", "--extension", "local.notes")
    assert "eu (default)" in ran.out
    assert "how often" in ran.out
    words = ("region=7", "retries=3", "loud=true", "--unset", "old", "--extension", "local.notes")
    assert life("config", "set", *words).status == 0
    assert at.calls("PUT", f"{INSTALL}/config")[0].json() == {"config": {"retries": 3, "region": "7", "loud": True}}
    for wrong in ("retries=many", "loud=3", "retries=true", "nothing"):
        assert life("config", "set", wrong, "--extension", "local.notes").status == 2
    assert len(at.calls("PUT", f"{INSTALL}/config")) == 1
    assert life("config", "get", "absent", "--extension", "local.notes", "--json").json()["code"] == "not_found"


def test_versions_are_listed_deprecated_and_revoked_by_their_publisher(at, life):
    ran = life("versions", "local.notes")
    assert [line.split()[-5:][0] for line in ran.out.splitlines() if line.startswith("*")] != []
    for verb in ("deprecate", "revoke"):
        at.on("POST", f"/api/registry/versions/v-1.1.0/{verb}", as_json(version("1.1.0")))
    at.on("DELETE", "/api/registry/versions/v-1.1.0/deprecate", as_json(version("1.1.0")))
    assert life("deprecate", "local.notes@1.1.0", "use 2.0.0").status == 0
    assert life("deprecate", "local.notes@1.1.0", "--undo").status == 0
    assert at.calls("POST", "/api/registry/versions/v-1.1.0/deprecate")[0].json() == {"message": "use 2.0.0"}
    assert life("revoke", "local.notes@1.1.0", "--reason", "a hole").status == 3
    assert at.calls("POST", "/api/registry/versions/v-1.1.0/revoke") == []
    assert life("revoke", "local.notes@1.1.0", "--reason", "a hole", "--yes").status == 0
    assert at.calls("POST", "/api/registry/versions/v-1.1.0/revoke")[0].json() == {"reason": "a hole"}
    for words in (
        ["deprecate", "local.notes", "m"],
        ["deprecate", "local.notes@1.1.0"],
        ["revoke", "local.notes@1.1.0"],
    ):
        assert life(*words).status == 2
