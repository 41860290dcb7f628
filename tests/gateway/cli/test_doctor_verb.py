"""doctor: each thing that could be in the way, what is wrong with it, and what to do."""

from __future__ import annotations

import json

import pytest

from gateway.cli import diagnosis
from gateway.cli.diagnosis import NO_SUCH, clock
from gateway.cli.following import PATH
from shared.keys import PrivateKey
from shared.limits import CLOCK_SKEW_S
from tests.gateway.cli.projects import pages_only, with_guest
from tests.gateway.cli.small_gateway import as_json, refusing

DATE = "Sun, 22 Nov 2026 16:00:00 GMT"
AT_S = 1795363200.0
STACK_KEY = PrivateKey(b"\1" * 32)


@pytest.fixture
def gateway(at):
    """A gateway that is ready, for somebody who may do everything."""
    at.on("GET", "/readyz", as_json({"ready": True}))
    at.on("GET", "/api/installs", as_json({"items": []}))
    at.on("GET", PATH, refusing(400, "invalid_request", "extensionId or installId must say which"))
    return at


@pytest.fixture
def doctor(command):
    def findings(*words):
        ran = command("doctor", "--json", *words)
        return ran.status, {one["about"]: one for one in ran.json()["findings"]}

    return findings


def test_all_is_well_when_everything_is_there(gateway, doctor, command):
    command("keygen")
    status, found = doctor()
    assert status == 0
    assert {one["verdict"] for one in found.values()} == {"ok"}
    assert {"python", "wasm-tools", "signing key", "gateway", "clock", "extension:publish"} <= set(found)


def test_people_read_what_to_do(gateway, command):
    ran = command("doctor")
    assert ran.status == 0
    assert "warn signing key: none at" in ran.out
    assert "next: alga-ext keygen" in ran.out


def test_looking_changes_nothing(gateway, doctor):
    doctor()
    assert {one.method for one in gateway.asked if one.method != "GET"} == {"POST"}
    assert [one.path for one in gateway.asked if one.method == "POST"] == [f"/api/registry/bundles/{NO_SUCH}/finalize"]


def test_a_gateway_that_does_not_answer_is_an_error(command, monkeypatch, doctor):
    monkeypatch.setenv("ALGA_EXT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("ALGA_EXT_TOKEN", "t")
    status, found = doctor()
    assert (status, found["gateway"]["verdict"]) == (1, "error")
    assert "extension:read" not in found


def test_a_gateway_that_is_not_ready_says_why(gateway, doctor):
    gateway.on("GET", "/readyz", as_json({"ready": False, "database": "unreachable"}, 503))
    status, found = doctor()
    assert status == 1
    assert "unreachable" in found["gateway"]["says"]


def test_no_gateway_at_all_names_every_way(doctor):
    status, found = doctor()
    assert status == 1
    assert "make run" in found["gateway"]["next"]


def test_a_credential_nobody_accepts_is_an_error(gateway, doctor):
    gateway.on("GET", "/api/installs", refusing(401, "invalid_session", "expired"))
    status, found = doctor()
    assert (status, found["credential"]["verdict"]) == (1, "error")


def test_each_missing_permission_names_the_verbs(gateway, doctor):
    for method, path in (
        ("GET", f"/api/installs/{NO_SUCH}/config"),
        ("POST", f"/api/registry/bundles/{NO_SUCH}/finalize"),
        ("GET", PATH),
    ):
        gateway.on(method, path, refusing(403, "forbidden", "no"))
    status, found = doctor()
    assert status == 0
    assert found["extension:read"]["verdict"] == "ok"
    for permission, verb in (("admin", "install"), ("publish", "publish"), ("debug", "logs")):
        assert found[f"extension:{permission}"]["verdict"] == "warning"
        assert verb in found[f"extension:{permission}"]["says"]


# ---- clocks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("skew_s", "verdict"),
    [(0, "ok"), (5, "ok"), (-5, "ok"), (6, "warning"), (CLOCK_SKEW_S, "warning"), (CLOCK_SKEW_S + 1, "error")],
)
def test_clocks_may_differ_a_little(skew_s, verdict):
    assert clock(DATE, AT_S + skew_s).verdict == verdict


