"""The demo administrator: who that is, and which requests can become theirs."""

from __future__ import annotations

import pytest

from gateway.console import demo
from shared.errors import InvalidRequest


def test_the_demo_administrator_is_a_tenants_and_no_operator() -> None:
    found = demo.administrator("acme")
    assert (found.tenant_id, found.subject, found.user_type) == ("acme", "acme-admin", "internal")
    assert "extension:admin" in found.permissions
    assert "platform:admin" not in found.permissions


def test_a_tenant_that_cannot_be_one_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        demo.administrator("a b")


@pytest.mark.parametrize(
    "host", [b"localhost", b"localhost:8000", b"127.0.0.1:8000", b"127.9.9.9", b"[::1]:80", b"[::1]"]
)
def test_this_machine_has_these_names(host: bytes) -> None:
    assert demo.names_this_machine([(b"host", host)])


@pytest.mark.parametrize(
    "host",
    [b"evil.example", b"127.0.0.1.evil.example", b"localhost.evil.example:8000", b"10.0.0.1", b"", b"0.0.0.0:8000"],
)
def test_any_other_name_is_not_this_machine(host: bytes) -> None:
    assert not demo.names_this_machine([(b"host", host)])


def test_no_name_or_two_are_not_this_machine() -> None:
    assert not demo.names_this_machine([])
    assert not demo.names_this_machine([(b"host", b"localhost"), (b"host", b"localhost")])
