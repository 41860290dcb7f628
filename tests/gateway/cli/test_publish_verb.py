"""publish: a signed bundle goes up as a stream, is followed until it is ready, and every refusal keeps its words."""

from __future__ import annotations

import json

import pytest

from gateway.cli import registry
from shared.digest import content_hash_of
from tests.gateway.cli.projects import pages_only
from tests.gateway.cli.small_gateway import as_json, refusing

UPLOAD = "/api/registry/bundles"
FINALIZE = f"{UPLOAD}/u-1/finalize"
VERSION = "/api/registry/versions/v-1"


def version(state, **changes):
    return {
        "extension_id": "e-1",
        "version_id": "v-1",
        "publisher": "local",
        "name": "local.notes",
        "version": "1.0.0",
        "content_hash": "sha256:" + "0" * 64,
        "size_bytes": 1,
        "state": state,
        "reason": None,
        "warnings": [],
        "manifest": {"name": "local.notes"} if state == "ready" else None,
        **changes,
    }


@pytest.fixture
def publish(at, command, elsewhere, monkeypatch):
    """The verb, in a project that is packed and signed, against a registry that takes uploads."""
    monkeypatch.setattr(registry, "_POLL_S", 0)
    pages_only(elsewhere)
    for words in (["keygen"], ["pack"], ["sign"]):
        assert command(*words).status == 0
    at.on("POST", UPLOAD, as_json({"upload_id": "u-1", "content_hash": "x", "size_bytes": 1, "expires_at": ""}, 201))
    return lambda *words: command("publish", *words)


def test_a_version_is_followed_until_it_is_ready(at, publish, elsewhere):
    at.on("POST", FINALIZE, as_json(version("preparing"), 202))
    at.on("GET", VERSION, as_json(version("preparing")), as_json(version("ready", warnings=["cap:x is declared"])))
    ran = publish("--json")
    assert (ran.status, ran.json()["state"], ran.json()["manifest"]) == (0, "ready", {"name": "local.notes"})
    archive = (elsewhere / "dist/local.notes-1.0.0.tar.zst").read_bytes()
    assert at.calls("POST", UPLOAD)[0].body == archive
    sent = at.calls("POST", FINALIZE)[0].json()
    assert sent["declared_hash"] == content_hash_of(archive)
    assert sent["signature"] == json.loads((elsewhere / "dist/local.notes-1.0.0.signature.json").read_text())
    assert sent["allow_unused_imports"] is False
    assert len(at.calls("GET", VERSION)) == 2
    assert all(one.headers["authorization"] == "Bearer ak_test_secret" for one in at.asked)


def test_what_is_next_and_every_warning_is_said(at, publish):
    at.on("POST", FINALIZE, as_json(version("ready", warnings=["cap:x is declared"])))
    ran = publish()
    assert ran.status == 0
    assert "local.local.notes 1.0.0 is ready" in ran.out
    assert "warning: cap:x is declared" in ran.err
    assert "alga-ext install local.local.notes@1.0.0" in ran.err


def test_a_rejected_version_fails_with_its_reason(at, publish):
    violation = {"path": "$.limits", "code": "range", "message": "must be less"}
    reason = {"code": "manifest_invalid", "message": "$.limits: must be less", "path": "$.limits"}
    at.on("POST", FINALIZE, as_json(version("rejected", reason={**reason, "violations": [violation]})))
    ran = publish("--json")
    assert (ran.status, ran.json()["code"], ran.json()["state"]) == (1, "manifest_invalid", "rejected")
    assert ran.json()["violations"] == [violation]
    people = publish()
    assert "$.limits: must be less" in people.err
    assert "raise `version`" in people.err


@pytest.mark.parametrize(
    ("status", "code", "ends", "next_step"),
    [
        (422, "signature_untrusted_key", 3, "keygen --trust-local"),
        (403, "forbidden", 3, "doctor"),
        (409, "version_exists", 1, "raise `version`"),
        (422, "bundle_invalid", 1, "pack"),
    ],
)
def test_a_refusal_says_what_to_do(at, publish, status, code, ends, next_step):
    at.on("POST", FINALIZE, refusing(status, code, "said the gateway"))
    ran = publish()
    assert ran.status == ends
    assert "said the gateway" in ran.err
    assert next_step in ran.err


def test_the_flag_for_unused_imports_goes_along(at, publish):
    at.on("POST", FINALIZE, as_json(version("ready")))
    publish("--allow-unused-imports")
    assert at.calls("POST", FINALIZE)[0].json()["allow_unused_imports"] is True


def test_a_version_that_never_gets_ready_ends_with_a_word(at, publish, monkeypatch):
    monkeypatch.setattr(registry, "CLI_PREPARE_MAX_S", 0.1)
    at.on("POST", FINALIZE, as_json(version("preparing"), 202))
    at.on("GET", VERSION, as_json(version("preparing")))
    ran = publish("--json")
    assert (ran.status, ran.json()["code"]) == (1, "cli_preparing")


def test_without_a_signature_nothing_is_sent(at, publish, elsewhere):
    (elsewhere / "dist/local.notes-1.0.0.signature.json").unlink()
    ran = publish()
    assert ran.status == 1
    assert "alga-ext sign" in ran.err
    assert at.asked == []


def test_another_bundle_and_signature_can_be_named(at, publish, elsewhere, tmp_path, monkeypatch):
    at.on("POST", FINALIZE, as_json(version("ready")))
    monkeypatch.chdir(tmp_path)
    dist = elsewhere / "dist"
    bundle, signature = dist / "local.notes-1.0.0.tar.zst", dist / "local.notes-1.0.0.signature.json"
    signature.rename(tmp_path / "s.json")
    assert publish(bundle, "--signature", tmp_path / "s.json").status == 0
