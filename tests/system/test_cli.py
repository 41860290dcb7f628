"""`alga-ext` as an author types it: from nothing to an answer of their own extension, on the running platform."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from deploy.local.record import NAME, Stack
from tests.system.authors import Author


@pytest.fixture
def author(tmp_path: Path, stack: Stack, stack_directory: Path) -> Author:
    return Author(tmp_path, stack_directory / NAME)


TESTS = {"python": (sys.executable, "-m", "unittest"), "js": ("npm", "test")}


@pytest.mark.guests
@pytest.mark.slow
@pytest.mark.timeout(900, func_only=True)
@pytest.mark.parametrize("template", ["python", "js"])
def test_from_a_new_project_to_an_answer(author: Author, template: str) -> None:
    name = f"greeter-{template}"
    assert author.asks("new", name, "--template", template)["name"] == f"local.{name}"
    author.folder /= name
    author.runs(*TESTS[template])
    assert author.asks("build")["up_to_date"] is False
    assert author.asks("build")["up_to_date"] is True
    tested = author.asks("test")
    assert (tested["ok"], tested["own"]["ok"], len(tested["sandbox"])) == (True, True, 2)
    assert tested["wall"]["seccomp"] == "on"
    report = author.asks("check")
    assert (report["ok"], report["problems"]) == (True, [])
    key = author.asks("keygen", "--trust-local")
    packed = author.asks("pack")
    assert [one["keyid"] for one in author.asks("sign")["signatures"]] == [key["key_id"]]
    assert author.asks("verify")["content_hash"] == packed["content_hash"]
    version = author.asks("publish")
    assert (version["state"], version["content_hash"], version["warnings"]) == ("ready", packed["content_hash"], [])
    assert author.asks("publish")["version_id"] == version["version_id"]
    installed = author.asks("install", "--grant-all")
    assert (installed["status"], installed["version_id"]) == ("enabled", version["version_id"])
    assert installed["install_id"] in author.types("list")
    called = author.asks("call", "GET", "/hello?name=Ada")
    assert (called["status"], json.loads(called["body"])) == (200, {"message": "Hello, Ada!", "tenant": "acme"})
    lines = [
        json.loads(line) for line in author.types("logs", "--request", called["request_id"], "--json").splitlines()
    ]
    assert "greeting Ada" in [line["data"]["message"] for line in lines if line["event"] == "log"]
    assert json.loads(author.types("call", "GET", "/nothing", status=1))["error"] == "not found"


def test_a_project_of_pages_is_published_replaced_and_checked(author: Author) -> None:
    author.asks("new", "leaflet", "--template", "ui-only")
    author.folder /= "leaflet"
    author.asks("keygen", "--trust-local")
    for verb in ("pack", "sign", "publish", "install"):
        author.asks(verb)
    manifest = author.folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"0.1.0"', '"0.2.0"'))
    for verb in ("pack", "sign", "publish"):
        author.asks(verb)
    refused = author.asks("install", status=1)
    assert (refused["code"], refused["version"]) == ("conflict", "0.1.0")
    assert author.asks("install", "--replace")["version"] == "0.2.0"
    findings = {one["about"]: one for one in author.asks("doctor")["findings"]}
    for about in (
        "trust",
        "gateway",
        "clock",
        "extension:read",
        "extension:admin",
        "extension:publish",
        "extension:debug",
    ):
        assert findings[about]["verdict"] == "ok", findings[about]


def test_a_key_nobody_trusts_is_refused_by_policy(author: Author) -> None:
    author.asks("new", "stranger", "--template", "ui-only")
    author.folder /= "stranger"
    author.asks("keygen")
    author.asks("pack")
    author.asks("sign")
    refused = author.asks("publish", status=3)
    assert refused["code"] == "signature_untrusted_key"
    assert "keygen --trust-local" in refused["next"]


def test_a_user_may_call_and_neither_publish_nor_watch(author: Author, stack: Stack) -> None:
    author.environment["ALGA_EXT_URL"] = stack.gateway_url
    author.environment["ALGA_EXT_TOKEN"] = stack.tenant("globex").user_token
    called = author.asks("call", "--extension", "alga.samples.hello-quickjs", "GET", "/hello")
    assert json.loads(called["body"])["tenant"] == "globex"
    assert author.asks("logs", "--extension", "alga.samples.hello-quickjs", status=3)["code"] == "forbidden"
    findings = {one["about"]: one["verdict"] for one in author.asks("doctor")["findings"]}
    assert findings["extension:read"] == "ok"
    for permission in ("admin", "publish", "debug"):
        assert findings[f"extension:{permission}"] == "warning"
    author.asks("new", "visitor", "--template", "ui-only")
    author.folder /= "visitor"
    for verb in ("keygen", "pack", "sign"):
        author.asks(verb)
    assert author.asks("publish", status=3)["code"] == "forbidden"
