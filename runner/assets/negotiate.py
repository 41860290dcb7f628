"""Conditional, partial and compressed answers (RFC 9110 §12.5.3, §13, §14): pure functions over header values.

What is not understood is ignored, as the RFC asks: a strange `Range` gives the whole file, a strange
`Accept-Encoding` the plain one. Several ranges at once are ignored too; nobody needs them here and answering them is
work an attacker can order cheaply (threat T49).
"""

from __future__ import annotations

import functools
import re
from typing import Final, NamedTuple

from runner.assets.index import Asset, Coding, Form

_RANGE: Final = re.compile(rb"bytes=([0-9]{0,15})-([0-9]{0,15})")
_CODING: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:[ \t]*;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?")
_OURS: Final[tuple[tuple[bytes, Coding], ...]] = ((b"zstd", "zstd"), (b"gzip", "gzip"))  # best first
_HEADER_MAX_BYTES: Final = 256  # browsers send 30; longer ones get the plain form


class Span(NamedTuple):
    """The first byte and the number of bytes of one range."""

    first: int
    length: int


def choose(asset: Asset, accept_encoding: bytes) -> Form:
    """The best stored form the client takes."""
    if accept_encoding and len(asset.forms) > 1:
        for coding in codings(accept_encoding[: _HEADER_MAX_BYTES + 1]):
            form = asset.forms.get(coding)
            if form is not None:
                return form
    return asset.forms["identity"]


@functools.lru_cache(maxsize=256)
def codings(accept_encoding: bytes) -> tuple[Coding, ...]:
    """Our compressed codings that the client takes, the one it likes best first; ours decide between equals."""
    if len(accept_encoding) > _HEADER_MAX_BYTES:
        return ()
    weights: dict[bytes, float] = {}
    for item in accept_encoding.split(b","):
        found = _CODING.fullmatch(item.strip(b" \t"))
        if found:
            weights[found[1].lower()] = float(found[2] or b"1")
    rest = weights.get(b"*", 0.0)
    taken = [(weights.get(name, rest), coding) for name, coding in _OURS]
    plain = weights.get(b"identity", 0.0)
    return tuple(coding for weight, coding in sorted(taken, key=lambda one: -one[0]) if weight > 0 and weight >= plain)


def unchanged(form: Form, if_none_match: bytes) -> bool:
    """Whether the client already has this form. Tags are compared weakly (§13.1.2), so a proxy's `W/` is harmless."""
    return form.etag in if_none_match or if_none_match.strip() == b"*"


def span(range_header: bytes, size: int) -> Span | None:
    """The part of `size` bytes that is asked for; `None` for the whole.

    Raises:
        ValueError: a well-formed range of which nothing exists (416).
    """
    found = _RANGE.fullmatch(range_header.strip())
    if not found or not (found[1] or found[2]):
        return None
    if not found[1]:
        length = min(int(found[2]), size)
        if not length:
            raise ValueError("an empty range")
        return Span(size - length, length)
    first = int(found[1])
    if found[2] and int(found[2]) < first:
        return None
    if first >= size:
        raise ValueError("a range behind the end")
    last = min(int(found[2] or size - 1), size - 1)
    return Span(first, last - first + 1)
