"""Idempotency keys: which count, whose they are, and the bytes that are remembered."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.idempotency import Kept, key_of, scope
from shared.call_limits import IDEMPOTENCY_KEY_MAX_BYTES
from shared.errors import InvalidRequest

CALL = {
    "tenant_id": "acme",
    "install_id": "7b7f3f5e-7a6d-4c1c-9d43-2f9d0a3b5a11",
    "principal": "user:u-1",
    "method": "POST",
    "path": "/notes",
    "query": "a=1",
    "key": "k-1",
}


def given_key(value: bytes, count: int = 1) -> list[tuple[bytes, bytes]]:
    return [(b"x-idempotency-key", value)] * count


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_what_changes_something_may_have_a_key(method: str) -> None:
    assert key_of(given_key(b"k-1"), method) == "k-1"
    assert key_of([(b"accept", b"*/*")], method) is None


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_only_reads_needs_none_and_its_key_is_not_looked_at(method: str) -> None:
    assert key_of(given_key(b"k-1"), method) is None
    assert key_of(given_key(b""), method) is None


@pytest.mark.parametrize(("size", "accepted"), [(0, False), (1, True), (254, True), (255, True), (256, False)])
def test_a_key_has_a_length(size: int, accepted: bool) -> None:
    assert IDEMPOTENCY_KEY_MAX_BYTES == 255
    if accepted:
        assert key_of(given_key(b"k" * size), "POST") == "k" * size
    else:
        with pytest.raises(InvalidRequest, match="1 to 255 printable ASCII"):
            key_of(given_key(b"k" * size), "POST")


@pytest.mark.parametrize("value", [b"a b", b"a\tb", b"\x00", b"caf\xc3\xa9", b"\x7f"])
def test_a_key_is_printable_ascii(value: bytes) -> None:
    with pytest.raises(InvalidRequest):
        key_of(given_key(value), "POST")


def test_two_keys_are_none() -> None:
    with pytest.raises(InvalidRequest, match="stands once"):
        key_of(given_key(b"k", 2), "POST")


def test_the_name_of_a_call_is_pinned() -> None:
    assert scope(**CALL) == "idem:{acme}:cd285c66c3833c87fd0f8584304c9df6d2292989b0e1d49f3bcc166b59b64660"


@given(
    st.tuples(*(st.text(max_size=6) for _ in range(6))),
    st.tuples(*(st.text(max_size=6) for _ in range(6))),
)
def test_different_calls_have_different_names(one: tuple[str, ...], two: tuple[str, ...]) -> None:
    names = ("install_id", "principal", "method", "path", "query", "key")

    def named(parts: tuple[str, ...]) -> str:
        return scope(tenant_id="acme", **dict(zip(names, parts, strict=True)))

    assert (named(one) == named(two)) == (one == two)


@pytest.mark.parametrize("member", [name for name in CALL if name != "tenant_id"])
def test_a_key_of_another_call_is_another_key(member: str) -> None:
    assert scope(**CALL) != scope(**{**CALL, member: CALL[member] + "x"})
    assert scope(**CALL) != scope(**{**CALL, "tenant_id": "globex"})


RUNNING = Kept(token="t", body_sha256="00")
DONE = Kept(
    token="t",
    body_sha256="00",
    state="done",
    status=201,
    headers=((b"etag", b'"1"'),),
    body=b"made",
    body_bytes=4,
    answer_sha256="ff",
)


def test_what_is_remembered_is_pinned_byte_by_byte() -> None:
    assert msgspec.msgpack.encode(RUNNING).hex() == "82a5746f6b656ea174ab626f64795f736861323536a23030"
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(DONE), type=Kept) == DONE


def test_what_a_later_release_adds_is_ignored() -> None:
    later = msgspec.msgpack.encode({"token": "t", "body_sha256": "00", "state": "done", "colour": "blue"})
    assert msgspec.msgpack.decode(later, type=Kept).state == "done"
