"""The keys of a local stack: private, made once, and each service's public half where the others need it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from deploy.local.keys import PUBLISHERS, ensure
from deploy.local.private import write_private
from runner.settings import RUNNER_VARIABLES
from shared.keys import PublicKey
from shared.sealing import SealingKey, sealing_public_keys
from shared.trust import parse_trust


def test_every_file_is_private_and_so_is_the_folder(tmp_path: Path) -> None:
    ensure(tmp_path / "keys")
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    files = list((tmp_path / "keys").iterdir())
    assert files
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_a_second_start_has_the_same_keys(tmp_path: Path) -> None:
    first, second = ensure(tmp_path), ensure(tmp_path)
    assert first.gateway.key().key_id == second.gateway.key().key_id
    assert first.passwords == second.passwords
    assert first.trust_bundle.read_bytes() == second.trust_bundle.read_bytes()


def test_no_two_services_share_a_key(tmp_path: Path) -> None:
    keys = ensure(tmp_path)
    pairs = (keys.gateway, keys.runner, keys.compiler, keys.publisher, keys.host)
    assert len({pair.key().key_id for pair in pairs}) == len(pairs)


def test_the_public_file_is_the_private_keys_other_half(tmp_path: Path) -> None:
    pair = ensure(tmp_path).compiler
    assert PublicKey.from_pem(pair.public.read_text()).key_id == pair.key().key_id
    sealing = ensure(tmp_path).sealing
    (public,) = sealing_public_keys(sealing.public.read_text())
    assert public.key_id == SealingKey.from_pem(sealing.private.read_text()).key_id


def test_the_trust_bundle_trusts_the_publisher_for_the_local_names_only(tmp_path: Path) -> None:
    keys = ensure(tmp_path)
    trusted = parse_trust(keys.trust_bundle.read_text()).keys[keys.publisher.key().key_id]
    assert all(trusted.may_sign_for(publisher) for publisher in PUBLISHERS)
    assert not trusted.may_sign_for("somebody")


def test_a_key_that_a_person_added_to_the_trust_bundle_stays(tmp_path: Path) -> None:
    keys = ensure(tmp_path)
    keys.trust_bundle.write_text(keys.trust_bundle.read_text().replace('"local"', '"local", "mine"'))
    ensure(tmp_path)
    assert '"mine"' in keys.trust_bundle.read_text()


def test_the_runner_accepts_the_service_token(tmp_path: Path) -> None:
    variable = next(each for each in RUNNER_VARIABLES if each.name == "RUNNER_SERVICE_TOKEN")
    for attempt in range(20):
        token = ensure(tmp_path / str(attempt)).passwords.service_token
        assert variable.parse(token) == token


def test_a_private_file_replaces_a_readable_one(tmp_path: Path) -> None:
    path = tmp_path / "below" / "secret"
    path.parent.mkdir()
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, msgspec.json.encode("new"))
    assert path.read_bytes() == b'"new"'
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["secret"]
