"""The storage of the host for tests: in memory, with the platform's rules. Names, order, revisions, limits, quotas and
errors are the platform's, so that what passes here works there.
"""

from __future__ import annotations

from alga_extension.arguments import as_bytes, as_optional_text, as_revision, as_text
from alga_extension.errors import HostError
from alga_extension.records import StorageEntry

NAMESPACE_CHARS = 128
KEY_CHARS = 256
VALUE_BYTES = 64 * 1024
NAMESPACES = 32
KEYS_PER_NAMESPACE = 5120
BYTES = 256 * 1024 * 1024
PAGE_ENTRIES = 100


class MockStorage:
    """Records of one install."""

    def __init__(self) -> None:
        self._namespaces: dict[str, dict[str, StorageEntry]] = {}
        self._bytes = 0

    def get(self, namespace: str, key: str) -> StorageEntry:
        """One entry. Codes: `missing`, `internal` for a name that is none."""
        namespace, key = _names(namespace, key)
        held = self._namespaces.get(namespace, {}).get(key)
        if held is None:
            raise _refused("missing")
        return held

    def put(self, namespace: str, key: str, value: bytes | str, *, revision: int | None = None) -> StorageEntry:
        """Write one entry. Codes: `conflict`, `denied` for a limit or a quota, `internal` for a name that is none."""
        data, expected = as_bytes(value, "a value"), as_revision(revision)
        namespace, key = _names(namespace, key)
        if len(data) > VALUE_BYTES:
            raise _refused("denied")
        held = self._namespaces.get(namespace, {}).get(key)
        current = held.revision if held is not None and held.revision is not None else 0
        if expected is not None and expected != current:
            raise _refused("conflict")
        grown = self._bytes + len(data) - (len(held.value) if held is not None else 0)
        if grown > BYTES or not self._has_room(namespace, held):
            raise _refused("denied")
        entry = StorageEntry(namespace, key, data, current + 1)
        self._namespaces.setdefault(namespace, {})[key] = entry
        self._bytes = grown
        return entry

    def delete(self, namespace: str, key: str) -> None:
        """Remove one entry. Codes: `missing`, `internal` for a name that is none."""
        held = self.get(namespace, key)
        entries = self._namespaces[held.namespace]
        del entries[held.key]
        if not entries:
            del self._namespaces[held.namespace]
        self._bytes -= len(held.value)

    def list_entries(self, namespace: str, cursor: str | None = None) -> list[StorageEntry]:
        """At most 100 entries, ordered by the bytes of their keys, those after `cursor`."""
        namespace, after = as_text(namespace, "a namespace"), as_optional_text(cursor, "a cursor") or ""
        if not _is_text(namespace, NAMESPACE_CHARS, "/\0") or (after and not _is_text(after, KEY_CHARS, "\0")):
            raise _refused("internal")
        entries = self._namespaces.get(namespace, {})
        keys = sorted((key for key in entries if key.encode() > after.encode()), key=str.encode)
        return [entries[key] for key in keys[:PAGE_ENTRIES]]

    def _has_room(self, namespace: str, held: StorageEntry | None) -> bool:
        entries = self._namespaces.get(namespace)
        if entries is None:
            return len(self._namespaces) < NAMESPACES
        return held is not None or len(entries) < KEYS_PER_NAMESPACE


def _refused(code: str) -> HostError:
    return HostError("storage", code)


def _names(namespace: str, key: str) -> tuple[str, str]:
    namespace, key = as_text(namespace, "a namespace"), as_text(key, "a key")
    if not _is_text(namespace, NAMESPACE_CHARS, "/\0") or not _is_text(key, KEY_CHARS, "/\0"):
        raise _refused("internal")
    return namespace, key


def _is_text(text: str, max_chars: int, forbidden: str) -> bool:
    return 1 <= len(text) <= max_chars and not any(character in text for character in forbidden)
