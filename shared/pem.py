"""Key files as OpenSSL writes them: PEM blocks (RFC 7468) around a DER form with one fixed prefix (RFC 8410).

The keys of this platform are 32 bytes long, so each DER form is a constant and the key: no ASN.1 parser stands in the
trusted path. Which constant belongs to which algorithm is the business of `shared.keys` and `shared.sealing`.
"""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path
from typing import Final

import msgspec

from shared import strict_base64
from shared.strict_base64 import StrictBase64Error

RAW_BYTES: Final = 32
_BLOCK: Final = re.compile(r"-----BEGIN ([A-Z ]+)-----\s*([A-Za-z0-9+/=\s]*?)-----END \1-----")


class KeyFormatError(ValueError):
    """A PEM text that is not the key it should be. Never quotes the text."""


class KeyForm(msgspec.Struct, frozen=True):
    """One kind of key file.

    Attributes:
        label: between `BEGIN` and the dashes.
        prefix: the DER bytes before the key.
        what: how a message names such a key.
    """

    label: str
    prefix: bytes
    what: str

    def write(self, raw: bytes) -> str:
        """The PEM block of a key."""
        der = base64.b64encode(self.prefix + raw).decode()
        return f"-----BEGIN {self.label}-----\n{der}\n-----END {self.label}-----\n"

    def single(self, text: str) -> bytes:
        """The key of the only block with this label. Raises `KeyFormatError`."""
        bodies = self._bodies(text)
        if len(bodies) != 1:
            raise KeyFormatError(f"expected exactly one {self.label} block, found {len(bodies)}")
        return self._key(bodies[0])

    def some(self, text: str) -> list[bytes]:
        """The keys of one or more blocks with this label, in order. Raises `KeyFormatError`."""
        bodies = self._bodies(text)
        if not bodies:
            raise KeyFormatError(f"the text has no {self.label} block")
        return [self._key(body) for body in bodies]

    def _bodies(self, text: str) -> list[str]:
        return [body for label, body in _BLOCK.findall(text) if label == self.label]

    def _key(self, body: str) -> bytes:
        try:
            der = strict_base64.decode("".join(body.split()))
        except StrictBase64Error as error:
            raise KeyFormatError("the block is not base64") from error
        if not der.startswith(self.prefix) or len(der) != len(self.prefix) + RAW_BYTES:
            raise KeyFormatError(f"the block is not {self.what}")
        return der[len(self.prefix) :]


def write_private(path: Path, pem: str) -> None:
    """Write a key file with mode 0600. Raises `FileExistsError` rather than overwrite a key."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(pem)
