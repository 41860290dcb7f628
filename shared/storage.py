"""Storage: what a record may be called and how large it may be, and the messages in which runners ask for records.

An install's records lie in namespaces; a key is ordered bytewise by its UTF-8. Namespaces and keys are data and never
part of a path or a statement, so that any character may stand in them but two: `/`, by which the REST form tells a
key's end, and U+0000, which PostgreSQL cannot hold.

A revision starts at 1 and rises by 1 with each write; what is absent counts as revision 0, so that a write that
expects 0 creates and never overwrites.

The messages are MessagePack maps. Evolution rule: as in `shared.wire`.
"""

from __future__ import annotations

from typing import Final

from shared.errors import StorageLimitExceeded, StorageValidationFailed
from shared.limits import STORAGE_KEY_MAX_CHARS, STORAGE_NAMESPACE_MAX_CHARS, STORAGE_VALUE_MAX_BYTES
from shared.wire import Message

CAPABILITY: Final = "cap:storage.kv"

GET_PATH: Final = "/internal/storage/get"
PUT_PATH: Final = "/internal/storage/put"
DELETE_PATH: Final = "/internal/storage/delete"
LIST_PATH: Final = "/internal/storage/list"

_SPELLED: Final = {"/": "'/'", "\0": "U+0000"}

REVISION_MAX: Final = 2**63 - 1  # what the database counts to; a larger one is nobody's current revision


class StorageGet(Message, frozen=True, kw_only=True):
    """One record → `StorageItem`.

    Attributes:
        timeout_ms: what is left of the guest's call; like this in each question.
    """

    namespace: str
    key: str
    timeout_ms: int


class StoragePut(Message, frozen=True, kw_only=True):
    """Write one record, which then has neither metadata nor an end → `StorageWritten`.

    Attributes:
        revision: the one that must be current, 0 for an absent record; none: whatever is there is overwritten.
    """

    namespace: str
    key: str
    value: bytes
    revision: int | None = None
    timeout_ms: int


class StorageDelete(Message, frozen=True, kw_only=True):
    """Remove one record → `StorageDeleted`."""

    namespace: str
    key: str
    timeout_ms: int


class StorageList(Message, frozen=True, kw_only=True):
    """A page of records with keys after `cursor` → `StorageItems`."""

    namespace: str
    cursor: str | None = None
    timeout_ms: int


class StorageItem(Message, frozen=True, kw_only=True):
    """One record."""

    key: str
    value: bytes
    revision: int


class StorageWritten(Message, frozen=True, kw_only=True):
    """A record was written and has this revision now."""

    revision: int


class StorageDeleted(Message, frozen=True, kw_only=True):
    """A record was removed."""


class StorageItems(Message, frozen=True, kw_only=True):
    """Records in the order of their keys; fewer than a page may hold means that there are no more."""

    items: tuple[StorageItem, ...]


def check_namespace(text: str) -> None:
    """Raise `StorageValidationFailed` unless `text` can name a namespace."""
    _check_name("a namespace", text, STORAGE_NAMESPACE_MAX_CHARS)


def check_key(text: str) -> None:
    """Raise `StorageValidationFailed` unless `text` can be a key."""
    _check_name("a key", text, STORAGE_KEY_MAX_CHARS)


def check_cursor(text: str) -> None:
    """Raise `StorageValidationFailed` unless `text` can be compared with keys; the empty text is before all of them."""
    if text:
        _check_text("a cursor", text, STORAGE_KEY_MAX_CHARS, forbidden="\0")


def check_value(value: bytes) -> None:
    """Raise `StorageLimitExceeded` unless `value` is small enough."""
    if len(value) > STORAGE_VALUE_MAX_BYTES:
        raise StorageLimitExceeded(f"a value may have at most {STORAGE_VALUE_MAX_BYTES} bytes")


def _check_name(what: str, text: str, max_chars: int) -> None:
    _check_text(what, text, max_chars, forbidden="/\0")


def _check_text(what: str, text: str, max_chars: int, *, forbidden: str) -> None:
    if not 1 <= len(text) <= max_chars or any(character in text for character in forbidden) or not _is_unicode(text):
        without = " and ".join(_SPELLED[character] for character in forbidden)
        raise StorageValidationFailed(f"{what} must be 1-{max_chars} characters without {without}")


def _is_unicode(text: str) -> bool:
    """Whether `text` can be written as UTF-8: it holds no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
