"""Grants: nothing that was not named, nothing that was not asked for, and the shown defaults unless withheld."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.installs.grants import GrantRequest, asked, decide, secret_granted
from shared.capabilities import ALWAYS, DEFAULTS, KNOWN
from shared.errors import InvalidRequest
from shared.manifest import Manifest, parse_manifest
from tests.gateway.bundles import bundle

HOSTS = ({"host": "api.example.com", "reason": "to sync"}, "*.example.org:8443")
SECRETS = [{"name": "api_key", "description": "the key", "required": True}]


def manifest(**members: Any) -> Manifest:
    return parse_manifest(msgspec.json.encode(bundle(**members).manifest))


ASKING = manifest(
    capabilities=["http.fetch", "cap:storage.kv", "secrets.get"],
    permissions={"egress": HOSTS, "secrets": SECRETS},
    limits={"timeoutMs": 1000},
)


def test_consent_shows_what_is_asked_apart_from_what_is_given_anyway() -> None:
    wanted = asked(ASKING)
    assert wanted.capabilities == ("cap:http.fetch", "cap:secrets.get", "cap:storage.kv")
    assert wanted.defaults == DEFAULTS
    assert [(ask.host, ask.reason) for ask in wanted.egress] == [
        ("api.example.com", "to sync"),
        ("*.example.org:8443", ""),
    ]
    assert [ask.name for ask in wanted.secrets] == ["api_key"]
    assert wanted.limits.timeout_ms == 1000


def test_nothing_named_is_nothing_granted_but_the_defaults() -> None:
    granted = decide(ASKING, GrantRequest())
    assert tuple(granted.capabilities) == DEFAULTS
    assert (granted.egress, granted.secrets) == ([], [])


def test_what_is_named_is_granted_with_or_without_the_prefix() -> None:
    wanted = GrantRequest(
        capabilities=("http.fetch", "cap:storage.kv"), egress=("api.example.com",), secrets=("api_key",)
    )
    granted = decide(ASKING, wanted)
    assert set(granted.capabilities) == {*DEFAULTS, "cap:http.fetch", "cap:storage.kv"}
    assert (granted.egress, granted.secrets) == (["api.example.com"], ["api_key"])


def test_a_default_can_be_withheld() -> None:
    granted = decide(ASKING, GrantRequest(withhold=("cap:user.read", "log.emit")))
    assert set(granted.capabilities) == set(DEFAULTS) - {"cap:user.read", "cap:log.emit"}


def test_the_one_every_guest_needs_cannot_be_withheld() -> None:
    with pytest.raises(InvalidRequest) as refused:
        decide(ASKING, GrantRequest(withhold=(ALWAYS,)))
    assert refused.value.extra["path"] == "$.grants.withhold"
    assert ALWAYS not in refused.value.extra["valid"]


@pytest.mark.parametrize(
    ("request_", "member", "valid"),
    [
        (GrantRequest(capabilities=("cap:events.publish",)), "capabilities", "cap:http.fetch"),
        (GrantRequest(capabilities=("everything",)), "capabilities", "cap:http.fetch"),
        (GrantRequest(withhold=("cap:http.fetch",)), "withhold", "cap:user.read"),
        (GrantRequest(egress=("evil.example.com",)), "egress", "api.example.com"),
        (GrantRequest(egress=("*",)), "egress", "api.example.com"),
        (GrantRequest(egress=("https://api.example.com",)), "egress", "api.example.com"),
        (GrantRequest(egress=("x.example.org:8443",)), "egress", "*.example.org:8443"),
        (GrantRequest(secrets=("other",)), "secrets", "api_key"),
    ],
)
def test_what_was_not_asked_for_is_refused_with_what_would_be_valid(
    request_: GrantRequest, member: str, valid: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decide(ASKING, request_)
    assert refused.value.extra["path"] == f"$.grants.{member}"
    assert valid in refused.value.extra["valid"]
    assert valid in refused.value.detail


def test_an_extension_that_asks_for_nothing_can_be_granted_nothing() -> None:
    with pytest.raises(InvalidRequest, match="allows nothing"):
        decide(manifest(), GrantRequest(egress=("api.example.com",)))


def test_granting_and_withholding_the_same_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="granted and withheld"):
        decide(ASKING, GrantRequest(capabilities=("log.emit",), withhold=("cap:log.emit",)))


names = st.lists(st.sampled_from([*sorted(KNOWN), "api.example.com", "api_key", "x"]), max_size=4).map(tuple)


@given(names, names, names, names)
def test_whatever_is_requested_never_more_than_asked_is_granted(
    capabilities: tuple[str, ...], withhold: tuple[str, ...], egress: tuple[str, ...], secrets: tuple[str, ...]
) -> None:
    wanted = asked(ASKING)
    try:
        granted = decide(
            ASKING, GrantRequest(capabilities=capabilities, withhold=withhold, egress=egress, secrets=secrets)
        )
    except InvalidRequest:
        return
    assert set(granted.capabilities) <= {*wanted.capabilities, *wanted.defaults}
    assert set(granted.capabilities) - set(DEFAULTS) <= set(capabilities)
    assert not set(granted.capabilities) & set(withhold)
    assert set(granted.egress) <= set(egress)
    assert set(granted.secrets) <= set(secrets)
    assert ALWAYS in granted.capabilities


@pytest.mark.parametrize(
    ("named", "was_asked", "granted", "found"),
    [
        (True, True, ["api_key"], True),
        (True, True, [], False),
        (True, False, [], False),  # set for a version that named none; this one asks, and was not answered
        (False, False, [], True),
        (False, True, [], False),  # set for a version that asked: naming none is no way round the grant
        (False, True, ["api_key"], True),
    ],
)
def test_a_secret_is_granted_by_name_or_by_being_set_where_names_are_free(
    named: bool, was_asked: bool, granted: list[str], found: bool
) -> None:
    assert secret_granted("api_key", named=named, asked=was_asked, granted=granted) is found
