"""What the manifests and compose.yaml set is what the services read: names that are declared, everything required, and
values with which each role really starts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

import gateway.settings
from deploy import credentials
from gateway import migrate
from runner.settings import COMPILER_VARIABLES, RUNNER_VARIABLES, read_compiler, read_runner
from shared.settings import REQUIRED, SettingError, Var, unknown
from shared.trust import TrustStore
from tests.deploy import compose_file
from tests.deploy.manifests import KUSTOMIZE, OVERLAYS, ROLES, ROOT, mounts, overlay, render, variables

VARIABLES: dict[str, Sequence[Var]] = {
    "gateway": gateway.settings.VARIABLES,
    "runner": RUNNER_VARIABLES,
    "compiler": COMPILER_VARIABLES,
    "migrate": migrate.VARIABLES,
}
# The job asks for one of two; the manifests give it the one that is its own.
ALSO_REQUIRED = {"migrate": {"GATEWAY_DATABASE_DIRECT_URL"}}
# Without them each service starts, but not as production wants it.
EXPECTED = {
    "gateway": {"GATEWAY_REDIS_URL", "DEBUG_STREAM_REDIS_URL", "GATEWAY_SEALING_PUBLIC_KEYS"},
    "runner": {"RUNNER_DEBUG_REDIS_URL", "RUNNER_SEALING_KEYS", "EXT_UI_FRAME_ANCESTORS"},
}
READ: dict[str, Callable[[Mapping[str, str]], object]] = {
    "gateway": gateway.settings.load_settings,
    "runner": read_runner,
    "compiler": read_compiler,
    "migrate": migrate._url,
}
PLACES = [*OVERLAYS, "compose"]


def environment(place: str, role: str) -> dict[str, str]:
    """The variables of one role in an overlay, or in compose.yaml."""
    return compose_file.variables(role) if place == "compose" else variables(overlay(place), role)


def names(env: Mapping[str, str]) -> set[str]:
    """The settings that are given, by value or by file."""
    return {name.removesuffix("_FILE") for name in env}


def on_this_machine(place: str, role: str, directory: Path) -> dict[str, str]:
    """The same variables with the mounted files replaced by those of `directory`."""
    found = compose_file.mounts(role) if place == "compose" else _mounted(place, role)
    return {
        name: str(directory / found[value]) if value in found else value
        for name, value in environment(place, role).items()
    }


def _mounted(overlay_name: str, role: str) -> dict[str, str]:
    """Path in the container → file of `python -m deploy.credentials`; every key of a volume is mounted."""
    found: dict[str, str] = {}
    for path, volume in mounts(overlay(overlay_name), role).items():
        folder = volume.get("secret", {}).get("secretName", "").removesuffix("-secrets")
        folder = folder or ("public" if volume.get("configMap", {}).get("name") == "public-keys" else "")
        if folder:
            found |= {f"{path}/{name}": f"{folder}/{name}" for name in FILES if (folder, name) in FILE_FOLDERS}
    return found


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every credential, freshly made."""
    place = tmp_path_factory.mktemp("credentials")
    credentials.write(place)
    return place


FILE_FOLDERS = {
    ("gateway", "GATEWAY_SIGNING_KEY"),
    ("gateway", "GATEWAY_DATABASE_URL"),
    ("gateway", "GATEWAY_PLATFORM_DATABASE_URL"),
    ("gateway", "GATEWAY_REDIS_URL"),
    ("gateway", "DEBUG_STREAM_REDIS_URL"),
    ("runner", "RUNNER_IDENTITY_KEY"),
    ("runner", "RUNNER_SEALING_KEYS"),
    ("runner", "RUNNER_DEBUG_REDIS_URL"),
    ("compiler", "COMPILER_SIGNING_KEY"),
    ("migrate", "GATEWAY_DATABASE_DIRECT_URL"),
    *((role, f"STORAGE_S3_{half}_KEY") for role in ("gateway", "runner", "compiler") for half in ("ACCESS", "SECRET")),
    ("public", "GATEWAY_JWT_KEYS"),
    ("public", "GATEWAY_RUNNER_KEYS"),
    ("public", "GATEWAY_SEALING_PUBLIC_KEYS"),
    ("public", "RUNNER_GATEWAY_KEYS"),
    ("public", "RUNNER_AOT_PUBLIC_KEYS"),
    ("public", "COMPILER_CALLER_KEYS"),
    ("public", "SIGNING_TRUST_BUNDLE"),
}
FILES = {name for _, name in FILE_FOLDERS}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("place", PLACES)
def test_every_variable_that_is_set_is_one_the_role_reads(place, role):
    declared = {var.name for var in VARIABLES[role]}
    assert names(environment(place, role)) - declared == set()


