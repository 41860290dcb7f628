"""The life of an install and of its versions, typed at a shell, on the running platform."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.record import NAME, Stack
from tests.system.authors import Author


@pytest.fixture
def author(tmp_path: Path, stack: Stack, stack_directory: Path) -> Iterator[Author]:
    """Somebody with a project of pages, version 1.0.0 of which is installed."""
    found = Author(tmp_path, stack_directory / NAME)
    name = f"chapter-{secrets.token_hex(4)}"  # a version is published once, and the stack serves every suite
    found.asks("new", name, "--template", "ui-only")
    found.folder /= name
    found.asks("keygen", "--trust-local")
    yield found
    found.types("uninstall", "--purge", "--yes")


HOST = {"host": "api.example.com", "reason": "rates"}


def test_an_install_is_upgraded_with_consent_rolled_back_disabled_and_removed(author):
    author.releases("1.0.0")
    author.asks("install")
    author.releases("1.1.0")
    assert author.asks("diff", "installed")["grew"] is False
    assert author.asks("upgrade", "--yes")["version"] == "1.1.0"
    author.releases("2.0.0", capabilities=["cap:http.fetch"], permissions={"egress": [HOST]})
    assert author.asks("diff", "installed", author.reference)["egress"]["added"] == [HOST]
    refused = author.asks("upgrade", "--yes", status=3)
    assert (refused["code"], refused["diff"]["grew"]) == ("cli_consent_needed", True)
    assert author.asks("status")["install"]["version"] == "1.1.0"
    upgraded = author.asks("upgrade", "--grant", "http.fetch")
    assert (upgraded["version"], upgraded["granted"]["egress"]) == ("2.0.0", [])
    assert author.asks("rollback")["version"] == "1.1.0"
    assert author.asks("upgrade", f"{author.reference}@2.0.0", "--grant-all")["granted"]["egress"] == [
        "api.example.com"
    ]
    assert author.asks("disable")["status"] == "disabled"
    assert author.asks("enable")["status"] == "enabled"
    actions = [entry["action"] for entry in author.asks("status")["history"]]
    assert actions[:4] == ["upgrade", "rollback", "upgrade", "upgrade"]
    assert author.asks("uninstall")["status"] == "uninstalled"
    assert author.asks("status", status=1)["code"] == "not_installed"
    author.asks("install", "--grant-all")


def test_settings_are_shown_and_changed(author):
    schema = {"type": "object", "properties": {"region": {"type": "string"}, "retries": {"type": "integer"}}}
    author.releases("1.0.0", config=schema)
    author.asks("install")
    assert author.asks("config", "set", "region=eu", "retries=3")["config"] == {"region": "eu", "retries": 3}
    assert author.asks("config", "set", "--unset", "region")["config"] == {"retries": 3}
    assert author.asks("config", "get")["config"] == {"retries": 3}
    assert "retries" in author.types("config", "get", "retries")
    author.asks("config", "set", "retries=many", status=2)
    assert author.asks("config", "get")["config"] == {"retries": 3}


def test_a_deprecated_version_is_seen_and_a_revoked_one_is_not_gone_back_to(author):
    author.releases("1.0.0")
    author.asks("install")
    author.releases("1.1.0")
    author.asks("deprecate", f"{author.reference}@1.0.0", "use 1.1.0")
    assert author.asks("status")["install"]["deprecated"]["message"] == "use 1.1.0"
    assert "deprecated: use 1.1.0" in author.types("list")
    findings = [one for one in author.asks("doctor")["findings"] if one["about"] == author.reference]
    assert [one["verdict"] for one in findings] == ["warning"]
    listed = {one["version"]: one for one in author.asks("versions")["items"]}
    assert listed["1.0.0"]["deprecated"]["message"] == "use 1.1.0"
    assert listed["1.1.0"]["deprecated"] is None
    author.asks("deprecate", f"{author.reference}@1.0.0", "--undo")
    assert author.asks("status")["install"]["deprecated"] is None
    author.asks("upgrade")
    assert (
        author.asks("revoke", f"{author.reference}@1.0.0", "--reason", "a hole", status=3)["code"]
        == "cli_consent_needed"
    )
    author.asks("revoke", f"{author.reference}@1.0.0", "--reason", "a hole", "--yes")
    assert author.asks("rollback", status=3)["code"] == "revoked"
    assert {one["version"]: one["revoked"] for one in author.asks("versions")["items"]} == {
        "1.0.0": True,
        "1.1.0": False,
    }


def test_an_upgrade_that_waits_is_seen_and_declined(author, stack):
    author.releases("1.0.0")
    installed = author.asks("install")
    author.releases("2.0.0", capabilities=["cap:http.fetch"])
    path = f"{stack.gateway_url}/api/installs/{installed['install_id']}/upgrade"
    key = stack.tenant("acme").api_key
    asked = author.runs(
        "curl", "-s", "-X", "POST", "-H", f"authorization: Bearer {key}", "-H", "content-type: application/json",
        "-d", json.dumps({"version": "2.0.0"}), path,
    )  # fmt: skip
    assert json.loads(asked)["upgrade"]["state"] == "pending_consent"
    assert "2.0.0 waits for consent" in author.types("list")
    assert "cap:http.fetch" in author.types("status")
    assert author.asks("upgrade", "--decline")["upgrade"] is None
    assert author.asks("status")["install"]["version"] == "1.0.0"


def test_login_replaces_the_local_stack(author, stack, tmp_path):
    author.releases("1.0.0")
    author.asks("install")
    del author.environment["ALGA_STACK"]
    assert author.asks("list", status=1)["code"] == "cli_no_gateway"
    key = stack.tenant("acme").api_key
    words = f"printf %s {key} | {sys.executable} -m gateway.cli.main login {stack.gateway_url} --json"
    said = author.runs("sh", "-c", words)
    assert key not in said
    assert author.reference.removeprefix("local.") in author.types("list")
    file = tmp_path / "config" / "alga-ext" / "credentials.json"
    assert file.stat().st_mode & 0o777 == 0o600
