"""Signing keys: made once, for their owner only, and trusted by a local stack when its owner says so."""

from __future__ import annotations

import json
import stat

import pytest

from gateway.cli import key_files
from gateway.cli.failures import CliError
from shared.keys import PrivateKey
from shared.trust import parse_trust

STACK_KEY = PrivateKey(b"\1" * 32)
MINE = PrivateKey(b"\2" * 32)


def bundle(path, **changes):
    key = {"key_id": STACK_KEY.key_id, "public_key": STACK_KEY.public.pem(), "publishers": ["alga"], **changes}
    path.write_text(json.dumps({"version": 1, "threshold": 1, "keys": [key]}))
    path.chmod(0o640)
    return path


@pytest.fixture
def trust(tmp_path):
    return bundle(tmp_path / "trust.json")


def test_a_new_key_is_for_its_owner_only(tmp_path):
    path = tmp_path / "a" / "signing.pem"
    key = key_files.write_new(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert key_files.load(path).key_id == key.key_id
    assert key_files.public_of(path).read_text() == key.public.pem()


def test_a_key_is_never_overwritten(tmp_path):
    path = tmp_path / "signing.pem"
    key = key_files.write_new(path)
    with pytest.raises(FileExistsError):
        key_files.write_new(path)
    assert key_files.load(path).key_id == key.key_id


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_key_that_others_may_read_is_not_used(tmp_path, mode):
    path = tmp_path / "signing.pem"
    key_files.write_new(path)
    path.chmod(mode)
    with pytest.raises(CliError, match="others than you") as refused:
        key_files.load(path)
    assert "chmod 600" in refused.value.next_step


def test_what_is_no_key_is_refused(tmp_path):
    path = tmp_path / "signing.pem"
    path.write_text(MINE.public.pem())
    path.chmod(0o600)
    with pytest.raises(CliError, match="no Ed25519 private key"):
        key_files.load(path)


def test_a_missing_key_names_the_command_that_makes_one(tmp_path):
    with pytest.raises(CliError, match="cannot be read") as failed:
        key_files.load(tmp_path / "none.pem")
    assert "alga-ext keygen" in failed.value.next_step


def test_the_default_key_lies_outside_of_projects():
    assert key_files.default_key({"XDG_CONFIG_HOME": "/c"}).as_posix() == "/c/alga-ext/signing.pem"
    assert key_files.default_key({"ALGA_EXT_KEY": "/k.pem", "XDG_CONFIG_HOME": "/c"}).as_posix() == "/k.pem"


# ---- trust ------------------------------------------------------------------------------------------------------


def test_a_key_is_added_for_its_publishers_and_the_others_stay(trust):
    assert key_files.trust_key(trust, MINE.public, ("local", "acme"))
    found = parse_trust(trust.read_text())
    assert found.keys[MINE.key_id].publishers == {"local", "acme"}
    assert found.keys[STACK_KEY.key_id].publishers == {"alga"}
    assert stat.S_IMODE(trust.stat().st_mode) == 0o640


def test_a_trusted_key_changes_nothing(trust):
    key_files.trust_key(trust, MINE.public, ("local",))
    before = trust.stat().st_mtime_ns, trust.stat().st_ino
    assert not key_files.trust_key(trust, MINE.public, ("local",))
    assert (trust.stat().st_mtime_ns, trust.stat().st_ino) == before


def test_a_known_key_gets_the_publishers_it_lacks(trust):
    key_files.trust_key(trust, MINE.public, ("local",))
    assert key_files.trust_key(trust, MINE.public, ("acme",))
    assert parse_trust(trust.read_text()).keys[MINE.key_id].publishers == {"local", "acme"}


def test_what_a_key_has_besides_is_kept(tmp_path):
    path = bundle(tmp_path / "trust.json", not_after="2099-01-01T00:00:00Z")
    key_files.trust_key(path, MINE.public, ("local",))
    assert parse_trust(path.read_text()).keys[STACK_KEY.key_id].not_after is not None


def test_a_key_for_everybody_needs_nothing(tmp_path):
    path = bundle(tmp_path / "trust.json", publishers=["*"])
    assert not key_files.trust_key(path, STACK_KEY.public, ("acme",))


def test_a_revoked_key_is_not_trusted_again(tmp_path):
    path = bundle(tmp_path / "trust.json", revoked_at="2026-01-01T00:00:00Z")
    with pytest.raises(CliError, match="was revoked"):
        key_files.trust_key(path, STACK_KEY.public, ("local",))


def test_a_pem_bundle_gets_another_block(tmp_path):
    path = tmp_path / "trust.pem"
    path.write_text(STACK_KEY.public.pem())
    assert key_files.trust_key(path, MINE.public, ("local",))
    assert set(parse_trust(path.read_text()).keys) == {STACK_KEY.key_id, MINE.key_id}


@pytest.mark.parametrize("text", ["", "{}", '{"version": 1, "keys": []}', "hello"])
def test_what_is_no_trust_bundle_is_left_alone(tmp_path, text):
    path = tmp_path / "trust.json"
    path.write_text(text)
    with pytest.raises(CliError):
        key_files.trust_key(path, MINE.public, ("local",))
    assert path.read_text() == text
    assert [file.name for file in tmp_path.iterdir()] == ["trust.json"]
