"""Consent in the terminal: what is asked is shown with its reasons, and nothing is granted that was not named."""

from __future__ import annotations

import json

import pytest

from gateway.cli import consent
from gateway.cli.consent import Grants, asked, decide, named, show
from gateway.cli.failures import CliError, Exit
from gateway.cli.terminal import Terminal
from shared.capabilities import KNOWN
from shared.manifest import parse_manifest
from tests.gateway.cli.projects import manifest


class Person(Terminal):
    """Somebody at the terminal who gives these answers."""

    def __init__(self, *answers: str, here: bool = True) -> None:
        super().__init__(json=False)
        self.answers, self.here, self.heard = list(answers), here, []

    @property
    def can_ask(self) -> bool:
        return self.here

    def ask(self, question: str) -> str:
        self.heard.append(question)
        return self.answers.pop(0)

    def note(self, text: str, style: str = "") -> None:
        self.heard.append(text)


GREEDY = parse_manifest(
    json.dumps(
        manifest(
            capabilities=["cap:http.fetch", "cap:secrets.get"],
            permissions={
                "egress": [{"host": "api.example.com", "reason": "prices\u202e"}, "b.example.com"],
                "secrets": [{"name": "api-key", "description": "of the price list", "required": True}],
            },
            limits={"timeoutMs": 9000, "memoryMb": 128},
        )
    ).encode()
)
MODEST = parse_manifest(json.dumps(manifest()).encode())
ALL = Grants(
    capabilities=("cap:http.fetch", "cap:secrets.get"),
    egress=("api.example.com", "b.example.com"),
    secrets=("api-key",),
)


def test_everything_that_is_asked_for_is_shown_with_its_reason():
    person = Person()
    show(GREEDY, person)
    text = "\n".join(person.heard)
    for piece in (
        "cap:http.fetch",
        "api.example.com",
        "“prices",
        "b.example.com  (no reason given)",
        "api-key (required)  “of the price list”",
        "cap:context.read",
        "cannot be withheld",
        "9000 ms and 128 MiB",
    ):
        assert piece in text, piece


def test_a_reason_cannot_turn_the_text_around(capsys):
    show(GREEDY, Terminal(json=False))
    assert "\u202e" not in capsys.readouterr().err


def test_every_capability_of_the_platform_is_explained():
    assert set(consent._MEANS) == set(KNOWN)


def test_yes_grants_all_of_it():
    assert decide(GREEDY, (), Person("y")) == ALL


@pytest.mark.parametrize("answer", ["n", "", "no", "maybe"])
def test_anything_but_yes_grants_nothing(answer):
    with pytest.raises(CliError) as refused:
        decide(GREEDY, (), Person(answer))
    assert (refused.value.code, refused.value.exit_status) == ("cli_consent_refused", Exit.REFUSED)


def test_each_one_can_be_chosen():
    person = Person("c", "y", "n", "n", "yes", "")
    assert decide(GREEDY, ("user.read",), person) == Grants(
        capabilities=("cap:http.fetch",), egress=("b.example.com",), withhold=("cap:user.read",)
    )


def test_who_asks_for_nothing_needs_no_answer():
    assert decide(MODEST, (), Person(here=False)) == Grants()


def test_without_anybody_there_nothing_is_granted():
    with pytest.raises(CliError, match=r"host api\.example\.com") as refused:
        decide(GREEDY, (), Person(here=False))
    assert refused.value.exit_status == Exit.REFUSED
    assert "--grant-all" in refused.value.next_step
    assert refused.value.document()["asked"]["secrets"] == ("api-key",)


def test_grants_can_be_named():
    assert named(GREEDY, ["http.fetch", "host:b.example.com", "secret:api-key"], ["cap:user.read"]) == Grants(
        capabilities=("cap:http.fetch",),
        egress=("b.example.com",),
        secrets=("api-key",),
        withhold=("cap:user.read",),
    )


@pytest.mark.parametrize("name", ["cap:storage.kv", "host:c.example.com", "secret:other", "http.fetsh"])
def test_what_is_not_asked_for_cannot_be_granted(name):
    with pytest.raises(CliError) as refused:
        named(GREEDY, [name], ())
    assert refused.value.exit_status == Exit.USAGE


def test_defaults_are_not_among_what_is_asked():
    assert asked(GREEDY).capabilities == ("cap:http.fetch", "cap:secrets.get")
    assert asked(MODEST).capabilities == ()
