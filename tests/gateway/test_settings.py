"""Settings: every variable has its sentence; a wrong one stops the start and is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.settings import VARIABLES, GatewaySettings, load_settings
from shared.keys import PrivateKey
from shared.sealing import SealingKey
from shared.settings import SettingError

HOST, OURS, RUNNER = (PrivateKey(bytes([number]) * 32) for number in (1, 2, 3))

ENOUGH = {
    "GATEWAY_DATABASE_URL": "postgresql://gateway_app:secret@db/gateway",
    "GATEWAY_PLATFORM_DATABASE_URL": "postgresql://gateway_platform:secret@db/gateway",
    "GATEWAY_JWT_KEYS": HOST.public.pem(),
    "GATEWAY_JWT_AUDIENCE": "alga-extensions",
    "GATEWAY_JWT_ISSUER": "https://host.example",
    "GATEWAY_SIGNING_KEY": OURS.pem(),
    "GATEWAY_RUNNER_KEYS": RUNNER.public.pem(),
    "RUNNER_BASE_URL": "http://runner:8080",
    "RUNNER_PUBLIC_BASE": "https://assets.example/",
    "COMPILER_BASE_URL": "http://compiler:8082",
    "SIGNING_TRUST_BUNDLE": "/etc/trust.json",
    "STORAGE_S3_BUCKET": "files",
}


def test_the_least_that_is_needed_is_enough() -> None:
    settings = load_settings(ENOUGH)
    assert (settings.mode, settings.bind, settings.internal_bind) == ("production", "127.0.0.1:8000", "127.0.0.1:8001")
    assert (settings.timeout_ms, settings.endpoint_policy, settings.audit_mode) == (5000, "advisory", "required")
    assert (settings.ui_host_mode, settings.redirect_compat, settings.stale_mode) == ("runner", False, "serve")
    assert settings.database_direct_url == settings.database_url
    assert settings.s3_bucket == "files"
    assert settings.runner_public_base == "https://assets.example"
    assert settings.runner_base_url == ("http://runner:8080",)
    assert settings.redis_url is None


@pytest.mark.parametrize("name", ENOUGH)
def test_each_of_them_is_needed(name: str) -> None:
    with pytest.raises(SettingError, match=f"{name} is required"):
        load_settings({key: value for key, value in ENOUGH.items() if key != name})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EXT_MODE", "development"),
        ("GATEWAY_BIND", "8000"),
        ("GATEWAY_BIND", "0.0.0.0:70000"),
        ("GATEWAY_DATABASE_URL", "mysql://db/gateway"),
        ("GATEWAY_REDIS_URL", "http://redis"),
        ("GATEWAY_JWT_KEYS", "/nowhere/keys.pem"),
        ("GATEWAY_JWT_KEYS", '{"keys": []}'),
        ("GATEWAY_JWT_KEYS", OURS.public.pem()),
        ("GATEWAY_JWT_KEYS", HOST.pem()),
        ("GATEWAY_SIGNING_KEY", OURS.public.pem()),
        ("GATEWAY_SIGNING_KEY", "/nowhere/key.pem"),
        ("GATEWAY_RUNNER_KEYS", "-----BEGIN nothing"),
        ("RUNNER_BASE_URL", ","),
        ("RUNNER_BASE_URL", "http://a,ftp://b"),
        ("EXT_GATEWAY_TIMEOUT_MS", "0"),
        ("EXT_GATEWAY_TIMEOUT_MS", "30001"),
        ("STORAGE_S3_FORCE_PATH_STYLE", "yes"),
        ("STORAGE_S3_ACCESS_KEY", "alone"),
        ("EXT_UI_HOST_MODE", "nextjs"),
        ("EXT_GATEWAY_ALLOWED_ORIGINS", "https://a.example/"),
        ("EXT_GATEWAY_ALLOWED_ORIGINS", "https://*.example"),
        ("EXT_GATEWAY_ALLOWED_ORIGINS", "https://A.example"),
        ("EXT_GATEWAY_ALLOWED_ORIGINS", "null"),
        ("EXT_GATEWAY_ALLOWED_ORIGINS", "*"),
        ("EXT_ENDPOINT_POLICY", "strict"),
        ("EXT_AUDIT_MODE", "off"),
        ("EXT_STALE_MODE", "maybe"),
    ],
)
def test_a_wrong_value_stops_the_start_and_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=name):
        load_settings(ENOUGH | {name: value})


@pytest.mark.parametrize("name", [var.name for var in VARIABLES if var.secret])
def test_a_secret_is_never_repeated(name: str) -> None:
    with pytest.raises(SettingError) as refused:
        load_settings(ENOUGH | {name: "hunter2 hunter2"} | {"STORAGE_S3_BUCKET": ""})
    assert "hunter2" not in str(refused.value)


@pytest.mark.security
@pytest.mark.parametrize("name", ["GATEWAY_BIND", "GATEWAY_INTERNAL_BIND"])
@pytest.mark.parametrize(
    "address", ["0.0.0.0:9000", "[::]:9000", "192.168.1.5:9000", "gateway:9000", "127.0.0.1.nip.io:80"]
)
def test_local_mode_listens_on_loopback_only(name: str, address: str) -> None:
    with pytest.raises(SettingError, match=f"{name}: .* is not loopback"):
        load_settings(ENOUGH | {"EXT_MODE": "local", name: address})
    load_settings(ENOUGH | {name: address})


@pytest.mark.parametrize("address", ["127.0.0.1:0", "127.8.8.8:80", "[::1]:80", "localhost:80"])
def test_loopback_has_several_names(address: str) -> None:
    assert load_settings(ENOUGH | {"EXT_MODE": "local", "GATEWAY_BIND": address}).local


def test_keys_may_stand_in_files(tmp_path: Path) -> None:
    files = {}
    for name, text in (
        ("GATEWAY_SIGNING_KEY", OURS.pem()),
        ("GATEWAY_JWT_KEYS", HOST.public.pem()),
        ("GATEWAY_RUNNER_KEYS", RUNNER.public.pem()),
    ):
        files[name] = str(tmp_path / name)
        (tmp_path / name).write_text(text)
    settings: GatewaySettings = load_settings(ENOUGH | files)
    assert settings.signing_key.key_id == OURS.key_id
    assert [key.key_id for key in settings.runner_keys] == [RUNNER.public.key_id]


def test_lists_and_fallbacks() -> None:
    more = {
        "RUNNER_BASE_URL": "http://a:1, http://b:2/",
        "EXT_GATEWAY_ALLOWED_ORIGINS": "https://app.example, http://127.0.0.1:3000",
        "STORAGE_S3_BUNDLE_BUCKET": "bundles",
        "GATEWAY_DATABASE_DIRECT_URL": "postgresql://gateway_app@direct/gateway",
        "EXT_UI_HOST_MODE": "rust",
    }
    settings = load_settings(ENOUGH | more)
    assert settings.runner_base_url == ("http://a:1", "http://b:2")
    assert settings.allowed_origins == ("https://app.example", "http://127.0.0.1:3000")
    assert (settings.s3_bucket, settings.ui_host_mode) == ("bundles", "runner")
    assert settings.database_direct_url == "postgresql://gateway_app@direct/gateway"


def test_the_first_sealing_key_seals_and_none_is_needed_to_start(tmp_path: Path) -> None:
    assert load_settings(ENOUGH).sealing_public_keys == ()
    new, old = (SealingKey(bytes([number]) * 32).public for number in (1, 2))
    (tmp_path / "keys.pem").write_text(new.pem() + old.pem())
    for value in (new.pem() + old.pem(), str(tmp_path / "keys.pem")):
        found = load_settings(ENOUGH | {"GATEWAY_SEALING_PUBLIC_KEYS": value}).sealing_public_keys
        assert [key.key_id for key in found] == [new.key_id, old.key_id]
    for wrong in (HOST.public.pem(), SealingKey(b"1" * 32).pem(), "/nowhere"):
        with pytest.raises(SettingError, match="GATEWAY_SEALING_PUBLIC_KEYS"):
            load_settings(ENOUGH | {"GATEWAY_SEALING_PUBLIC_KEYS": wrong})


def test_vault_is_asked_over_https_or_on_this_machine() -> None:
    vault = {"GATEWAY_VAULT_TRANSIT_KEY": "transit/alga", "GATEWAY_VAULT_TOKEN": "canary"}
    assert load_settings(ENOUGH).vault() is None
    for address in ("https://vault.example", "http://127.0.0.1:8200", "http://localhost:8200", "http://[::1]:8200"):
        found = load_settings(ENOUGH | vault | {"GATEWAY_VAULT_ADDR": address}).vault()
        assert found is not None
        assert found.address == address
    with pytest.raises(SettingError, match="GATEWAY_VAULT_ADDR"):
        load_settings(ENOUGH | vault | {"GATEWAY_VAULT_ADDR": "http://vault:8200"})
    with pytest.raises(SettingError, match="GATEWAY_VAULT_ADDR"):
        load_settings(ENOUGH | vault)


def test_every_variable_is_a_field_with_a_sentence() -> None:
    fields = {var.field for var in VARIABLES} - {"s3_bundle_bucket"}
    assert fields == set(GatewaySettings.__struct_fields__)
    assert len({var.name for var in VARIABLES}) == len(VARIABLES)
    assert all(len(var.help) > 10 and not var.help.endswith(".") for var in VARIABLES)


@pytest.mark.security
def test_unsigned_bundles_are_for_local_mode_only() -> None:
    assert not load_settings(ENOUGH).allow_unsigned
    with pytest.raises(SettingError, match="EXT_ALLOW_UNSIGNED"):
        load_settings(ENOUGH | {"EXT_ALLOW_UNSIGNED": "1"})
    assert load_settings(ENOUGH | {"EXT_MODE": "local", "EXT_ALLOW_UNSIGNED": "1"}).allow_unsigned
