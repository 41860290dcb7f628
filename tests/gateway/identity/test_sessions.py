"""Session tokens: what is taken, and that every bad one is refused with the same words (threat T40)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

from gateway.identity.keys import HostAlgorithms, host_keys
from gateway.identity.principal import IFRAME_PERMISSIONS, confine
from gateway.identity.sessions import IframeSessions, SessionVerifier
from shared.errors import InvalidSession
from shared.keys import PrivateKey
from shared.limits import CLOCK_SKEW_S, IFRAME_SESSION_MAX_S, JWT_MAX_BYTES
from tests.gateway.people import ALL, AUDIENCE, ISSUER, Host

EXTENSION, INSTALL = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
HOST = Host()
OURS = PrivateKey(bytes([7]) * 32)
NOW = time.time()  # the bad tokens below are made now and judged now, however long the session lasts


def verifier(pem: str = HOST.public_pem, now: Callable[[], float] = time.time) -> SessionVerifier:
    return SessionVerifier(partial(host_keys, pem), AUDIENCE, ISSUER, now)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def by_hand(header: Any, claims: Any, signature: bytes = b"") -> str:
    return f"{b64(msgspec.json.encode(header))}.{b64(msgspec.json.encode(claims))}.{b64(signature)}"


def hmac_with_the_public_key() -> str:
    token = by_hand({"alg": "HS256", "typ": "JWT"}, HOST.claims()).rpartition(".")[0]
    signature = hmac.new(HOST.public_pem.encode(), token.encode(), hashlib.sha256).digest()
    return f"{token}.{b64(signature)}"


def test_a_valid_token_names_the_caller() -> None:
    principal = verifier().verify(HOST.token("acme", client_id="c-1", user_type="client"))
    assert (principal.tenant_id, principal.subject, principal.email, principal.name) == (
        "acme",
        "user-1",
        "ada@acme.example",
        "Ada",
    )
    assert (principal.user_type, principal.client_id, principal.kind) == ("client", "c-1", "session")
    assert principal.permissions == frozenset(ALL)


def test_permissions_nobody_knows_are_dropped() -> None:
    token = HOST.token(permissions=("extension:read", "extension:everything", "root"))
    assert verifier().verify(token).permissions == {"extension:read"}


def test_an_audience_list_that_holds_ours_is_taken() -> None:
    assert verifier().verify(HOST.token(aud=["other", AUDIENCE])).tenant_id == "acme"


def by_another_key() -> str:
    registry = HostAlgorithms(algorithms=["EdDSA"])
    key = OKPKey.generate_key("Ed25519", private=True)
    return jws.serialize_compact({"alg": "EdDSA"}, msgspec.json.encode(HOST.claims()), key, registry=registry)


BAD = {
    "alg none": by_hand({"alg": "none"}, HOST.claims()),
    "alg none with a signature": by_hand({"alg": "none"}, HOST.claims(), b"x" * 64),
    "alg HS256 over the public key": hmac_with_the_public_key(),
    "kid of a path": by_hand({"alg": "EdDSA", "kid": "../../dev/null"}, HOST.claims(), b"x" * 64),
    "jku": by_hand({"alg": "EdDSA", "jku": "https://evil.example/keys"}, HOST.claims(), b"x" * 64),
    "jwk in the header": by_hand(
        {"alg": "EdDSA", "jwk": {"kty": "OKP", "crv": "Ed25519", "x": "AA"}}, HOST.claims(), b"x" * 64
    ),
    "an extension nobody knows": HOST.sign(HOST.claims(), crit=["b64"], b64=False),
    "no exp": HOST.token(exp=...),
    "no aud": HOST.token(aud=...),
    "no iss": HOST.token(iss=...),
    "no tenant": HOST.token(tenant=...),
    "no sub": HOST.token(sub=...),
    "empty sub": HOST.token(sub=""),
    "no user_type": HOST.token(user_type=...),
    "another audience": HOST.token(aud="other"),
    "another issuer": HOST.token(iss="https://evil.example"),
    "expired": HOST.token(exp=int(time.time()) - 1),
    "expired by text": HOST.token(exp="9999999999"),
    "not yet": HOST.token(nbf=int(time.time()) + CLOCK_SKEW_S + 30),
    "from the future": HOST.token(iat=int(time.time()) + CLOCK_SKEW_S + 30),
    "a tenant with a slash": HOST.token(tenant="acme/../globex"),
    "an empty tenant": HOST.token(tenant=""),
    "permissions as text": HOST.sign(HOST.claims() | {"permissions": "platform:admin"}),
    "another key": by_another_key(),
    "a changed payload": HOST.token().split(".")[0] + "." + b64(b"{}") + "." + HOST.token().split(".")[2],
    "claims that are a list": HOST.sign([1, 2]),
    "two parts": HOST.token().rpartition(".")[0],
    "four parts": HOST.token() + ".AAAA",
    "JSON serialisation": '{"payload": "e30", "signatures": []}',
    "empty": "",
    "dots": "..",
    "too long": HOST.token(name="x" * JWT_MAX_BYTES),
    "not ascii": "\u00e9.\u00e9.\u00e9",
}


@pytest.mark.security
@pytest.mark.parametrize("token", BAD.values(), ids=BAD.keys())
def test_a_bad_token_is_refused_with_the_same_words(token: str) -> None:
    with pytest.raises(InvalidSession) as refused:
        verifier(now=lambda: NOW).verify(token)
    assert refused.value.detail == InvalidSession.title
    assert refused.value.extra == {}


@given(
    st.text(st.characters(codec="ascii"), max_size=200)
    | st.binary(max_size=200).map(lambda data: data.decode("latin-1"))
)
def test_no_text_is_anything_but_refused(text: str) -> None:
    with pytest.raises(InvalidSession):
        verifier().verify(text)


def keys_of_each_kind() -> dict[str, Any]:
    return {
        "RS256": RSAKey.generate_key(2048, private=True),
        "ES256": ECKey.generate_key("P-256", private=True),
        "EdDSA": OKPKey.generate_key("Ed25519", private=True),
    }


KINDS = keys_of_each_kind()


@pytest.mark.parametrize("alg", KINDS)
def test_each_kind_of_key_verifies_with_its_own_algorithm(alg: str) -> None:
    key = KINDS[alg]
    public = key.as_pem(private=False).decode()
    registry = HostAlgorithms(algorithms=[alg], strict_check_header=False)
    token = jws.serialize_compact({"alg": alg}, msgspec.json.encode(HOST.claims()), key, registry=registry)
    assert verifier(public).verify(token).tenant_id == "acme"


@pytest.mark.parametrize("alg", KINDS)
@pytest.mark.parametrize("other", ["HS256", "none", "RS512", "PS256", "ES384", "EdDSA", "RS256", "ES256"])
def test_the_token_cannot_choose_another_algorithm_for_a_key(alg: str, other: str) -> None:
    if other == alg:
        return
    key = KINDS[alg]
    registry = HostAlgorithms(algorithms=[alg], strict_check_header=False)
    token = jws.serialize_compact({"alg": alg}, msgspec.json.encode(HOST.claims()), key, registry=registry)
    _, payload, signature = token.split(".")
    header = b64(msgspec.json.encode({"alg": other}))
    with pytest.raises(InvalidSession):
        verifier(key.as_pem(private=False).decode()).verify(f"{header}.{payload}.{signature}")


def test_a_key_set_is_searched_by_kid() -> None:
    first, second = (OKPKey.generate_key("Ed25519", private=True) for _ in range(2))
    keys = [one.as_dict(private=False) | {"kid": kid} for one, kid in ((first, "a"), (second, "b"))]
    text = msgspec.json.encode({"keys": keys}).decode()
    registry = HostAlgorithms(algorithms=["EdDSA"], strict_check_header=False)
    claims = msgspec.json.encode(HOST.claims())
    good = jws.serialize_compact({"alg": "EdDSA", "kid": "b"}, claims, second, registry=registry)
    assert verifier(text).verify(good).tenant_id == "acme"
    nameless = jws.serialize_compact({"alg": "EdDSA"}, claims, second, registry=registry)
    assert verifier(text).verify(nameless).tenant_id == "acme"
    crossed = jws.serialize_compact({"alg": "EdDSA", "kid": "a"}, claims, second, registry=registry)
    with pytest.raises(InvalidSession):
        verifier(text).verify(crossed)


# ---- iframes ------------------------------------------------------------------------------------------------


def test_an_iframe_session_is_its_user_in_one_install() -> None:
    user = verifier().verify(HOST.token("acme", client_id="c-1", user_type="client"))
    sessions = IframeSessions([OURS])
    minted = sessions.mint(user, EXTENSION, INSTALL)
    assert sessions.owns(minted.token)
    found = sessions.verify(minted.token)
    assert (found.tenant_id, found.subject, found.user_type, found.client_id) == ("acme", "user-1", "client", "c-1")
    assert (found.kind, found.extension_id, found.install_id) == ("iframe", EXTENSION, INSTALL)
    assert found.permissions == IFRAME_PERMISSIONS
    confine(found, EXTENSION, INSTALL)


def test_while_the_gateways_key_is_changed_sessions_of_the_old_one_stay_good_and_of_a_removed_one_do_not() -> None:
    user, new = verifier().verify(HOST.token()), PrivateKey(bytes([9]) * 32)
    old = IframeSessions([OURS]).mint(user, EXTENSION, INSTALL).token
    changing = IframeSessions([new, OURS])
    assert changing.owns(old)
    assert changing.verify(old).install_id == INSTALL
    minted = changing.mint(user, EXTENSION, INSTALL).token
    changed = IframeSessions([new])
    assert changed.verify(minted).install_id == INSTALL
    assert not changed.owns(old)
    with pytest.raises(InvalidSession):
        changed.verify(old)


@pytest.mark.parametrize(("extension", "install"), [(INSTALL, INSTALL), (EXTENSION, EXTENSION)])
def test_an_iframe_session_is_worth_nothing_elsewhere(extension: str, install: str) -> None:
    user = verifier().verify(HOST.token())
    sessions = IframeSessions([OURS])
    found = sessions.verify(sessions.mint(user, EXTENSION, INSTALL).token)
    with pytest.raises(InvalidSession):
        confine(found, extension, install)
    confine(user, extension, install)  # other credentials are not confined


def test_an_iframe_session_holds_no_permission_its_user_lacks() -> None:
    user = verifier().verify(HOST.token(permissions=("extension:read", "extension:admin")))
    sessions = IframeSessions([OURS])
    assert sessions.verify(sessions.mint(user, EXTENSION, INSTALL).token).permissions == {"extension:read"}


def test_an_iframe_session_ends_after_ten_minutes_and_never_after_its_user() -> None:
    now = time.time()
    user = verifier().verify(HOST.token(exp=int(now) + 3600))
    sessions = IframeSessions([OURS], lambda: now)
    minted = sessions.mint(user, EXTENSION, INSTALL)
    assert minted.expires_at == int(now + IFRAME_SESSION_MAX_S) * 1000
    late = IframeSessions([OURS], lambda: now + IFRAME_SESSION_MAX_S)
    with pytest.raises(InvalidSession):
        late.verify(minted.token)
    short = verifier().verify(HOST.token(exp=int(now) + 60))
    assert sessions.mint(short, EXTENSION, INSTALL).expires_at == (int(now) + 60) * 1000


@pytest.mark.security
def test_neither_kind_of_token_can_stand_in_for_the_other() -> None:
    user = verifier().verify(HOST.token())
    minted = IframeSessions([OURS]).mint(user, EXTENSION, INSTALL)
    with pytest.raises(InvalidSession):
        SessionVerifier(partial(host_keys, OURS.public.pem()), AUDIENCE, ISSUER).verify(minted.token)
    with pytest.raises(InvalidSession):
        IframeSessions([HOST.key]).verify(HOST.sign(HOST.claims(extension=EXTENSION, install=INSTALL)))


@pytest.mark.security
@pytest.mark.parametrize("change", [{"typ": "JWT"}, {"typ": "alga-execute+jwt"}])
def test_another_token_of_the_gateways_key_is_no_iframe_session(change: dict[str, str]) -> None:
    now = int(time.time())
    claims = HOST.claims(iss="gateway", aud="iframe", exp=now + 60, extension=EXTENSION, install=INSTALL, jti="a" * 32)
    key = OKPKey.import_key(OURS.pem())
    registry = HostAlgorithms(algorithms=["EdDSA"], strict_check_header=False)
    header = {"alg": "EdDSA", "kid": OURS.key_id, "typ": "alga-iframe+jwt"}
    good = jws.serialize_compact(header, msgspec.json.encode(claims), key, registry=registry)
    assert IframeSessions([OURS]).verify(good).extension_id == EXTENSION
    bad = jws.serialize_compact(header | change, msgspec.json.encode(claims), key, registry=registry)
    with pytest.raises(InvalidSession):
        IframeSessions([OURS]).verify(bad)
