"""login and logout: an address and a credential in a file for their owner alone; what is named otherwise wins."""

from __future__ import annotations

import io
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.access import Access, choose
from gateway.cli.credentials import Login
from gateway.cli.failures import CliError
from tests.gateway.cli.small_gateway import SmallGateway, as_json, refusing

CANARY = "ak_canary_7f3a91c2"


@pytest.fixture
def typed(command, monkeypatch: pytest.MonkeyPatch):
    """The command, with a credential on standard input."""

    def ran(*words: object, token: str = CANARY) -> Any:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(token.encode() + b"\n")))
        return command(*words)

    return ran


@pytest.fixture
def gateway(small_gateway: SmallGateway) -> SmallGateway:
    small_gateway.on("GET", "/api/installs", as_json({"items": [], "next_cursor": None}))
    return small_gateway


def kept(tmp_path: Path) -> Path:
    return tmp_path / "config" / "alga-ext" / "credentials.json"


def test_what_login_remembers_later_commands_use(gateway, typed, command, tmp_path):
    ran = typed("login", gateway.url + "/", "--json")
    assert (ran.status, ran.json()["url"], ran.json()["accepted"]) == (0, gateway.url, True)
    assert command("list").status == 0
    assert gateway.asked[-1].headers["authorization"] == f"Bearer {CANARY}"
    assert stat.S_IMODE(kept(tmp_path).stat().st_mode) == 0o600
    assert stat.S_IMODE(kept(tmp_path).parent.stat().st_mode) & 0o077 == 0


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_the_credential_is_never_printed(gateway, typed, command, form):
    for ran in (typed("login", gateway.url, *form), command("list", *form), command("logout", *form)):
        assert CANARY not in ran.out + ran.err
    assert CANARY not in repr(Login("https://x", CANARY))


def test_logout_forgets_it(gateway, typed, command, tmp_path):
    typed("login", gateway.url)
    assert command("logout", "--json").json() == {"forgotten": True}
    assert command("logout", "--json").json() == {"forgotten": False}
    assert not kept(tmp_path).exists()
    assert command("list", "--json").json()["code"] == "cli_no_gateway"


def test_a_credential_that_is_not_taken_is_not_remembered(gateway, typed, tmp_path):
    gateway.on("GET", "/api/installs", refusing(401, "invalid_session", "no"))
    ran = typed("login", gateway.url, "--json")
    assert (ran.status, ran.json()["code"]) == (3, "unauthenticated")
    assert not kept(tmp_path).exists()


def test_one_that_may_do_little_is_remembered(gateway, typed):
    gateway.on("GET", "/api/installs", refusing(403, "forbidden", "no"))
    assert typed("login", gateway.url).status == 0


def test_without_asking_nobody_needs_to_answer(typed):
    assert typed("login", "https://gateway.example", "--unchecked", "--json").json()["accepted"] is None
    ran = typed("login", "http://127.0.0.1:9", "--json")
    assert (ran.status, ran.json()["code"]) == (1, "cli_unreachable")


@pytest.mark.parametrize("token", ["", "two words", "\x1b[31m"])
def test_what_is_no_credential_is_a_usage_error(gateway, typed, token):
    assert typed("login", gateway.url, token=token).status == 2
    assert gateway.asked == []


def test_a_file_that_others_may_read_is_refused(gateway, typed, command, tmp_path):
    typed("login", gateway.url)
    kept(tmp_path).chmod(0o640)
    ran = command("list", "--json")
    assert (ran.status, ran.json()["code"]) == (3, "cli_credential_exposed")


def test_the_environment_wins_and_a_credential_goes_to_its_own_address_only(gateway, typed, tmp_path):
    typed("login", gateway.url)
    environment = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    here = tmp_path / "here"
    assert choose(Access(), environment, here).token == CANARY
    named = {**environment, "ALGA_EXT_URL": "https://other.example", "ALGA_EXT_TOKEN": "ak_other"}
    assert choose(Access(), named, here).token == "ak_other"
    with pytest.raises(CliError) as refused:
        choose(Access(url="https://other.example"), environment, here)
    assert refused.value.code == "unauthenticated"
    assert choose(Access(url=gateway.url), environment, here).token == CANARY


def test_a_named_stack_wins_over_what_is_remembered(gateway, typed, tmp_path):
    typed("login", gateway.url)
    stack = tmp_path / "stack.json"
    stack.write_text(
        '{"gateway_url": "http://127.0.0.1:9", "trust_bundle": "", "tenants": [{"id": "acme", "api_key": "ak_acme"}]}'
    )
    environment = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "ALGA_STACK": str(stack)}
    assert choose(Access(), environment, tmp_path).token == "ak_acme"
    assert choose(Access(stack=stack), {**environment, "ALGA_STACK": ""}, tmp_path).token == "ak_acme"


def test_the_folder_of_the_user_is_used_without_xdg(gateway, typed, monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert typed("login", gateway.url).status == 0
    assert (tmp_path / ".config" / "alga-ext" / "credentials.json").is_file()
