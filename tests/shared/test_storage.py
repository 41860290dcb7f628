"""Names and sizes of records, and the bytes in which a runner asks for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import capabilities, storage
from shared.errors import StorageLimitExceeded, StorageValidationFailed
from shared.limits import STORAGE_KEY_MAX_CHARS, STORAGE_NAMESPACE_MAX_CHARS, STORAGE_VALUE_MAX_BYTES

GOLDEN = Path(__file__).parent.parent / "contract" / "golden" / "wire"

MESSAGES: dict[str, Any] = {
    "storage_get": storage.StorageGet(namespace="notes", key="ä:1", timeout_ms=4800),
    "storage_put": storage.StoragePut(namespace="notes", key="ä:1", value=b"\x00\xff", revision=3, timeout_ms=4800),
    "storage_put_any": storage.StoragePut(namespace="notes", key="ä:1", value=b"", timeout_ms=4800),
    "storage_delete": storage.StorageDelete(namespace="notes", key="ä:1", timeout_ms=4800),
    "storage_list": storage.StorageList(namespace="notes", cursor="ä:1", timeout_ms=4800),
    "storage_item": storage.StorageItem(key="ä:1", value=b"\x00\xff", revision=2**53),
    "storage_written": storage.StorageWritten(revision=4),
    "storage_deleted": storage.StorageDeleted(),
    "storage_items": storage.StorageItems(items=(storage.StorageItem(key="k", value=b"v", revision=1),)),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_the_bytes_of_each_message_are_pinned_and_read(name: str) -> None:
    golden = (GOLDEN / f"{name}.msgpack").read_bytes()
    assert msgspec.msgpack.encode(MESSAGES[name]) == golden
    assert msgspec.msgpack.decode(golden, type=type(MESSAGES[name])) == MESSAGES[name]


@pytest.mark.parametrize("name", MESSAGES)
def test_members_of_a_later_release_are_ignored(name: str) -> None:
    later = msgspec.msgpack.decode((GOLDEN / f"{name}.msgpack").read_bytes()) | {"later": [1, {"deep": None}]}
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(later), type=type(MESSAGES[name])) == MESSAGES[name]


def test_the_capability_is_the_one_that_opens_the_interface() -> None:
    assert capabilities.INTERFACES["storage"] == storage.CAPABILITY


NAMES = [(storage.check_namespace, STORAGE_NAMESPACE_MAX_CHARS), (storage.check_key, STORAGE_KEY_MAX_CHARS)]
each_name = pytest.mark.parametrize(("check", "max_chars"), NAMES, ids=["namespace", "key"])


@each_name
def test_a_name_may_have_so_many_characters_and_no_more(check: Any, max_chars: int) -> None:
    for accepted in ("k", "k" * (max_chars - 1), "😀" * max_chars):
        check(accepted)
    for refused in ("", "k" * (max_chars + 1), "k" * 1_000_000):
        with pytest.raises(StorageValidationFailed, match=f"1-{max_chars} characters"):
            check(refused)


@each_name
@pytest.mark.parametrize("text", ["..", ".", "a b", "a:}{*", "\n\r\t", "%2F", "\\", "'; drop table x; --", "\x7f", "­"])
def test_a_name_is_data_whatever_it_looks_like(check: Any, max_chars: int, text: str) -> None:
    check(text)


@each_name
@pytest.mark.parametrize("text", ["../other-tenant/x", "/", "a\x00b", "\x00", "a\ud800"])
def test_a_name_that_two_readers_could_read_differently_is_refused(check: Any, max_chars: int, text: str) -> None:
    with pytest.raises(StorageValidationFailed) as refused:
        check(text)
    assert "other-tenant" not in refused.value.detail


def test_a_cursor_may_be_anything_that_can_be_compared_with_a_key() -> None:
    for accepted in ("", "a/b", "k" * STORAGE_KEY_MAX_CHARS):
        storage.check_cursor(accepted)
    for refused in ("\x00", "k" * (STORAGE_KEY_MAX_CHARS + 1), "\ud800"):
        with pytest.raises(StorageValidationFailed):
            storage.check_cursor(refused)


def test_a_value_may_have_so_many_bytes_and_no_more() -> None:
    for size in (0, STORAGE_VALUE_MAX_BYTES - 1, STORAGE_VALUE_MAX_BYTES):
        storage.check_value(b"x" * size)
    with pytest.raises(StorageLimitExceeded, match=str(STORAGE_VALUE_MAX_BYTES)):
        storage.check_value(b"x" * (STORAGE_VALUE_MAX_BYTES + 1))


@given(st.text(max_size=300))
def test_what_is_accepted_as_a_key_can_be_stored_and_addressed(text: str) -> None:
    try:
        storage.check_key(text)
    except StorageValidationFailed:
        assert not text or len(text) > STORAGE_KEY_MAX_CHARS or "/" in text or "\0" in text
    else:
        assert text.encode().decode() == text
        assert len(text.encode()) <= 4 * STORAGE_KEY_MAX_CHARS
