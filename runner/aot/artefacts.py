"""The form in which native code is stored, and the signature without which nobody maps it.

    aot/<engine_id>/<component_sha256>.cwasm.zst        what wasmtime serialised, one zstd frame
    aot/<engine_id>/<component_sha256>.cwasm.zst.sig    JSON {statement, key_id, signature}

`.cwasm` is machine code: whoever can make a runner load one owns its sandboxes. So the compiler signs (Ed25519) which
component, which engine and which bytes belong together, and a runner compares all three with what it asked for. The
digest is over the compressed bytes, so that nothing unverified is decompressed. The signature is over DSSE's PAE with
a payload type of its own: no signature made for another purpose fits here. Both JSON texts are read strictly and base64 has one writing, so that no
byte of either object can be changed without being noticed.
"""

from __future__ import annotations

import base64
import fcntl
import os
from collections.abc import Iterable
from typing import Final

import msgspec
import rfc8785
import zstandard

from shared import strict_base64
from shared.digest import sha256_hex
from shared.keys import PrivateKey, PublicKey
from shared.limits import GIB, KIB, MIB, ZSTD_WINDOW_MAX_BYTES
from shared.signing import pre_authentication_encoding
from shared.strict_base64 import StrictBase64Error
from shared.strict_json import StrictJsonError, loads

ROOT: Final = "aot/"
ARTEFACT_MAX_BYTES: Final = 1 * GIB  # decompressed; 128 MiB of component make about 400
ARTEFACT_STORED_MAX_BYTES: Final = 256 * MIB  # compressed; native code shrinks to less than a third
SIGNATURE_MAX_BYTES: Final = 8 * KIB  # ours has 700 bytes
PAYLOAD_TYPE: Final = "application/vnd.alga.artefact+json"
_LEVEL: Final = 9  # 35 MiB of native code become 10 in 0.8 s
_PART_BYTES: Final = 1 * MIB
_MAX_DEPTH: Final = 2  # both objects are flat
_SEALS: Final = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class ArtefactTamperedError(Exception):
    """The bytes are not what the compiler signed for this component and engine. The text says which check failed."""


class Statement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the compiler vouches for; digests are 64 hex digits of SHA-256. Other fields are another payload type."""

    component_digest: str
    engine_id: str
    cpu_target: str
    artefact_sha256: str


class Signed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `.sig` object. `statement` and `signature` are base64; the statement's bytes are RFC 8785 JSON."""

    statement: str
    key_id: str
    signature: str


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What a loader asked for."""

    component_sha256: str
    engine_id: str
    cpu_target: str


def object_key(engine_id: str, component_sha256: str) -> str:
    """The artefact's key in the store."""
    return f"{ROOT}{engine_id}/{component_sha256}.cwasm.zst"


def signature_key(engine_id: str, component_sha256: str) -> str:
    """The signature's key in the store."""
    return f"{object_key(engine_id, component_sha256)}.sig"


def pack(cwasm: bytes) -> bytes:
    """The stored form of native code. The same input gives the same bytes."""
    return zstandard.ZstdCompressor(level=_LEVEL, write_content_size=True, write_checksum=False).compress(cwasm)


def sign(key: PrivateKey, expected: Expected, stored: bytes) -> bytes:
    """The `.sig` object for `stored`."""
    statement = rfc8785.dumps(
        {
            "component_digest": expected.component_sha256,
            "engine_id": expected.engine_id,
            "cpu_target": expected.cpu_target,
            "artefact_sha256": sha256_hex(stored),
        }
    )
    return msgspec.json.encode(
        Signed(
            statement=base64.b64encode(statement).decode(),
            key_id=key.key_id,
            signature=base64.b64encode(key.sign(pre_authentication_encoding(PAYLOAD_TYPE, statement))).decode(),
        )
    )


def verify(signature: bytes, stored: bytes, expected: Expected, keys: Iterable[PublicKey]) -> None:
    """Return when a trusted compiler signed exactly these bytes for exactly this component and engine.

    Raises:
        ArtefactTamperedError: in every other case.
    """
    try:
        signed = msgspec.convert(loads(signature, max_bytes=SIGNATURE_MAX_BYTES, max_depth=_MAX_DEPTH), Signed)
        statement = strict_base64.decode(signed.statement)
        made = strict_base64.decode(signed.signature)
    except (StrictJsonError, msgspec.ValidationError, StrictBase64Error) as error:
        raise ArtefactTamperedError("the signature object is not one") from error
    key = next((key for key in keys if key.key_id == signed.key_id), None)
    if key is None:
        raise ArtefactTamperedError(f"signed by key {signed.key_id[:16]!r}, which RUNNER_AOT_PUBLIC_KEYS lacks")
    if not key.verify(pre_authentication_encoding(PAYLOAD_TYPE, statement), made):
        raise ArtefactTamperedError("the signature does not fit the statement")
    try:
        said = msgspec.convert(loads(statement, max_bytes=SIGNATURE_MAX_BYTES, max_depth=_MAX_DEPTH), Statement)
    except (StrictJsonError, msgspec.ValidationError) as error:
        raise ArtefactTamperedError("the signed statement is not one") from error
    for name, found, wanted in (
        ("component", said.component_digest, expected.component_sha256),
        ("engine", said.engine_id, expected.engine_id),
        ("cpu target", said.cpu_target, expected.cpu_target),
        ("bytes", said.artefact_sha256, sha256_hex(stored)),
    ):
        if found != wanted:
            raise ArtefactTamperedError(f"signed for another {name}")


def unpack_sealed(stored: bytes) -> tuple[int, int]:
    """Decompress verified bytes into a sealed memfd: what was verified is what gets mapped, for good.

    Returns:
        The descriptor (close-on-exec, the caller's to close) and the size in bytes.

    Raises:
        ArtefactTamperedError: not one zstd frame within the limits.
        OSError: no memory.
    """
    descriptor = os.memfd_create("alga-cwasm", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        size = _decompress(stored, descriptor)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, size


def _decompress(stored: bytes, descriptor: int) -> int:
    size = 0
    try:
        announced = zstandard.get_frame_parameters(stored).content_size
        if announced > ARTEFACT_MAX_BYTES:  # an unknown size is the largest number
            raise ArtefactTamperedError(f"native code of more than {ARTEFACT_MAX_BYTES} bytes, or of unknown length")
        reader = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_MAX_BYTES).stream_reader(stored)
        while part := reader.read(_PART_BYTES):
            size += len(part)
            rest = memoryview(part)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
    except zstandard.ZstdError as error:
        raise ArtefactTamperedError("not a zstd frame") from error
    if size != announced:
        raise ArtefactTamperedError("the zstd frame ends early")
    return size
