"""Tokens between the services: each known way to forge, stretch or misuse one is tried."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.digest import sha256_hex
from shared.errors import Unauthorized
from shared.keys import PrivateKey, PublicKey
from shared.limits import CLOCK_SKEW_S, TOKEN_LIFETIME_MAX_S
from shared.tokens import (
    TOKEN_MAX_BYTES,
    ExecuteClaims,
    HostClaims,
    IdentityClaims,
    Verifier,
    check_body,
    mint,
    new_jti,
)

GOLDEN = json.loads((Path(__file__).parent.parent / "contract" / "golden" / "tokens.json").read_text())
KEY = PrivateKey(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))  # RFC 8032 §7.1
OTHER = PrivateKey(b"\2" * 32)
NOW = 1_800_000_000
BODY = b'{"x":1}'
EXTENSION = "018f3f2e-7b1a-7c3d-9e4f-000000000001"
INSTALL = "018f3f2e-7b1a-7c3d-9e4f-000000000002"
HASH = f"sha256:{'ab' * 32}"

EXECUTE = ExecuteClaims(
    iss="gateway",
    aud="runner:pod-7",
    op="execute",
    jti="0" * 32,
    iat=NOW,
    exp=NOW + 30,
    body_sha256=sha256_hex(BODY),
    tenant="acme",
    extension=EXTENSION,
    install=INSTALL,
    content_hash=HASH,
    caps=("cap:context.read", "cap:log.emit"),
)
PREPARE = ExecuteClaims(
    iss="gateway", aud="compiler", op="prepare", jti="1" * 32, iat=NOW, exp=NOW + 30, body_sha256=sha256_hex(BODY)
)
HOST = HostClaims(
    iss="gateway",
    aud="gateway",
    jti="2" * 32,
    iat=NOW,
    exp=NOW + 10,
    tenant="acme",
    extension=EXTENSION,
    install=INSTALL,
    request_id="r-1",
    caps=("cap:storage.kv",),
    generation=3,
    hops=1,
)
IDENTITY = IdentityClaims(iss=KEY.key_id, aud="gateway", jti="3" * 32, iat=NOW, exp=NOW + 60)
CLAIMS = {"execute": EXECUTE, "prepare": PREPARE, "host": HOST, "identity": IDENTITY}
AUDIENCES = {"runner", "runner:pod-7", "gateway", "compiler"}


def verifier(now=NOW, keys=(KEY.public,), audiences=AUDIENCES):
    return Verifier(keys, audiences, clock=lambda: now)


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forge(claims=EXECUTE, key=KEY, payload=None, **header):
    """A token whose header and payload may lie, signed by a real key all the same."""
    head = {"alg": "EdDSA", "kid": key.key_id, "typ": "alga-execute+jwt", **header}
    body = msgspec.json.encode(claims) if payload is None else payload
    signing_input = f"{b64(json.dumps(head).encode())}.{b64(body)}"
    return f"{signing_input}.{b64(key.sign(signing_input.encode()))}"


def refused(token, kind=ExecuteClaims, **options):
    with pytest.raises(Unauthorized) as caught:
        verifier(**options).verify(token, kind)
    return caught.value


# ---- the allowed way ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLAIMS)
def test_the_bytes_of_each_token_are_pinned(name):
    assert mint(KEY, CLAIMS[name]) == GOLDEN[name]


@pytest.mark.parametrize("name", CLAIMS)
def test_a_minted_token_gives_its_claims_back(name):
    assert verifier().verify(mint(KEY, CLAIMS[name]), type(CLAIMS[name])) == CLAIMS[name]


def test_the_forge_of_these_tests_can_also_be_honest():
    assert verifier().verify(forge(), ExecuteClaims) == EXECUTE


def test_a_claim_of_a_later_release_is_ignored():
    payload = json.dumps({**msgspec.to_builtins(EXECUTE), "later": 1}).encode()
    assert verifier().verify(forge(payload=payload), ExecuteClaims) == EXECUTE


def test_keys_are_a_list_so_that_they_can_be_rotated():
    both = verifier(keys=(OTHER.public, KEY.public))
    assert both.verify(mint(KEY, EXECUTE), ExecuteClaims) == both.verify(mint(OTHER, EXECUTE), ExecuteClaims)


def test_every_token_has_its_own_number():
    assert len({new_jti() for _ in range(100)}) == 100
    assert len(new_jti()) == 32


# ---- forged -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alg", ["none", "None", "", "HS256", "RS256", "ES256", "Ed25519", "eddsa"])
def test_the_algorithm_is_ours_and_never_the_tokens(alg):
    refused(forge(alg=alg))


def test_a_token_without_a_signature_is_refused():
    head, payload, _ = mint(KEY, EXECUTE).split(".")
    refused(f"{head}.{payload}.")
    refused(f"{b64(json.dumps({'alg': 'none', 'kid': KEY.key_id, 'typ': 'alga-execute+jwt'}).encode())}.{payload}.")


def test_a_signature_with_the_public_key_as_a_shared_secret_is_refused():
    head = b64(json.dumps({"alg": "HS256", "kid": KEY.key_id, "typ": "alga-execute+jwt"}).encode())
    signing_input = f"{head}.{b64(msgspec.json.encode(EXECUTE))}"
    mac = hmac.new(KEY.public.raw, signing_input.encode(), hashlib.sha256).digest()
    refused(f"{signing_input}.{b64(mac)}")


@pytest.mark.parametrize("kid", ["", "../../dev/null", "0" * 16, OTHER.key_id])
def test_a_key_we_do_not_know_is_refused(kid):
    refused(forge(kid=kid))


def test_a_key_that_was_rotated_out_is_refused():
    refused(mint(KEY, EXECUTE), keys=(OTHER.public,))


def test_another_keys_signature_under_our_key_id_is_refused():
    refused(forge(key=OTHER, kid=KEY.key_id))


def test_a_key_smuggled_in_by_the_header_is_not_used():
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64(OTHER.public.raw)}
    refused(forge(key=OTHER, jwk=jwk, jku="https://evil.example/keys"))


def test_an_extension_marked_critical_is_refused():  # RFC 7515 §4.1.11
    refused(forge(crit=["exp2"], exp2=1))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (name, kind)
        for name, claims in CLAIMS.items()
        for kind in (ExecuteClaims, HostClaims, IdentityClaims)
        if kind is not type(claims)
    ],
)
def test_no_kind_of_token_can_stand_in_for_another(name, kind):
    refused(mint(KEY, CLAIMS[name]), kind)


@pytest.mark.parametrize("typ", ["JWT", "alga-host+jwt", "", "ALGA-EXECUTE+JWT"])
def test_the_type_must_be_exact(typ):
    refused(forge(typ=typ))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"iss":1}',
        msgspec.json.encode(EXECUTE).replace(b'"exp":', b'"exp":"9",'),
        b"\xff\xfe",
    ],
)
def test_claims_that_are_not_ours_are_refused(payload):
    refused(forge(payload=payload))


@pytest.mark.parametrize("claim", ["iss", "aud", "op", "jti", "iat", "exp", "body_sha256"])
def test_a_missing_claim_is_refused(claim):
    claims = msgspec.to_builtins(EXECUTE)
    del claims[claim]
    refused(forge(payload=json.dumps(claims).encode()))


# ---- damaged ------------------------------------------------------------------------------------------------


def test_a_token_cut_anywhere_is_refused():
    token = mint(KEY, EXECUTE)
    for end in range(len(token)):
        refused(token[:end])


@given(st.integers(0, len(mint(KEY, EXECUTE)) - 1), st.characters(codec="ascii"))
def test_a_token_with_one_character_changed_is_refused(at, character):
    token = mint(KEY, EXECUTE)
    changed = token[:at] + character + token[at + 1 :]
    if changed != token:
        refused(changed)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t + "=",
        lambda t: t + ".",
        lambda t: f" {t}",
        lambda t: f"{t}\n",
        lambda t: t.replace(".", ".."),
        lambda t: "." + t,
        lambda t: t.replace("-", "+").replace("_", "/") + "+",
    ],
)
def test_a_token_in_another_notation_is_refused(change):
    refused(change(mint(KEY, EXECUTE)))


@given(st.text())
def test_no_text_does_worse_than_be_refused(text):
    for candidate in (text, f"{text}.{text}.{text}", forge(payload=text.encode("utf-8", "replace"))):
        refused(candidate)


@pytest.mark.parametrize(("extra", "fine"), [(-4, True), (0, True), (4, False)])
def test_a_token_is_read_up_to_its_limit(extra, fine):
    claims = msgspec.structs.replace(EXECUTE, tenant="")
    fixed = len(mint(KEY, claims))
    padding = (TOKEN_MAX_BYTES - fixed + extra) * 3 // 4 - len(',"tenant":""')
    token = mint(KEY, msgspec.structs.replace(claims, tenant="x" * padding))
    assert (len(token) <= TOKEN_MAX_BYTES) is fine
    if fine:
        verifier().verify(token, ExecuteClaims)
    else:
        refused(token)


# ---- out of time, place or body -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "fine"), [(EXECUTE.exp, True), (EXECUTE.exp + CLOCK_SKEW_S, True), (EXECUTE.exp + CLOCK_SKEW_S + 1, False)]
)
def test_a_token_ends_at_its_expiry_plus_the_skew(now, fine):
    if fine:
        verifier(now=now).verify(mint(KEY, EXECUTE), ExecuteClaims)
    else:
        refused(mint(KEY, EXECUTE), now=now)


@pytest.mark.parametrize(("now", "fine"), [(NOW, True), (NOW - CLOCK_SKEW_S, True), (NOW - CLOCK_SKEW_S - 1, False)])
def test_a_token_from_the_future_is_refused_beyond_the_skew(now, fine):
    if fine:
        verifier(now=now).verify(mint(KEY, EXECUTE), ExecuteClaims)
    else:
        refused(mint(KEY, EXECUTE), now=now)


@pytest.mark.parametrize(
    ("life_s", "fine"),
    [
        (1, True),
        (TOKEN_LIFETIME_MAX_S - 1, True),
        (TOKEN_LIFETIME_MAX_S, True),
        (TOKEN_LIFETIME_MAX_S + 1, False),
        (10**9, False),
        (0, False),
        (-1, False),
    ],
)
def test_a_token_lives_no_longer_than_its_limit(life_s, fine):
    token = mint(KEY, msgspec.structs.replace(EXECUTE, exp=NOW + life_s))
    if fine:
        verifier().verify(token, ExecuteClaims)
    else:
        refused(token)


@pytest.mark.parametrize("aud", ["", "runner:pod-8", "RUNNER", "gateway2", "runner "])
def test_a_token_for_somebody_else_is_refused(aud):
    refused(mint(KEY, msgspec.structs.replace(EXECUTE, aud=aud)))


def test_a_token_for_any_runner_is_good_at_this_one():
    verifier().verify(mint(KEY, msgspec.structs.replace(EXECUTE, aud="runner")), ExecuteClaims)


def test_a_token_is_good_for_its_own_body_only():
    check_body(EXECUTE, BODY)
    for other in (b"", BODY + b" ", BODY[:-1], b'{"x":2}'):
        with pytest.raises(Unauthorized):
            check_body(EXECUTE, other)


def test_every_refusal_reads_the_same():
    tokens = ["", "a.b.c", forge(alg="none"), forge(key=OTHER), mint(KEY, HOST), mint(KEY, EXECUTE)[:-2]]
    details = {refused(token).detail for token in tokens}
    details.add(refused(mint(KEY, EXECUTE), now=NOW + 10**6).detail)
    details.add(refused(mint(KEY, EXECUTE), audiences={"x"}).detail)
    assert len(details) == 1


def test_a_verifier_without_keys_refuses_everything():
    refused(mint(KEY, EXECUTE), keys=())
    assert isinstance(KEY.public, PublicKey)
