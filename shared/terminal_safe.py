r"""JSON as it may be printed: what a terminal would obey or a reader could be deceived by is written as `\uXXXX`.

JSON itself escapes only the controls below U+0020. A guest's line may also hold DEL, the C1 controls (U+009B begins an
escape sequence just as ESC [ does), line separators, and marks that turn the direction of writing around
(CVE-2021-42574). Escaped, the document means the same and shows everything (threat T28).
"""

from __future__ import annotations

import re
from typing import Final

# In UTF-8: DEL · C1 · U+061C · U+200B to U+200F · U+2028 to U+202E · U+2060 to U+206F · U+FEFF
_OBEYED: Final = re.compile(
    rb"\x7f|\xc2[\x80-\x9f]|\xd8\x9c|\xe2\x80[\x8b-\x8f\xa8-\xae]|\xe2\x81[\xa0-\xaf]|\xef\xbb\xbf"
)


def terminal_safe(document: bytes) -> bytes:
    """The same JSON document with those characters escaped.

    Args:
        document: valid JSON in UTF-8; outside of strings it holds none of them.
    """
    if document.isascii() and b"\x7f" not in document:
        return document
    return _OBEYED.sub(_escaped, document)


def _escaped(found: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(found[0].decode())
