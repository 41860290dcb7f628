"""Emergency brakes: what each one stops, what it leaves alone, and which subjects are none."""

from __future__ import annotations

import pytest

from shared.brakes import SCOPES, Brake, CallFacts, parse
from shared.errors import InvalidRequest

VERSION = "33333333-3333-4333-8333-333333333333"
CALL = CallFacts(
    tenant_id="acme",
    install_id="22222222-2222-4222-8222-222222222222",
    version_id=VERSION,
    content_hash="sha256:" + "a" * 64,
    publisher="alga",
    capabilities=frozenset({"cap:context.read", "cap:http.fetch"}),
)


@pytest.mark.parametrize(
    ("subject", "stopped"),
    [
        ("all", True),
        ("tenant:acme", True),
        ("tenant:globex", False),
        (f"version:{VERSION}", True),
        ("version:44444444-4444-4444-8444-444444444444", False),
        ("publisher:alga", True),
        ("publisher:other", False),
        ("capability:cap:http.fetch", True),
        ("capability:cap:storage.kv", False),
    ],
)
def test_a_brake_stops_what_it_names_and_nothing_else(subject: str, stopped: bool) -> None:
    brake = parse(subject)
    assert brake.subject == subject
    assert brake.stops(CALL) is stopped


def test_a_publishers_brake_does_not_stop_a_call_whose_bundle_nobody_has_verified() -> None:
    unverified = CallFacts(tenant_id="acme", install_id="i", version_id="v", content_hash="h")
    assert not Brake("publisher", "alga").stops(unverified)


@pytest.mark.parametrize(
    "subject",
    [
        *("", ":", "all:", "all:x", "ALL", "region:eu"),
        *("tenant", "tenant:", "tenant:a/b", "tenant:acme "),
        *("version:x", "version:", "publisher:A", "publisher:"),
        *("capability:", "capability:http.fetch", "capability:cap:nothing"),
    ],
)
def test_a_subject_that_is_none_is_refused_with_the_scopes_there_are(subject: str) -> None:
    with pytest.raises(InvalidRequest):
        parse(subject)


def test_the_refusal_of_an_unknown_scope_names_all_scopes() -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse("region:eu")
    assert all(scope in refused.value.detail for scope in SCOPES)


def test_who_reads_the_feed_obeys_a_brake_for_a_service_it_was_not_told_of() -> None:
    brake = parse("capability:cap:crm.read")
    assert brake.stops(
        CallFacts(
            tenant_id="a", install_id="i", version_id="v", content_hash="h", capabilities=frozenset({"cap:crm.read"})
        )
    )


def test_who_pulls_a_brake_may_name_known_capabilities_only() -> None:
    known = frozenset({"cap:http.fetch"})
    assert parse("capability:cap:http.fetch", known).name == "cap:http.fetch"
    assert parse("tenant:acme", known).name == "acme"
    with pytest.raises(InvalidRequest):
        parse("capability:cap:http.fetsh", known)
