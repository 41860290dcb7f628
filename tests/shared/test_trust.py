"""The trust bundle: both forms, never silently empty, and the last good one stays in force."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from shared.keys import PrivateKey
from shared.limits import TRUST_MAX_BYTES
from shared.trust import TrustBundle, TrustFormatError, TrustStore, parse_trust

ALICE, BOB = PrivateKey(bytes([1]) * 32), PrivateKey(bytes([2]) * 32)
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def entry(key=ALICE, **fields):
    return {"key_id": key.key_id, "public_key": key.public.pem(), "publishers": ["acme"]} | fields


def document(*keys, **fields):
    return json.dumps({"version": 1, "threshold": 1, "keys": list(keys or (entry(),))} | fields)


# ---- PEM ----------------------------------------------------------------------------------------------------


def test_keys_in_pem_are_trusted_for_every_publisher():
    trust = parse_trust("our keys:\n" + ALICE.public.pem() + "\n" + BOB.public.pem())
    assert set(trust.keys) == {ALICE.key_id, BOB.key_id}
    assert trust.threshold == 1
    assert trust.keys[ALICE.key_id].may_sign_for("anybody")
    assert trust.keys[ALICE.key_id].valid_at(NOON)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   \n",
        "no keys here",
        ALICE.pem(),
        ALICE.public.pem() + BOB.pem(),
        ALICE.public.pem() * 2,
        ALICE.public.pem() + "-----BEGIN PUBLIC KEY-----\nbroken",
        ALICE.public.pem().replace("-----END PUBLIC KEY-----", "") + BOB.public.pem(),
        ALICE.public.pem() + "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
        "-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----\n",
    ],
    ids=["empty", "blank", "text", "private", "one private", "twice", "cut", "cut first", "certificate", "other key"],
)
def test_pem_that_would_lose_or_leak_a_key_is_refused(text):
    with pytest.raises(TrustFormatError):
        parse_trust(text)


# ---- JSON ---------------------------------------------------------------------------------------------------


def test_keys_in_json_carry_publishers_and_times():
    trust = parse_trust(
        document(
            entry(
                publishers=["acme", "globex"], not_before="2026-01-01T00:00:00Z", not_after="2027-01-01T00:00:00+02:00"
            ),
            entry(BOB, publishers=["*"], revoked_at="2026-05-01T00:00:00Z"),
            threshold=2,
        )
    )
    alice, bob = trust.keys[ALICE.key_id], trust.keys[BOB.key_id]
    assert trust.threshold == 2
    assert alice.may_sign_for("globex")
    assert not alice.may_sign_for("initech")
    assert bob.may_sign_for("initech")
    assert trust.is_revoked(BOB.key_id)
    assert not trust.is_revoked(ALICE.key_id)
    assert alice.not_after == datetime(2026, 12, 31, 22, tzinfo=UTC)


def test_a_public_key_may_be_base64_of_its_raw_bytes():
    text = document(entry(public_key=base64.b64encode(ALICE.public.raw).decode()))
    assert parse_trust(text).keys[ALICE.key_id].key.raw == ALICE.public.raw


def test_validity_includes_both_ends_and_nothing_beyond():
    key = parse_trust(document(entry(not_before="2026-06-01T12:00:00Z", not_after="2026-06-01T13:00:00Z"))).keys[
        ALICE.key_id
    ]
    second, hour = timedelta(seconds=1), timedelta(hours=1)
    assert [key.valid_at(at) for at in (NOON - second, NOON, NOON + hour, NOON + hour + second)] == [
        False,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (document(version=2), "version"),
        (document(threshold=0), "threshold"),
        (document(threshold=2), "can never be met"),
        (document(threshold="1"), "threshold"),
        (document(keys=[]), "keys"),
        (document(comment="x"), "comment"),
        (json.dumps({"version": 1, "threshold": 1}), "keys"),
        (document(entry(), entry()), "twice"),
        (document(entry(key_id="0" * 16)), "key_id must be"),
        (document(entry(key_id=ALICE.key_id.upper())), "key_id must be"),
        (document(entry(public_key="")), "public_key"),
        (document(entry(public_key="AAAA")), "public_key"),
        (document(entry(public_key=ALICE.pem())), "public_key"),
        (document(entry(public_key=ALICE.public.pem() + BOB.public.pem())), "single"),
        (document(entry(publishers=[])), "publishers"),
        (document(entry(publishers=["Acme"])), "publisher"),
        (document(entry(publishers=["acme", "*"])), "publisher"),
        (document(entry(publishers="acme")), "publishers"),
        (document({"key_id": ALICE.key_id, "public_key": ALICE.public.pem()}), "publishers"),
        (document(entry(not_before="2026-01-01T00:00:00")), "not_before"),
        (document(entry(not_after="soon")), "not_after"),
        (document(entry(not_before="2026-01-02T00:00:00Z", not_after="2026-01-01T00:00:00Z")), "not_before"),
        (document(entry(expires="2026-01-01T00:00:00Z")), "expires"),
        ('{"version": 1, "version": 1, "keys": []}', "twice"),
        ("{", "line 1"),
        ('{"version": 1, "keys": "\udc80"}', "not valid"),
        (document() + " " * TRUST_MAX_BYTES, "larger"),
    ],
)
def test_json_that_is_not_a_trust_bundle_is_refused_with_the_reason(text, says):
    with pytest.raises(TrustFormatError, match=says):
        parse_trust(text)


def test_an_error_never_repeats_key_material():
    with pytest.raises(TrustFormatError) as caught:
        parse_trust(ALICE.pem())
    assert ALICE.pem().splitlines()[1] not in str(caught.value)


@given(
    st.text() | st.text().map(lambda text: "{" + text) | st.text().map(lambda text: "-----BEGIN PUBLIC KEY-----" + text)
)
def test_any_text_is_refused_or_has_keys(text):
    try:
        trust = parse_trust(text)
    except TrustFormatError:
        return
    assert trust.keys


@given(st.integers(0, 200), st.characters(codec="utf-8"))
def test_a_changed_character_never_adds_trust(at, letter):
    text = document(entry(), entry(BOB))
    changed = text[: at % len(text)] + letter + text[at % len(text) + 1 :]
    try:
        trust = parse_trust(changed)
    except TrustFormatError:
        return
    assert set(trust.keys) == {ALICE.key_id, BOB.key_id}


# ---- the store ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [ALICE.public.pem(), document()])
def test_a_store_reads_a_path_or_an_inline_value(tmp_path, text):
    path = tmp_path / "trust"
    path.write_text(text)
    assert set(TrustStore(str(path)).current().keys) == set(TrustStore(text).current().keys) == {ALICE.key_id}


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff"])
def test_a_store_does_not_start_without_a_bundle(tmp_path, content):
    path = tmp_path / "trust"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TrustFormatError):
        TrustStore(str(path))


def test_a_changed_file_comes_into_force_and_raises_the_generation(tmp_path):
    path = tmp_path / "trust"
    path.write_text(ALICE.public.pem())
    store = TrustStore(str(path))
    first = store.generation
    assert not store.reload()
    assert store.generation == first
    path.write_text(BOB.public.pem())
    assert store.reload()
    assert store.generation == first + 1
    assert set(store.current().keys) == {BOB.key_id}


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff\xfe"])
def test_a_bundle_that_became_unreadable_changes_nothing_and_is_reported_once(tmp_path, content):
    path = tmp_path / "trust"
    path.write_text(ALICE.public.pem())
    store = TrustStore(str(path))
    before, generation = store.current(), store.generation
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with structlog.testing.capture_logs() as logs:
        assert not store.reload()
        assert not store.reload()
    assert store.current() is before
    assert store.generation == generation
    assert store.problem
    assert [(line["event"], line["log_level"]) for line in logs] == [("trust_bundle_refused", "error")]
    path.write_text(BOB.public.pem())
    assert store.reload()
    assert store.problem == ""


def test_a_problem_ends_when_the_old_content_is_back(tmp_path):
    path = tmp_path / "trust"
    path.write_text(ALICE.public.pem())
    store = TrustStore(str(path))
    path.write_text("{")
    store.reload()
    path.write_text(ALICE.public.pem())
    assert not store.reload()
    assert store.problem == ""


def test_an_inline_bundle_never_changes():
    assert not TrustStore(ALICE.public.pem()).reload()


def test_a_key_revoked_by_the_feed_stays_revoked_over_a_reload(tmp_path):
    path = tmp_path / "trust"
    path.write_text(ALICE.public.pem())
    store = TrustStore(str(path))
    first = store.generation
    store.revoke(ALICE.key_id)
    store.revoke(ALICE.key_id)
    assert store.generation == first + 1
    assert store.current().is_revoked(ALICE.key_id)
    path.write_text(ALICE.public.pem() + BOB.public.pem())
    assert store.reload()
    assert store.current().is_revoked(ALICE.key_id)
    assert not store.current().is_revoked(BOB.key_id)


def test_whether_unsigned_bundles_count_is_the_settings_word_and_survives_a_reload(tmp_path):
    path = tmp_path / "trust"
    path.write_text(ALICE.public.pem())
    assert not TrustStore(str(path)).current().unsigned_allowed
    store = TrustStore(str(path), unsigned_allowed=True)
    path.write_text(BOB.public.pem())
    assert store.reload()
    assert store.current().unsigned_allowed
    with pytest.raises(TrustFormatError):
        parse_trust('{"version": 1, "unsigned_allowed": true, "keys": []}')


def test_a_key_nobody_knows_yet_can_be_revoked():
    store = TrustStore(ALICE.public.pem())
    store.revoke(BOB.key_id)
    assert store.current().is_revoked(BOB.key_id)
    assert isinstance(store.current(), TrustBundle)
