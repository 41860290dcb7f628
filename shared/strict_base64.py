"""Base64 (RFC 4648 §4) with exactly one writing for each value, for what is signed, trusted or compared.

The last letter before the padding carries bits that a reader drops, so a lenient one accepts several texts for the
same bytes: a signature object that was altered would still verify. Here only the text that the encoder writes is read.
"""

from __future__ import annotations

import base64
import binascii


class StrictBase64Error(ValueError):
    """The text is not the base64 of anything. Never quotes the text."""


def decode(text: str) -> bytes:
    """The bytes whose base64 is exactly `text`: padded, without blanks or stray bits. Raises `StrictBase64Error`."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:  # the second: a letter beyond ASCII
        raise StrictBase64Error("must be standard base64") from error
    if base64.b64encode(data).decode() != text:
        raise StrictBase64Error("must be canonical base64")
    return data
