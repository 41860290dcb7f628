"""Undoes the one content coding an answer may have (RFC 9110 §8.4.1), and stops where the answer gets too large.

What is counted is what comes out: ten megabytes of gzip can be ten gigabytes (threat T09). Output is asked for piece by
piece, so memory holds the limit and one piece, never what a piece of input could become. A coding that cannot be undone
here cannot be counted either, so it is refused.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

from runner.egress.failures import Failure, TransportError
from shared.limits import EGRESS_RESPONSE_MAX_BYTES, MIB

_PIECE_BYTES: Final = 256 * 1024
_GZIP: Final = 16 + zlib.MAX_WBITS  # zlib's own flag for the gzip wrapper
_ZLIB: Final = zlib.MAX_WBITS
_BARE: Final = -zlib.MAX_WBITS  # what some servers call deflate

ACCEPTED: Final = "gzip"
"""What is offered when the guest does not say; `deflate` is understood, but means two things."""


def coding_of(values: list[str]) -> str:
    """The coding that `content-encoding` names: `gzip`, `deflate`, or nothing.

    Raises:
        TransportError: there are several, or it is another one.
    """
    named = [word for value in values for part in value.split(",") if (word := part.strip().lower())]
    named = ["gzip" if word == "x-gzip" else word for word in named if word != "identity"]
    if not named:
        return ""
    if len(named) > 1:
        raise TransportError(Failure.CODING, f"the answer has {len(named)} content codings; one at most is undone")
    if named[0] not in ("gzip", "deflate"):
        raise TransportError(
            Failure.CODING,
            "the answer has a content coding that is not gzip or deflate; ask for one of them in accept-encoding",
        )
    return named[0]


class Body:
    """Collects the body of an answer, decoded.

    Args:
        coding: from `coding_of`.
        max_bytes: of what comes out.
    """

    def __init__(self, coding: str, max_bytes: int = EGRESS_RESPONSE_MAX_BYTES) -> None:
        self._coding = coding
        self._max_bytes = max_bytes
        self._out = bytearray()
        self._inflater: zlib._Decompress | None = None
        self._begun = False

    def feed(self, data: bytes) -> None:
        """Take a piece as it came. Raises `TransportError` for one byte too many, or what is not the coding."""
        if not self._coding:
            self._add(data)
            return
        for piece in self._inflated(data):
            self._add(piece)

    def finish(self) -> bytes:
        """The whole body. Raises `TransportError` when the coding did not end."""
        if self._inflater is not None and not self._inflater.eof:
            raise TransportError(Failure.BROKEN, f"the answer's {self._coding} ends too early")
        return bytes(self._out)

    def _add(self, data: bytes) -> None:
        if len(self._out) + len(data) > self._max_bytes:
            raise too_large(self._max_bytes)
        self._out += data

    def _inflated(self, data: bytes) -> Iterator[bytes]:
        more = bool(data)
        while more:
            if self._inflater is None:
                if self._begun and self._coding != "gzip":
                    return  # what follows a deflate stream belongs to nothing
                self._inflater = zlib.decompressobj(self._window(data))
                self._begun = True
            try:
                piece = self._inflater.decompress(data, _PIECE_BYTES)
            except zlib.error as error:
                raise TransportError(Failure.BROKEN, f"the answer is not valid {self._coding}") from error
            yield piece
            data = self._inflater.unconsumed_tail
            more = bool(data) or len(piece) == _PIECE_BYTES  # a full piece: more may come out though nothing goes in
            if self._inflater.eof:
                # RFC 1952 §2.2: a gzip file may have several members, one after the other.
                data = self._inflater.unused_data.lstrip(b"\0")
                self._inflater = None
                more = bool(data)

    def _window(self, data: bytes) -> int:
        if self._coding == "gzip":
            return _GZIP
        wrapped = data[0] & 0x0F == 8 and (len(data) < 2 or (data[0] << 8 | data[1]) % 31 == 0)  # RFC 1950 §2.2
        return _ZLIB if wrapped else _BARE


def too_large(max_bytes: int) -> TransportError:
    """The refusal of an answer beyond `max_bytes`."""
    return TransportError(
        Failure.RESPONSE_TOO_LARGE, f"the answer is larger than {max_bytes / MIB:g} MiB after decoding; ask for less"
    )