@pytest.mark.parametrize("role", ROLES)
def test_the_base_sets_nothing_a_role_does_not_read(role):
    declared = {var.name for var in VARIABLES[role]}
    assert names(variables(render(KUSTOMIZE / "base"), role)) - declared == set()


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("place", PLACES)
def test_everything_a_role_requires_is_set(place, role):
    required = {var.name for var in VARIABLES[role] if var.default is REQUIRED}
    required |= ALSO_REQUIRED.get(role, set()) | EXPECTED.get(role, set())
    assert required - names(environment(place, role)) == set()


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("place", PLACES)
def test_a_secret_comes_from_a_file_and_never_stands_in_the_text(place, role):
    secret = {var.name for var in VARIABLES[role] if var.secret}
    env = environment(place, role)
    assert secret & set(env) == set()
    assert secret & names(env)  # each role has one


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("place", PLACES)
def test_a_role_accepts_all_of_its_settings(place, role, directory):
    env = on_this_machine(place, role, directory)
    assert unknown(env, VARIABLES[role]) == []
    READ[role](env)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("role", "gone"),
    [
        ("gateway", "GATEWAY_JWT_ISSUER"),
        ("gateway", "RUNNER_PUBLIC_BASE"),
        ("runner", "EXT_INTERNAL_PLAINTEXT"),
        ("compiler", "EXT_INTERNAL_PLAINTEXT"),
        ("compiler", "COMPILER_SIGNING_KEY_FILE"),
        ("migrate", "GATEWAY_DATABASE_DIRECT_URL_FILE"),
    ],
)
def test_a_role_stops_when_one_of_them_is_missing(place, role, gone, directory):
    env = on_this_machine(place, role, directory)
    del env[gone]
    with pytest.raises(SettingError):
        READ[role](env)


@pytest.mark.parametrize("place", PLACES)
def test_the_trust_bundle_is_a_path_so_that_it_is_read_again(place, directory):
    for role in ("gateway", "runner", "compiler"):
        assert environment(place, role)["SIGNING_TRUST_BUNDLE"].startswith("/etc/alga/public/")
        assert TrustStore(on_this_machine(place, role, directory)["SIGNING_TRUST_BUNDLE"])


@pytest.mark.parametrize("place", PLACES)
def test_who_signs_and_who_checks_have_two_halves_of_one_key(place, directory):
    gateway_read = gateway.settings.load_settings(on_this_machine(place, "gateway", directory))
    runner_read = read_runner(on_this_machine(place, "runner", directory))
    compiler_read = read_compiler(on_this_machine(place, "compiler", directory))
    gateway_id, runner_id = gateway_read.signing_key.key_id, runner_read.runner_identity_key.key_id
    assert gateway_id in {key.key_id for key in runner_read.runner_gateway_keys}
    assert runner_id in {key.key_id for key in gateway_read.runner_keys}
    assert {gateway_id, runner_id} == {key.key_id for key in compiler_read.compiler_caller_keys}
    assert compiler_read.compiler_signing_key.key_id in {key.key_id for key in runner_read.runner_aot_public_keys}


@pytest.mark.parametrize("place", PLACES)
def test_what_the_gateway_seals_only_the_runner_opens(place, directory):
    gateway_read = gateway.settings.load_settings(on_this_machine(place, "gateway", directory))
    runner_read = read_runner(on_this_machine(place, "runner", directory))
    assert gateway_read.sealing_public_keys[0].key_id in {key.key_id for key in runner_read.runner_sealing_keys}
    for role in set(ROLES) - {"runner"}:
        assert not [name for name in environment(place, role) if "SEALING_KEYS" in name]
        mounted = compose_file.mounts(role) if place == "compose" else _mounted(place, role)
        assert "runner/RUNNER_SEALING_KEYS" not in mounted.values()


@pytest.mark.parametrize("place", PLACES)
def test_files_are_mounted_for_the_role_they_are_made_for(place):
    for role in ROLES:
        found = compose_file.mounts(role) if place == "compose" else _mounted(place, role)
        env = environment(place, role)
        used = {found[value] for value in env.values() if value in found}
        assert {folder for folder, _, _ in (name.partition("/") for name in used)} <= {role, "public"}
        private = {f"{folder}/{name}" for folder, name in FILE_FOLDERS if folder == role}
        assert private <= used  # nothing is made for a role that it does not read
        assert not [value for value in env.values() if value.startswith(("/run/", "/etc/")) and value not in found]


def test_the_credentials_are_the_documented_files(directory):
    made = {(path.parent.name, path.name) for folder in (*ROLES, "public") for path in (directory / folder).iterdir()}
    assert made == FILE_FOLDERS


def test_the_operators_page_names_every_secret_and_each_of_its_keys():
    page = (ROOT / "deploy/README.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (?:Secret|ConfigMap) \| (.*) \|$", page, re.MULTILINE))
    told = {(name, key) for name, keys in rows.items() for key in re.findall(r"`([A-Z0-9_]+)`", keys)}
    assert told == {("public-keys" if folder == "public" else f"{folder}-secrets", key) for folder, key in FILE_FOLDERS}
