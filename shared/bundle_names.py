"""Names inside a bundle: which are acceptable, and which two cannot stand together.

Writer, reader and manifest ask here, so that a name that can be packed can be read and be pointed at. The rules are
those of the narrowest file system an unpacked bundle may meet: two names that differ only in case or in Unicode
normalisation would be one file there, and a name that is also a directory cannot exist at all.
"""

from __future__ import annotations

import bisect
import unicodedata
from typing import Final

from shared.limits import (
    BUNDLE_FILE_MAX_BYTES,
    BUNDLE_NAME_MAX_BYTES,
    BUNDLE_NAME_PART_MAX_BYTES,
    COMPONENT_MAX_BYTES,
    MANIFEST_MAX_BYTES,
)

MANIFEST_NAME: Final = "manifest.json"

_CONTROL: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})  # controls, lone surrogates, line and paragraph separators


class MemberNameError(ValueError):
    """A member name outside the rules. The message says what would be valid."""


def check_name(name: str) -> None:
    """Raise `MemberNameError` unless `name` is a relative path of acceptable parts, separated by `/`."""
    if any(unicodedata.category(letter) in _CONTROL for letter in name):
        raise MemberNameError("a name is UTF-8 without control characters")
    if "\\" in name:
        raise MemberNameError("a name has no backslash; parts are separated by /")
    if len(name.encode()) > BUNDLE_NAME_MAX_BYTES:
        raise MemberNameError(f"a name has at most {BUNDLE_NAME_MAX_BYTES} bytes of UTF-8")
    if name.startswith("/"):
        raise MemberNameError("a name is relative: no leading /")
    for part in name.split("/"):
        if part in ("", ".", ".."):
            raise MemberNameError("a name has no empty part, no . and no ..")
        if len(part.encode()) > BUNDLE_NAME_PART_MAX_BYTES:
            raise MemberNameError(f"a part of a name has at most {BUNDLE_NAME_PART_MAX_BYTES} bytes of UTF-8")


def member_max_bytes(name: str) -> int:
    """The size a member may have: WebAssembly outside the pages is a component, everything else an asset.

    The manifest has its own limit here already, so that a bomb in its place is refused by its header.
    """
    if name == MANIFEST_NAME:
        return MANIFEST_MAX_BYTES
    is_component = name.endswith(".wasm") and not name.startswith("ui/")
    return COMPONENT_MAX_BYTES if is_component else BUNDLE_FILE_MAX_BYTES


def fold(name: str) -> str:
    """What `name` becomes where neither case nor Unicode normalisation counts."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


class Names:
    """The names of one archive so far, each checked against all before it."""

    def __init__(self) -> None:
        # Folded, with / replaced by NUL: then everything below `a` sorts directly behind `a`, and one look at the
        # two neighbours finds a conflict. A set of all parent directories would let 10,000 names cost gigabytes.
        self._sorted: list[str] = []

    def __len__(self) -> int:
        return len(self._sorted)

    def add(self, name: str) -> None:
        """Take `name` in. Raises `MemberNameError`: not acceptable, or a twin, a parent or a child of an earlier one."""
        check_name(name)
        key = fold(name).replace("/", "\0")
        at = bisect.bisect_left(self._sorted, key)
        after = self._sorted[at] if at < len(self._sorted) else ""
        if after == key:
            raise MemberNameError("two names are equal after case folding and Unicode normalisation")
        if after.startswith(key + "\0") or (at and key.startswith(self._sorted[at - 1] + "\0")):
            raise MemberNameError("a name is a file and a directory at once")
        self._sorted.insert(at, key)
