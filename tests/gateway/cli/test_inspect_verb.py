"""inspect: everything in a bundle or a component on one screen, whoever vouches for it or nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.cli import key_files
from tests.gateway.cli.conftest import Command
from tests.gateway.cli.projects import pages_only
from tests.shared.components import compiled, wat

BUNDLE = "dist/local.notes-1.0.0.tar.zst"


@pytest.fixture
def packed(elsewhere: Path, command: Command) -> Path:
    pages_only(
        elsewhere,
        capabilities=["cap:http.fetch"],
        permissions={"egress": [{"host": "api.example.com", "reason": "rates"}]},
        events=[{"topic": "invoice.paid", "handler": "/events"}],
        api={"endpoints": [{"method": "POST", "path": "/events"}]},
    )
    (elsewhere / "dist").mkdir()
    compiled(elsewhere / "dist", wat())
    assert command("pack", "--allow-unused-imports").status == 0
    return elsewhere / BUNDLE


def test_a_bundle_says_what_it_asks_for_has_and_imports(packed, command):
    ran = command("inspect", packed)
    assert ran.status == 0
    for said in (
        "local.local.notes 1.0.0",
        "not signed",
        "cap:http.fetch",
        "host api.example.com  “rates”",
        "POST /events",
        "invoice.paid",
        "ui/index.html",
        "alga:extension/types",
        "handler",
    ):
        assert said in ran.out, said
    assert len(ran.out.splitlines()) <= 25
    assert "\x1b" not in ran.out


def test_the_default_is_what_pack_wrote_here(packed, command):
    said = command("inspect", "--json").json()
    assert said["bundle"]["digest"]["size_bytes"] == packed.stat().st_size
    assert said["signature"]["state"] == "none"
    assert "cap:http.fetch" in said["capabilities"]
    assert said["component"]["imports"] == ["alga:extension/types"]


def test_a_signature_is_unchecked_trusted_or_refused(packed, command, tmp_path, monkeypatch):
    assert command("keygen").status == 0
    assert command("sign").status == 0
    assert command("inspect", "--json").json()["signature"]["state"] == "unchecked"
    public = key_files.public_of(tmp_path / "config" / "alga-ext" / "signing.pem")
    assert command("inspect", "--trust", public, "--json").json()["signature"]["state"] == "trusted"
    assert command("keygen", "--out", tmp_path / "other.pem").status == 0
    refused = command("inspect", "--trust", key_files.public_of(tmp_path / "other.pem"), "--json").json()["signature"]
    assert (refused["state"], refused["code"]) == ("refused", "signature_untrusted_key")


def test_a_signature_of_other_bytes_is_refused(packed, command, tmp_path, elsewhere):
    command("keygen")
    command("sign")
    (elsewhere / "ui" / "more.txt").write_text("more")
    command("pack", "--allow-unused-imports")
    public = key_files.public_of(tmp_path / "config" / "alga-ext" / "signing.pem")
    assert command("inspect", "--trust", public, "--json").json()["signature"]["state"] == "refused"


def test_a_component_alone_is_shown(packed, command, elsewhere):
    ran = command("inspect", elsewhere / "dist" / "main.wasm")
    assert (ran.status, "alga:extension/types" in ran.out) == (0, True)
    said = command("inspect", elsewhere / "dist" / "main.wasm", "--json").json()
    assert said["bundle"] is None
    assert said["component"]["exports"] == ["handler"]


@pytest.mark.parametrize("content", [b"", b"no bundle", b"\0asm\1\0\0\0", b"\0asm"])
def test_what_is_neither_is_refused_with_a_next_step(elsewhere, command, content):
    (elsewhere / "file").write_bytes(content)
    ran = command("inspect", "file", "--json")
    assert (ran.status, bool(ran.json()["next"])) == (1, True)


def test_a_file_that_is_not_there_says_so(elsewhere, command):
    assert command("inspect", "absent.tar.zst", "--json").json()["code"] == "cli_no_bundle"