def test_the_direction_is_said():
    assert "ahead of" in clock(DATE, AT_S + 30).says
    assert "behind" in clock(DATE, AT_S - 30).says


@pytest.mark.parametrize("date", ["", "yesterday", "Sun, 99 Nov 2026"])
def test_a_gateway_without_a_date_is_a_warning(date):
    assert clock(date, AT_S).verdict == "warning"


# ---- keys and tools ---------------------------------------------------------------------------------------------


def test_a_key_others_may_read_is_an_error(gateway, doctor, command, tmp_path):
    command("keygen", "-o", tmp_path / "k.pem")
    (tmp_path / "k.pem").chmod(0o644)
    status, found = doctor("--key", tmp_path / "k.pem")
    assert (status, found["signing key"]["verdict"]) == (1, "error")
    assert "chmod 600" in found["signing key"]["next"]


def test_a_folder_others_may_write_into_is_a_warning(gateway, doctor, command, tmp_path):
    command("keygen", "-o", tmp_path / "shared" / "k.pem")
    (tmp_path / "shared").chmod(0o777)
    _, found = doctor("--key", tmp_path / "shared" / "k.pem")
    assert found["key folder"]["verdict"] == "warning"


@pytest.fixture
def stack(tmp_path, monkeypatch, gateway):
    """A local stack that trusts its own key for the publisher alga."""
    trust, file = tmp_path / "trust.json", tmp_path / "stack.json"
    key = {"key_id": STACK_KEY.key_id, "public_key": STACK_KEY.public.pem(), "publishers": ["alga"]}
    trust.write_text(json.dumps({"version": 1, "keys": [key]}))
    tenants = [{"id": "acme", "api_key": "ak_acme"}]
    file.write_text(json.dumps({"gateway_url": gateway.url, "trust_bundle": str(trust), "tenants": tenants}))
    monkeypatch.delenv("ALGA_EXT_URL")
    monkeypatch.delenv("ALGA_EXT_TOKEN")
    monkeypatch.setenv("ALGA_STACK", str(file))
    STACK_KEY.write(tmp_path / "stack.pem")
    return tmp_path


def test_a_key_the_stack_does_not_trust_is_an_error(stack, doctor, command):
    command("keygen")
    status, found = doctor()
    assert (status, found["trust"]["verdict"]) == (1, "error")
    assert "--trust-local" in found["trust"]["next"]


def test_a_key_for_other_publishers_is_an_error(stack, doctor, elsewhere):
    pages_only(elsewhere)
    _, found = doctor("--key", stack / "stack.pem")
    assert "may not sign for the publisher local" in found["trust"]["says"]


def test_a_key_the_stack_trusts_is_fine(stack, doctor, elsewhere):
    pages_only(elsewhere, publisher="alga")
    status, found = doctor("--key", stack / "stack.pem")
    assert (status, found["trust"]["verdict"]) == (0, "ok")


def test_a_toolchain_counts_only_where_it_is_needed(gateway, doctor, elsewhere, monkeypatch):
    def missing(*_args):
        raise diagnosis.BuildError("there is no Node.js", next_step="install it")

    monkeypatch.setattr(diagnosis, "find_node", missing)
    _, found = doctor()
    assert found["node"]["verdict"] == "warning"
    with_guest(elsewhere)
    status, found = doctor()
    assert (status, found["node"]["verdict"], found["node"]["next"]) == (1, "error", "install it")
    assert "componentize-qjs" in found["JavaScript toolchain"]["says"]


def test_a_manifest_that_is_not_valid_is_said(gateway, doctor, elsewhere):
    pages_only(elsewhere, version="one")
    status, found = doctor()
    assert (status, found["manifest.json"]["next"]) == (1, "alga-ext check")
