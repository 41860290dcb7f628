"""The runner's and the compiler's settings: what starts, what does not, and which variable is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.settings import (
    COMPILER_VARIABLES,
    RUNNER_VARIABLES,
    CompilerSettings,
    RunnerSettings,
    read_compiler,
    read_runner,
)
from shared.keys import PrivateKey
from shared.sealing import SealingKey
from shared.settings import SettingError

KEY = PrivateKey.generate()
STORE = {
    "STORAGE_S3_ACCESS_KEY": "access",
    "STORAGE_S3_SECRET_KEY": "the-store-secret",
    "STORAGE_S3_BUCKET": "bundles",
    "SIGNING_TRUST_BUNDLE": "trust.pem",
}
RUNNER = {
    **STORE,
    "RUNNER_GATEWAY_URL": "https://gateway.internal:8001",
    "RUNNER_GATEWAY_KEYS": KEY.public.pem(),
    "RUNNER_IDENTITY_KEY": KEY.pem(),
    "RUNNER_AOT_PUBLIC_KEYS": KEY.public.pem(),
}
COMPILER = {**STORE, "COMPILER_SIGNING_KEY": KEY.pem(), "COMPILER_CALLER_KEYS": KEY.public.pem()}
GOOD_TOKEN = "9f2c1e7ab04d835526b7e1f09c3d4a88"


def refused(**changes: str) -> str:
    with pytest.raises(SettingError) as raised:
        read_runner({**RUNNER, **changes})
    return str(raised.value)


def test_the_required_variables_suffice_and_the_rest_has_defaults():
    settings = read_runner(RUNNER)
    assert settings.ext_mode == "production"
    assert settings.runner_bind == "127.0.0.1:8080"
    assert settings.runner_public_bind == "127.0.0.1:8081"
    assert settings.runner_default_timeout_ms == 5_000
    assert settings.runner_max_timeout_ms == 30_000
    assert settings.runner_workers >= 1
    assert settings.runner_instance
    assert settings.ext_ui_frame_ancestors == "'none'"
    assert settings.ext_egress_allowlist is None
    assert settings.bundle_bucket == "bundles"
    assert not settings.runner_fuel
    assert read_compiler(COMPILER).compiler_bind == "127.0.0.1:8082"


def test_every_field_has_its_variable_and_every_variable_its_field():
    assert [var.field for var in RUNNER_VARIABLES] == [var.name.lower() for var in RUNNER_VARIABLES]
    assert {var.field for var in RUNNER_VARIABLES} == set(RunnerSettings.__struct_fields__)
    assert {var.field for var in COMPILER_VARIABLES} == set(CompilerSettings.__struct_fields__)


def test_every_variable_has_one_sentence():
    for var in (*RUNNER_VARIABLES, *COMPILER_VARIABLES):
        assert var.help.endswith("."), var.name


@pytest.mark.parametrize("name", sorted(RUNNER))
def test_a_missing_required_variable_is_named(name: str):
    with pytest.raises(SettingError, match=f"^{name} is required"):
        read_runner({key: value for key, value in RUNNER.items() if key != name})


@pytest.mark.parametrize("name", sorted(COMPILER))
def test_a_missing_required_variable_of_the_compiler_is_named(name: str):
    with pytest.raises(SettingError, match=f"^{name} is required"):
        read_compiler({key: value for key, value in COMPILER.items() if key != name})


# ---- keys and secrets ---------------------------------------------------------------------------------------


def test_keys_may_be_paths_and_several(tmp_path: Path):
    other = PrivateKey.generate()
    (tmp_path / "keys.pem").write_text(KEY.public.pem() + other.public.pem())
    (tmp_path / "key.pem").write_text(KEY.pem())
    settings = read_runner(
        {
            **RUNNER,
            "RUNNER_GATEWAY_KEYS": str(tmp_path / "keys.pem"),
            "RUNNER_IDENTITY_KEY": str(tmp_path / "key.pem"),
        }
    )
    assert [key.key_id for key in settings.runner_gateway_keys] == [KEY.key_id, other.key_id]
    assert settings.runner_identity_key.key_id == KEY.key_id


@pytest.mark.parametrize("name", ["RUNNER_GATEWAY_KEYS", "RUNNER_IDENTITY_KEY", "RUNNER_AOT_PUBLIC_KEYS"])
@pytest.mark.parametrize("value", ["", "missing.pem", "-----BEGIN NONSENSE-----\n-----END NONSENSE-----"])
def test_what_is_no_key_is_refused_by_name(name: str, value: str):
    assert refused(**{name: value}).startswith(name)


def test_sealing_keys_are_optional_and_two_while_they_are_rotated(tmp_path: Path):
    assert read_runner(RUNNER).runner_sealing_keys == ()
    assert read_runner({**RUNNER, "RUNNER_SEALING_KEYS": ""}).runner_sealing_keys == ()
    old, new = SealingKey.generate(), SealingKey.generate()
    (tmp_path / "keys.pem").write_text(old.pem() + new.pem())
    for value in (old.pem() + new.pem(), str(tmp_path / "keys.pem")):
        found = read_runner({**RUNNER, "RUNNER_SEALING_KEYS": value}).runner_sealing_keys
        assert [key.key_id for key in found] == [old.key_id, new.key_id]


@pytest.mark.parametrize(
    "value", [KEY.pem(), SealingKey(b"1" * 32).public.pem(), "missing.pem", "-----BEGIN X-----\n-----END X-----"]
)
def test_what_is_no_sealing_key_is_refused_by_name_and_not_quoted(value: str):
    said = refused(RUNNER_SEALING_KEYS=value)
    assert said.startswith("RUNNER_SEALING_KEYS")
    assert "MC" not in said


def test_vault_is_asked_over_https_or_on_this_machine():
    vault = {"RUNNER_VAULT_TRANSIT_KEY": "transit/alga", "RUNNER_VAULT_TOKEN": "canary-token"}
    assert read_runner(RUNNER).vault() is None
    for address, more in (
        ("https://vault.example:8200/", {}),
        ("http://127.0.0.1:8200", {}),
        ("http://vault:8200", {"EXT_INTERNAL_PLAINTEXT": "mesh"}),
    ):
        found = read_runner({**RUNNER, **vault, **more, "RUNNER_VAULT_ADDR": address}).vault()
        assert found is not None
        assert (found.address, found.login.key_id) == (address.rstrip("/"), "transit/alga")
        assert "canary" not in repr(found)
    assert refused(**vault, RUNNER_VAULT_ADDR="http://vault:8200").startswith("RUNNER_VAULT_ADDR")
    assert refused(RUNNER_VAULT_TOKEN="canary-token").startswith("RUNNER_VAULT_ADDR")


def test_the_compiler_role_reads_no_sealing_key():
    assert not [var.name for var in COMPILER_VARIABLES if "SEALING" in var.name or "VAULT" in var.name]


def test_a_public_key_is_not_a_private_one():
    assert refused(RUNNER_IDENTITY_KEY=KEY.public.pem()).startswith("RUNNER_IDENTITY_KEY")


@pytest.mark.security
@pytest.mark.parametrize(
    "token",
    [
        "changeme",
        "secret",
        "short",
        GOOD_TOKEN[:23],
        "changeme-changeme-changeme",
        "my-very-secret-service-value",
        "placeholder-0123456789abcdef",
        "a" * 40,
        "abababababababababababababab",
        GOOD_TOKEN + " blank",
        GOOD_TOKEN + "\u00fc",
    ],
)
def test_a_service_token_that_can_be_guessed_is_refused_and_not_repeated(token: str):
    said = refused(RUNNER_SERVICE_TOKEN=token)
    assert said.startswith("RUNNER_SERVICE_TOKEN")
    assert token not in said or len(token) < 8


@pytest.mark.parametrize("token", [GOOD_TOKEN[:24], GOOD_TOKEN])
def test_a_random_service_token_is_accepted(token: str):
    assert read_runner({**RUNNER, "RUNNER_SERVICE_TOKEN": token}).runner_service_token == token


def test_an_empty_optional_variable_is_an_unset_one():
    empty = dict.fromkeys(("RUNNER_SERVICE_TOKEN", "STORAGE_S3_ENDPOINT", "RUNNER_DEBUG_REDIS_URL"), "")
    settings = read_runner({**RUNNER, **empty})
    assert settings.runner_service_token is None
    assert settings.storage_s3_endpoint is None
    assert settings.runner_debug_redis_url is None


@pytest.mark.security
def test_settings_printed_by_mistake_show_no_secret():
    shown = repr(read_runner({**RUNNER, "RUNNER_SERVICE_TOKEN": GOOD_TOKEN}))
    assert shown == "RunnerSettings(production)"


# ---- where it listens and whom it calls ---------------------------------------------------------------------


@pytest.mark.parametrize("bind", ["127.0.0.1:9000", "[::1]:9000", "localhost:9000"])
def test_local_mode_serves_loopback(bind: str):
    settings = read_runner({**RUNNER, "EXT_MODE": "local", "RUNNER_BIND": bind, "RUNNER_PUBLIC_BIND": bind})
    assert settings.local


@pytest.mark.security
@pytest.mark.parametrize("bind", ["0.0.0.0:8080", "[::]:8080", "10.0.0.5:8080", "example.com:8080"])
@pytest.mark.parametrize("name", ["RUNNER_BIND", "RUNNER_PUBLIC_BIND"])
def test_local_mode_refuses_to_listen_beyond_loopback(name: str, bind: str):
    assert refused(EXT_MODE="local", **{name: bind}).startswith(name)


@pytest.mark.security
def test_local_mode_refuses_it_for_the_compiler_as_well():
    with pytest.raises(SettingError, match="COMPILER_BIND"):
        read_compiler({**COMPILER, "EXT_MODE": "local", "COMPILER_BIND": "0.0.0.0:8082"})


@pytest.mark.security
def test_production_beyond_loopback_needs_a_certificate_or_a_mesh():
    said = refused(RUNNER_BIND="0.0.0.0:8080")
    assert "RUNNER_TLS_CERTIFICATE" in said
    assert "EXT_INTERNAL_PLAINTEXT=mesh" in said
    read_runner({**RUNNER, "RUNNER_BIND": "0.0.0.0:8080", "EXT_INTERNAL_PLAINTEXT": "mesh"})
    tls = {"RUNNER_TLS_CERTIFICATE": "cert.pem", "RUNNER_TLS_KEY": "key.pem"}
    read_runner({**RUNNER, "RUNNER_BIND": "0.0.0.0:8080", **tls})


def test_half_a_certificate_is_refused():
    assert "go together" in refused(RUNNER_TLS_CERTIFICATE="cert.pem")


@pytest.mark.security
@pytest.mark.parametrize("name", ["RUNNER_GATEWAY_URL", "COMPILER_BASE_URL"])
def test_production_calls_other_machines_encrypted(name: str):
    assert refused(**{name: "http://service.internal"}).startswith(name)
    read_runner({**RUNNER, name: "http://service.internal", "EXT_INTERNAL_PLAINTEXT": "mesh"})
    read_runner({**RUNNER, name: "http://127.0.0.1:9000"})
    read_runner({**RUNNER, name: "http://[::1]:9000"})


# ---- the rest -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EXT_MODE", "dev"),
        ("RUNNER_WORKERS", "0"),
        ("RUNNER_MAX_TIMEOUT_MS", "30001"),
        ("RUNNER_DEFAULT_TIMEOUT_MS", "0"),
        ("EXT_STALE_MODE", "ignore"),
        ("EXT_CACHE_MAX_BYTES", "1"),
        ("RUNNER_FUEL", "maybe"),
        ("EXT_UI_FRAME_ANCESTORS", "https://a.example; script-src *"),
        ("EXT_UI_FRAME_ANCESTORS", "*"),
        ("EXT_UI_CONTENT_SECURITY_POLICY", "default-src 'none'\r\nx-evil: 1"),
        ("RUNNER_INSTANCE", "a b"),
        ("RUNNER_DEBUG_REDIS_URL", "http://redis"),
    ],
)
def test_a_value_that_is_not_valid_is_named(name: str, value: str):
    assert refused(**{name: value}).startswith(name)


def test_a_default_timeout_above_the_ceiling_is_refused():
    assert refused(RUNNER_MAX_TIMEOUT_MS="1000").startswith("RUNNER_DEFAULT_TIMEOUT_MS")


def test_an_unset_fence_and_an_empty_one_differ():
    assert read_runner({**RUNNER, "EXT_EGRESS_ALLOWLIST": ""}).ext_egress_allowlist == ()
    assert read_runner({**RUNNER, "EXT_EGRESS_ALLOWLIST": "a.example, b.example"}).ext_egress_allowlist == (
        "a.example",
        "b.example",
    )


@pytest.mark.security
def test_private_targets_are_for_local_mode_only():
    assert refused(EXT_EGRESS_ALLOW_PRIVATE="127.0.0.1:9999").startswith("EXT_EGRESS_ALLOW_PRIVATE")
    read_runner({**RUNNER, "EXT_MODE": "local", "EXT_EGRESS_ALLOW_PRIVATE": "127.0.0.1:9999"})


@pytest.mark.security
def test_unsigned_bundles_are_for_local_mode_only():
    assert not read_runner(RUNNER).ext_allow_unsigned
    for read, enough in ((read_runner, RUNNER), (read_compiler, COMPILER)):
        with pytest.raises(SettingError, match="EXT_ALLOW_UNSIGNED"):
            read({**enough, "EXT_ALLOW_UNSIGNED": "1"})
        assert not read({**enough, "EXT_ALLOW_UNSIGNED": "0"}).ext_allow_unsigned
        assert read({**enough, "EXT_MODE": "local", "EXT_ALLOW_UNSIGNED": "1"}).ext_allow_unsigned


def test_local_mode_lets_the_local_gateway_frame_extensions():
    settings = read_runner({**RUNNER, "EXT_MODE": "local"})
    assert settings.ext_ui_frame_ancestors == "http://127.0.0.1:8000 http://localhost:8000"


def test_another_bucket_for_bundles_wins():
    assert read_runner({**RUNNER, "STORAGE_S3_BUNDLE_BUCKET": "other"}).bundle_bucket == "other"
