"""keygen, pack, sign and verify: from a folder to a bundle that somebody vouches for."""

from __future__ import annotations

import json

import pytest

from gateway.cli.verbs import keys
from shared.keys import PrivateKey
from shared.limits import TRUST_POLL_S
from shared.trust import parse_trust
from tests.gateway.cli.projects import pages_only

STACK_KEY = PrivateKey(b"\1" * 32)


@pytest.fixture
def here(elsewhere):
    """A project in the current folder, with pages only."""
    return pages_only(elsewhere)


@pytest.fixture
def trust(tmp_path, monkeypatch):
    """A local stack's trust bundle, found through its stack.json; nobody waits for services that are not there."""
    path = tmp_path / "trust.json"
    key = {"key_id": STACK_KEY.key_id, "public_key": STACK_KEY.public.pem(), "publishers": ["alga"]}
    path.write_text(json.dumps({"version": 1, "threshold": 1, "keys": [key]}))
    stack = tmp_path / "stack.json"
    stack.write_text(
        json.dumps({"gateway_url": "http://127.0.0.1:9", "trust_bundle": str(path), "tenants": []}), encoding="utf-8"
    )
    waited = []
    monkeypatch.setattr(keys.time, "sleep", waited.append)
    return lambda: (parse_trust(path.read_text()), waited)


@pytest.fixture
def stacked(command, trust, tmp_path, monkeypatch):
    """The command, with the local stack named after the settings were cleared."""
    monkeypatch.setenv("ALGA_STACK", str(tmp_path / "stack.json"))
    return command


BUNDLE = "dist/local.notes-1.0.0.tar.zst"
SIGNATURE = "dist/local.notes-1.0.0.signature.json"


def test_the_whole_way_from_a_folder_to_a_verified_bundle(here, stacked):
    for words in (["keygen", "--trust-local"], ["pack"], ["sign"]):
        ran = stacked(*words)
        assert ran.status == 0, ran.err
    ran = stacked("verify", "--json")
    assert ran.status == 0
    assert (ran.json()["publisher"], ran.json()["name"], ran.json()["version"]) == ("local", "local.notes", "1.0.0")
    assert (here / BUNDLE).is_file()
    assert (here / SIGNATURE).is_file()


# ---- keygen -----------------------------------------------------------------------------------------------------


def test_a_key_that_exists_is_refused_and_kept(command, tmp_path):
    first = command("keygen", "-o", tmp_path / "k.pem", "--json").json()
    assert first["created"]
    again = command("keygen", "--out", tmp_path / "k.pem")
    assert again.status == 1
    assert "stays as it is" in again.err
    assert PrivateKey.from_pem((tmp_path / "k.pem").read_text()).key_id == first["key_id"]


def test_a_key_that_exists_can_be_trusted(here, stacked, trust):
    made = stacked("keygen", "--json").json()
    kept = stacked("keygen", "--trust-local", "--json").json()
    assert (kept["key_id"], kept["created"], kept["publishers"]) == (made["key_id"], False, ["local"])
    bundle, waited = trust()
    assert set(bundle.keys) == {STACK_KEY.key_id, made["key_id"]}
    assert waited == [2 * TRUST_POLL_S]


def test_a_key_that_is_trusted_already_waits_for_nobody(here, stacked, trust):
    stacked("keygen", "--trust-local")
    stacked("keygen", "--trust-local")
    assert len(trust()[1]) == 1


def test_a_key_is_trusted_for_the_publisher_of_the_manifest_here(elsewhere, stacked, trust):
    pages_only(elsewhere, publisher="acme")
    made = stacked("keygen", "--trust-local", "--json").json()
    assert trust()[0].keys[made["key_id"]].publishers == {"acme", "local"}


def test_a_publisher_can_be_named(elsewhere, stacked, trust):
    made = stacked("keygen", "--trust-local", "--publisher", "globex", "--json").json()
    assert trust()[0].keys[made["key_id"]].publishers == {"globex", "local"}


def test_without_a_stack_nothing_is_trusted_and_the_key_is_there(command):
    ran = command("keygen", "--trust-local")
    assert ran.status == 1
    assert "make run" in ran.err


# ---- pack -------------------------------------------------------------------------------------------------------


def test_the_same_files_give_the_same_bytes(here, command, tmp_path):
    one = command("pack", "--json").json()
    two = command("pack", "-o", tmp_path / "two.tar.zst", "--json").json()
    assert one["content_hash"] == two["content_hash"]
    assert (here / BUNDLE).read_bytes() == (tmp_path / "two.tar.zst").read_bytes()


