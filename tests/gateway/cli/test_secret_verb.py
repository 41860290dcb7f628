"""secret: a value comes from standard input or a prompt, goes to the gateway, and is shown nowhere."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from gateway.cli.terminal import Terminal
from shared.limits import SECRET_VALUE_MAX_BYTES
from tests.gateway.cli.conftest import Command, Ran
from tests.gateway.cli.projects import pages_only
from tests.gateway.cli.small_gateway import SmallGateway, as_json, refusing

CANARY = "canary-7f3a91c2-secret"
SECRETS = "/api/installs/i-1/secrets"
NOTES = {
    "install_id": "i-1",
    "extension_id": "e-1",
    "publisher": "local",
    "name": "local.notes",
    "version": "1.0.0",
    "content_hash": "sha256:x",
    "status": "enabled",
}
LISTED = {
    "secrets": [
        {
            "name": "api_key",
            "set": True,
            "hosts": ["https://api.example.com"],
            "expires_at": "2001-01-01T00:00:00Z",
            "expired": True,
            "updated_at": "2000-01-01T00:00:00Z",
            "updated_by": "user:ada",
        },
        {"name": "retired", "set": True, "granted": False},
        {"name": "webhook", "set": False, "hosts": [], "expires_at": None, "expired": False},
    ],
    "version": 3,
}


@pytest.fixture
def gateway(at: SmallGateway) -> SmallGateway:
    at.on("GET", "/api/installs", as_json({"items": [NOTES], "next_cursor": None}))
    at.on("GET", SECRETS, as_json(LISTED))
    at.on("PUT", SECRETS, as_json(LISTED))
    return at


@pytest.fixture
def type_in(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Standard input holds these bytes."""

    def typed(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return typed


def sent(gateway: SmallGateway) -> Any:
    (asked,) = gateway.calls("PUT", SECRETS)
    return asked.json()


def quiet(ran: Ran) -> None:
    assert CANARY not in ran.out + ran.err


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_a_value_from_standard_input_is_sent_without_its_line_end(
    gateway: SmallGateway, command: Command, type_in: Any, end: bytes
) -> None:
    type_in(CANARY.encode() + end)
    ran = command("secret", "set", "api_key", "--extension", "local.notes")
    assert (ran.status, ran.out.strip()) == (0, "api_key is set")
    assert sent(gateway) == {"api_key": {"value": CANARY}}
    quiet(ran)


def test_a_value_of_several_lines_is_sent_whole(gateway: SmallGateway, command: Command, type_in: Any) -> None:
    type_in(b"-----BEGIN\n\nMC4C\n-----END\n\n")
    assert command("secret", "set", "pem", "--extension", "e-1").status == 0
    assert sent(gateway) == {"pem": {"value": "-----BEGIN\n\nMC4C\n-----END\n"}}


def test_a_prompt_asks_for_it_and_does_not_show_it(
    gateway: SmallGateway, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Terminal, "can_ask", property(lambda _self: True))
    monkeypatch.setattr(Terminal, "ask_hidden", lambda _self, question: CANARY if "api_key" in question else "")
    ran = command("secret", "set", "api_key", "--extension", "i-1")
    assert sent(gateway) == {"api_key": {"value": CANARY}}
    quiet(ran)


def test_its_end_and_its_hosts_go_along(gateway: SmallGateway, command: Command, type_in: Any) -> None:
    type_in(CANARY.encode())
    words = ("--expires", "2030-01-31T00:00:00Z", "--host", "a.example", "--host", "b.example")
    assert command("secret", "set", "api_key", "--extension", "local.notes", *words).status == 0
    expected = {"value": CANARY, "expires_at": "2030-01-31T00:00:00+00:00", "hosts": ["a.example", "b.example"]}
    assert sent(gateway) == {"api_key": expected}


def test_a_short_value_is_kept_with_a_warning(gateway: SmallGateway, command: Command, type_in: Any) -> None:
    type_in(b"1234567\n")
    assert "not taken out of logs" in command("secret", "set", "api_key", "--extension", "e-1").err
    type_in(b"12345678\n")
    assert "not taken out of logs" not in command("secret", "set", "api_key", "--extension", "e-1").err


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "there is no value"),
        (b"\n", "there is no value"),
        (b"\xff\xfe", "UTF-8"),
        (b"x" * (SECRET_VALUE_MAX_BYTES + 1), "at most"),
    ],
)
def test_what_is_no_value_is_not_sent(
    gateway: SmallGateway, command: Command, type_in: Any, data: bytes, says: str
) -> None:
    type_in(data)
    ran = command("secret", "set", "api_key", "--extension", "local.notes")
    assert ran.status == 2
    assert says in ran.err
    assert gateway.calls("PUT", SECRETS) == []


def test_the_largest_value_is_sent(gateway: SmallGateway, command: Command, type_in: Any) -> None:
    type_in(b"x" * SECRET_VALUE_MAX_BYTES + b"\r\n")
    assert command("secret", "set", "api_key", "--extension", "local.notes").status == 0
    assert len(sent(gateway)["api_key"]["value"]) == SECRET_VALUE_MAX_BYTES


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("set",),
        ("unset",),
        ("list", "api_key"),
        ("show", "api_key"),
        ("set", "api_key", CANARY),
        ("set", "api_key", "--value", CANARY),
        ("unset", "api_key", "--host", "a.example"),
        ("list", "--expires", "2030-01-31T00:00:00Z"),
        ("set", "api_key", "--expires", "tomorrow"),
        ("set", "api_key", "--expires", "2030-01-31T00:00:00"),
    ],
)
def test_a_command_that_makes_no_sense_is_a_usage_error(
    gateway: SmallGateway, command: Command, type_in: Any, words: tuple[str, ...]
) -> None:
    type_in(CANARY.encode())
    extension = ("--extension", "local.notes") if words else ()
    assert command("secret", *words, *extension).status == 2
    assert gateway.asked == []


def test_unset_removes_one(gateway: SmallGateway, command: Command) -> None:
    ran = command("secret", "unset", "api_key", "--extension", "local.notes")
    assert (ran.status, ran.out.strip()) == (0, "api_key is removed")
    assert sent(gateway) == {"api_key": None}


def test_the_list_has_names_and_terms(gateway: SmallGateway, command: Command) -> None:
    ran = command("secret", "list", "--extension", "local.notes")
    head, first, second, third = ran.out.splitlines()
    assert head.split() == ["NAME", "SET", "EXPIRES", "HOSTS", "CHANGED", "BY"]
    assert first.split()[:5] == ["api_key", "yes", "2001-01-01T00:00:00Z", "(past)", "https://api.example.com"]
    assert second.split() == ["retired", "not", "granted"]
    assert third.split() == ["webhook", "no"]
    assert command("secret", "list", "--extension", "local.notes", "--json").json() == LISTED


def test_without_a_name_the_extension_is_the_manifest_here(
    gateway: SmallGateway, command: Command, elsewhere: Any
) -> None:
    assert command("secret", "list").status == 2
    pages_only(elsewhere, name="local.notes", publisher="local")
    assert command("secret", "list").status == 0


def test_a_refusal_has_its_code_and_quotes_no_value(gateway: SmallGateway, command: Command, type_in: Any) -> None:
    gateway.on("PUT", SECRETS, refusing(502, "secret_unavailable", "the platform has no sealing key"))
    type_in(CANARY.encode())
    ran = command("secret", "set", "api_key", "--extension", "local.notes", "--json")
    assert (ran.status, ran.json()["code"]) == (1, "secret_unavailable")
    quiet(ran)
