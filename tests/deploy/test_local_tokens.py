"""The demo users' session tokens: exactly what the gateway's own verification accepts, and for a day only."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from deploy.local import tokens
from deploy.local.keys import Keys, ensure
from gateway.identity.keys import host_keys
from gateway.identity.sessions import SessionVerifier
from shared.errors import InvalidSession

NOW_S = 1_800_000_000.0


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """The keys of a stack of this test's own."""
    return ensure(tmp_path)


def _verifier(keys: Keys, now_s: float = NOW_S) -> SessionVerifier:
    return SessionVerifier(
        partial(host_keys, keys.host.public.read_text()), tokens.AUDIENCE, tokens.ISSUER, lambda: now_s
    )


def test_the_gateway_knows_the_administrator_by_the_token(keys: Keys) -> None:
    principal = _verifier(keys).verify(tokens.mint(keys.host, tokens.administrator("acme"), lambda: NOW_S))
    assert principal.tenant_id == "acme"
    assert principal.user_type == "internal"
    assert principal.email == "acme-admin@acme.example"
    assert principal.permissions == set(tokens.ADMINISTRATOR)
    assert "platform:admin" not in principal.permissions


def test_a_client_user_belongs_to_a_client(keys: Keys) -> None:
    principal = _verifier(keys).verify(tokens.mint(keys.host, tokens.client("globex"), lambda: NOW_S))
    assert principal.tenant_id == "globex"
    assert principal.user_type == "client"
    assert principal.client_id == "globex-client-1"
    assert principal.permissions == {"extension:read", "extension:write"}


def test_a_user_may_use_extensions_and_not_install_them(keys: Keys) -> None:
    principal = _verifier(keys).verify(tokens.mint(keys.host, tokens.user("acme"), lambda: NOW_S))
    assert principal.client_id is None
    assert principal.permissions == {"extension:read", "extension:write"}


def test_only_the_operator_may_run_the_platform(keys: Keys) -> None:
    principal = _verifier(keys).verify(tokens.mint(keys.host, tokens.operator(), lambda: NOW_S))
    assert "platform:admin" in principal.permissions
    assert principal.tenant_id == "platform"


def test_a_token_ends_after_a_day(keys: Keys) -> None:
    token = tokens.mint(keys.host, tokens.user("acme"), lambda: NOW_S)
    _verifier(keys, NOW_S + tokens.LIFETIME_S - 1).verify(token)
    with pytest.raises(InvalidSession):
        _verifier(keys, NOW_S + tokens.LIFETIME_S + 3600).verify(token)


def test_another_stacks_token_is_refused(keys: Keys, tmp_path: Path) -> None:
    other = ensure(tmp_path / "other")
    with pytest.raises(InvalidSession):
        _verifier(keys).verify(tokens.mint(other.host, tokens.user("acme"), lambda: NOW_S))


def test_each_start_has_tokens_of_its_own(keys: Keys) -> None:
    first = tokens.mint(keys.host, tokens.user("acme"), lambda: NOW_S)
    assert first != tokens.mint(keys.host, tokens.user("acme"), lambda: NOW_S + 1)