def test_what_is_not_in_order_is_not_packed(elsewhere, command):
    pages_only(elsewhere, icon="ui/none.svg", assets=["ui/*.css"])
    ran = command("pack")
    assert ran.status == 1
    assert "2 errors" in ran.err
    assert "ui/none.svg" in ran.err
    assert not (elsewhere / "dist").exists()
    document = command("pack", "--json").json()
    assert [problem["path"] for problem in document["problems"]] == ["$.icon", "$.assets[0]"]


def test_another_folder_can_be_packed(elsewhere, command, tmp_path):
    folder = pages_only(tmp_path / "other")
    assert command("pack", folder).status == 0
    assert (folder / BUNDLE).is_file()


# ---- sign and verify --------------------------------------------------------------------------------------------


@pytest.fixture
def packed(here, stacked):
    stacked("keygen", "--trust-local")
    stacked("pack")
    return stacked


def test_signing_without_a_bundle_says_how_to_make_one(here, command):
    command("keygen")
    ran = command("sign")
    assert ran.status == 1
    assert "alga-ext pack" in ran.err


def test_signing_without_a_key_says_how_to_make_one(here, command):
    command("pack")
    ran = command("sign")
    assert ran.status == 1
    assert "alga-ext keygen" in ran.err


def test_two_keys_can_sign_one_bundle(here, packed, tmp_path):
    packed("keygen", "-o", tmp_path / "second.pem")
    first = packed("sign", "--json").json()
    both = packed("sign", "--key", tmp_path / "second.pem", "--json").json()
    assert len(both["signatures"]) == 2
    assert both["payload"] == first["payload"]
    again = packed("sign", "--json").json()
    assert again == both


def test_a_signature_over_other_bytes_is_replaced(here, packed):
    before = packed("sign", "--json").json()
    (here / "ui/index.html").write_text("<!doctype html><p>other")
    packed("pack")
    after = packed("sign", "--json").json()
    assert len(after["signatures"]) == 1
    assert after["payload"] != before["payload"]


@pytest.mark.parametrize("text", ["", "nothing", '{"payloadType": "x", "payload": "", "signatures": []}'])
def test_a_file_that_is_no_signature_is_replaced(here, packed, text):
    (here / SIGNATURE).write_text(text)
    assert len(packed("sign", "--json").json()["signatures"]) == 1


def test_a_bundle_that_was_changed_is_refused_by_policy(here, packed):
    packed("sign")
    (here / "ui/index.html").write_text("<!doctype html><p>other")
    packed("pack")
    ran = packed("verify", "--json")
    assert (ran.status, ran.json()["code"]) == (3, "content_hash_mismatch")


def test_a_key_nobody_trusts_is_refused_by_policy(here, packed, tmp_path):
    packed("keygen", "-o", tmp_path / "stranger.pem")
    packed("sign", "--key", tmp_path / "stranger.pem", "-o", tmp_path / "s.json")
    ran = packed("verify", "--signature", tmp_path / "s.json", "--json")
    assert (ran.status, ran.json()["code"]) == (3, "signature_untrusted_key")


def test_a_key_that_may_not_sign_for_the_publisher_is_refused(here, packed, tmp_path):
    key = tmp_path / "stack.pem"
    STACK_KEY.write(key)
    packed("sign", "--key", key, "-o", tmp_path / "s.json")
    ran = packed("verify", "--signature", tmp_path / "s.json")
    assert ran.status == 3
    assert "may not sign for publisher local" in ran.err


def test_other_trust_can_be_named_by_option_or_setting(here, packed, tmp_path, monkeypatch):
    packed("sign")
    only_stack = tmp_path / "only.pem"
    only_stack.write_text(STACK_KEY.public.pem())
    assert packed("verify", "--trust", only_stack).status == 3
    monkeypatch.setenv("SIGNING_TRUST_BUNDLE", STACK_KEY.public.pem())
    assert packed("verify").status == 3


def test_a_missing_signature_is_refused_with_the_command_that_makes_one(here, packed):
    ran = packed("verify")
    assert ran.status == 1
    assert "alga-ext sign" in ran.err


def test_what_is_no_bundle_is_an_error_and_no_traceback(here, packed):
    packed("sign")
    (here / BUNDLE).write_bytes(b"not an archive")
    ran = packed("verify", "--json")
    assert (ran.status, ran.json()["code"]) == (1, "bundle_invalid")
