"""Takes secret values out of text before it leaves: raw, and as URLs, JSON, base64 and Python write them (threat T29).

One `Redactor` belongs to one execution. It is told each value before the guest learns it and is asked about every
text that leaves afterwards: debug events, error answers, log lines. Values below `SECRET_REDACTED_MIN_BYTES` stand in
every other line by chance and stay; other encodings are not promised, since a guest that wants to can invent one.

Log lines are written far from the execution they are about. `redacting` makes a redactor the current one for a block,
`redact_from_here` for the rest of a task, and `shared.logs` asks `redact_current` for every line.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Generator, Iterator
from contextvars import ContextVar
from typing import Final
from urllib.parse import quote, quote_plus

from shared.limits import SECRET_REDACTED_MIN_BYTES

REDACTED: Final = "***"

_PIECE_MIN_CHARS: Final = 4  # of a value's beginning or end that is recognised where a text was cut
_HEX_ESCAPE: Final = re.compile(r"%[0-9A-F]{2}")
_UNICODE_ESCAPE: Final = re.compile(r"\\u[0-9a-f]{4}")
_BASE64: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_")

_FOR_PAGES: Final = {ord(character): f"\\u{ord(character):04x}" for character in "<>&'"}  # some writers' habit

# What each usual encoder leaves as it is, beside letters, digits and `_.-`.
_URL_SAFE: Final = (
    "~",  # RFC 3986 §2.3, everything else escaped
    "/~",  # a path
    "~!'()*",  # encodeURIComponent
    "~!'()*;,/?:@&=+$#[]",  # encodeURI
)


class Redactor:
    """The values of one execution. Forms are worked out when a text is first asked about, so an unread one costs nothing."""

    __slots__ = ("_base64", "_plain", "_values")

    def __init__(self) -> None:
        self._values: list[str] = []
        self._plain: list[str] | None = None
        self._base64: list[str] = []

    def __repr__(self) -> str:
        return f"Redactor({len(self._values)} values)"

    def conceal(self, value: str) -> None:
        """Write `***` instead of this value, and instead of each of its lines, from now on."""
        if value in self._values or len(value.encode("utf-8", "surrogatepass")) < SECRET_REDACTED_MIN_BYTES:
            return
        self._values.append(value)
        self._plain = None

    def clean(self, text: str, *, begins_inside: bool = False, ends_inside: bool = False) -> str:
        """`text` without any value.

        Args:
            begins_inside: the text is the rest of a longer one, so it may begin with the end of a value.
            ends_inside: the text was cut, so it may end with the beginning of a value.
        """
        if not self._values:
            return text
        if self._plain is None:
            self._plain, self._base64 = _forms(self._values)
        for form in self._plain:
            text = text.replace(form, REDACTED)
        for form in self._base64:
            text = _without_base64(text, form)
        if ends_inside:
            text = _without_beginning(text, [*self._plain, *self._base64])
        if begins_inside:
            text = _without_end(text, [*self._plain, *self._base64])
        return text

    def clean_bytes(self, data: bytes) -> bytes:
        """`data`, taken as UTF-8 with anything in between, without any value."""
        if not self._values:
            return data
        text = data.decode("utf-8", "surrogateescape")
        cleaned = self.clean(text)
        return data if cleaned == text else cleaned.encode("utf-8", "surrogateescape")


_current: Final[ContextVar[Redactor | None]] = ContextVar("redactor", default=None)


@contextlib.contextmanager
def redacting(redactor: Redactor) -> Generator[None, None, None]:
    """Log lines written in this block, and by tasks that begin in it, are cleaned by `redactor`."""
    token = _current.set(redactor)
    try:
        yield
    finally:
        _current.reset(token)


def redact_from_here(redactor: Redactor) -> None:
    """Log lines of this task, and of tasks that it begins, are cleaned by `redactor` from now on."""
    _current.set(redactor)


def redact_current(text: str) -> str:
    """`text` without the values of the execution it is written in; unchanged outside of one."""
    redactor = _current.get()
    return text if redactor is None else redactor.clean(text)


# ---- how a value can be written -----------------------------------------------------------------------------


def _forms(values: list[str]) -> tuple[list[str], list[str]]:
    """Every form of every value, the longest first, so that one value inside another leaves nothing of either."""
    plain: set[str] = set()
    encoded: set[str] = set()
    for value in values:
        # A guest's output arrives line by line, so a value of several lines is never seen whole.
        lines = (line.strip() for line in value.splitlines())
        plain |= {line for line in lines if len(line.encode("utf-8", "surrogatepass")) >= SECRET_REDACTED_MIN_BYTES}
        plain |= {value, *_as_json(value), *_as_url(value), *_as_python(value)}
        encoded |= set(_as_base64(value))
    return sorted(plain, key=len, reverse=True), sorted(encoded, key=len, reverse=True)


def _as_json(value: str) -> Iterator[str]:
    """Inside the quotes of a JSON string (RFC 8259 §7), as the usual writers escape."""
    for ascii_only in (True, False):
        text = json.dumps(value, ensure_ascii=ascii_only)[1:-1]
        for written in (text, text.replace("/", "\\/"), text.translate(_FOR_PAGES)):
            yield written
            yield _UNICODE_ESCAPE.sub(lambda escape: escape[0][:2] + escape[0][2:].upper(), written)


def _as_python(value: str) -> Iterator[str]:
    """As a Python program shows text and bytes: guests print that, and so do our own log lines."""
    yield from (repr(value)[1:-1], ascii(value)[1:-1], repr(value.encode("utf-8", "surrogatepass"))[2:-1])


def _as_url(value: str) -> Iterator[str]:
    """Percent-encoded (RFC 3986 §2.1), in both cases of the digits, and as HTML forms write it."""
    data = value.encode("utf-8", "surrogatepass")
    for text in (*(quote(data, safe=safe) for safe in _URL_SAFE), quote_plus(data), quote_plus(data, safe="*")):
        for written in (text, text.replace("~", "%7E")):
            yield written
            yield _HEX_ESCAPE.sub(lambda escape: escape[0].lower(), written)


def _as_base64(value: str) -> Iterator[str]:
    """What base64 (RFC 4648 §4, §5) makes of the value at each of the three places it can have in a longer text.

    Of the first and last character some bits may belong to what stands beside; they are left out here and taken along
    when the rest is found.
    """
    data = value.encode("utf-8", "surrogatepass")
    for before in range(3):
        text = base64.b64encode(bytes(before) + data).decode()
        whole = text[-(-8 * before // 6) : 8 * (before + len(data)) // 6]
        yield whole
        yield whole.replace("+", "-").replace("/", "_")


def _without_base64(text: str, form: str) -> str:
    start = text.find(form)
    while start >= 0:
        end = start + len(form)
        if start > 0 and text[start - 1] in _BASE64:
            start -= 1
        if end < len(text) and text[end] in _BASE64:
            end += 1
        while end < len(text) and text[end] == "=":
            end += 1
        text = text[:start] + REDACTED + text[end:]
        start = text.find(form, start + len(REDACTED))
    return text


# ---- where a text was cut -----------------------------------------------------------------------------------


def _without_beginning(text: str, forms: list[str]) -> str:
    """`text` without the longest beginning of a form that it ends with."""
    first = len(text)
    for form in forms:
        start = text.find(form[:_PIECE_MIN_CHARS], max(0, len(text) - len(form) + 1))
        while 0 <= start < first:
            if form.startswith(text[start:]):
                first = start
            start = text.find(form[:_PIECE_MIN_CHARS], start + 1)
    return text if first == len(text) else text[:first] + REDACTED


def _without_end(text: str, forms: list[str]) -> str:
    """`text` without the longest end of a form that it begins with."""
    last = 0
    for form in forms:
        end = text.rfind(form[-_PIECE_MIN_CHARS:], 0, len(form) - 1)
        while end >= 0 and end + _PIECE_MIN_CHARS > last:
            if form.endswith(text[: end + _PIECE_MIN_CHARS]):
                last = end + _PIECE_MIN_CHARS
            end = text.rfind(form[-_PIECE_MIN_CHARS:], 0, end + _PIECE_MIN_CHARS - 1)
    return text if last == 0 else REDACTED + text[last:]
