"""What a host application is shown: one token for each granted service, for it alone, for this call and this user."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from gateway.proxy.tokens import TokenMint
from shared import errors
from shared.keys import PrivateKey
from shared.limits import CLOCK_SKEW_S, HOST_TOKEN_GRACE_S
from shared.provider_files import read_providers, shipped
from shared.tokens import HostClaims, Verifier
from shared.wire import Context, User
from tests.shared.provider_sources import CRM_TOML, CRM_WIT, provider_files

KEY = PrivateKey(b"p" * 32)
CONTEXT = Context(
    request_id="r-1",
    tenant_id="acme",
    extension_id="00000000-0000-4000-8000-000000000001",
    install_id="00000000-0000-4000-8000-000000000002",
    version_id="00000000-0000-4000-8000-000000000003",
    content_hash="sha256:" + "ab" * 32,
)
CLIENT = User(
    user_id="u-7",
    user_email="u@acme.example",
    user_name="U",
    user_type="client",
    client_name="Initech",
    client_id="c-1",
)
EVERY = tuple(sorted(one.capability for one in shipped()))


def tokens(*caps: str, mint: TokenMint | None = None, user: User | None = CLIENT) -> dict[str, str]:
    minted = mint or TokenMint(KEY, lambda: 1000.25)
    return minted.providers(CONTEXT, caps, timeout_ms=5000, generation=3, user=user)


def claims(token: str, audience: str, now: float = 1000.0) -> HostClaims:
    return Verifier([KEY.public], {audience}, lambda: now).verify(token, HostClaims)


def test_the_bytes_of_a_providers_claims_are_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.proxy.tokens.new_jti", lambda: "0" * 32)
    token = tokens("cap:client.read")["clients"]
    head, payload, _ = (base64.urlsafe_b64decode(part + "==") for part in token.split("."))
    assert head == b'{"alg":"EdDSA","kid":"%s","typ":"alga-host+jwt"}' % KEY.key_id.encode()
    assert payload == (
        b'{"iss":"gateway","aud":"provider:clients","jti":"00000000000000000000000000000000","iat":1000,"exp":1011,'
        b'"tenant":"acme","extension":"00000000-0000-4000-8000-000000000001",'
        b'"install":"00000000-0000-4000-8000-000000000002","request_id":"r-1","caps":["cap:client.read"],"generation":3,'
        b'"sub":"u-7","user_type":"client","client_id":"c-1"}'
    )


def test_a_call_that_nobody_stands_behind_names_no_user() -> None:
    found = json.loads(base64.urlsafe_b64decode(tokens("cap:client.read", user=None)["clients"].split(".")[1] + "=="))
    assert not {"sub", "user_type", "client_id"} & set(found)


def test_each_granted_service_gets_a_token_and_no_other() -> None:
    assert set(tokens(*EVERY, "cap:http.fetch")) == {"clients", "invoicing", "services"}
    assert set(tokens("cap:service.read")) == {"services"}
    assert tokens("cap:http.fetch", "cap:context.read") == {}


def test_a_token_is_for_one_service_alone() -> None:
    minted = tokens(*EVERY)
    for name, token in minted.items():
        assert claims(token, f"provider:{name}").caps == (next(o.capability for o in shipped() if o.name == name),)
        others = {f"provider:{other}" for other in minted if other != name}
        for audience in ("gateway", "runner", name, *others):
            with pytest.raises(errors.Unauthorized):
                claims(token, audience)


def test_a_token_ends_a_grace_after_the_deadline() -> None:
    token = tokens("cap:client.read")["clients"]
    found = claims(token, "provider:clients")
    assert found.exp == 1006 + HOST_TOKEN_GRACE_S  # 1000.25 s + 5 s, whole seconds
    claims(token, "provider:clients", now=found.exp + CLOCK_SKEW_S)
    with pytest.raises(errors.Unauthorized):
        claims(token, "provider:clients", now=found.exp + CLOCK_SKEW_S + 1)


def test_a_service_of_the_operators_is_like_a_shipped_one_even_when_it_is_called_like_a_service_of_ours(
    tmp_path: Path,
) -> None:
    provider_files(tmp_path, "gateway", wit=CRM_WIT.replace("interface crm", "interface gateway"), toml=CRM_TOML)
    mint = TokenMint(KEY, lambda: 1000.0, read_providers(str(tmp_path)))
    token = tokens("cap:crm.read", mint=mint)["gateway"]
    assert claims(token, "provider:gateway").caps == ("cap:crm.read",)
    with pytest.raises(errors.Unauthorized):
        claims(token, "gateway")  # what /internal asks for


def test_the_ui_proxy_keeps_its_name() -> None:
    assert claims(tokens("cap:ui.proxy")["ui-proxy"], "ui-proxy").sub == "u-7"


def test_a_call_says_how_this_gateway_knows_what_is_granted_and_nothing_else() -> None:
    mint = TokenMint(KEY, lambda: 1000.0)
    assert mint.provider_digests(("cap:client.read", "cap:http.fetch")) == {"clients": shipped().digests["clients"]}
    assert mint.provider_digests(("cap:http.fetch",)) == {}
