"""SHA-256, the only digest of the platform (FIPS 180-4), over bytes and over files."""

from __future__ import annotations

import hashlib
from pathlib import Path

from shared.ids import ContentHash

CHUNK_BYTES = 1 << 20  # 1 MiB: large enough that the hash, not the read, is the cost


def sha256_hex(data: bytes | bytearray | memoryview) -> str:
    """64 lower-case hex digits of SHA-256 over `data`."""
    return hashlib.sha256(data).hexdigest()


def content_hash_of(data: bytes | bytearray | memoryview) -> ContentHash:
    """`sha256:<hex>` over `data`, the form in which bundles are named."""
    return ContentHash(f"sha256:{sha256_hex(data)}")


def file_sha256_hex(path: Path) -> str:
    """SHA-256 of a file's bytes, read in chunks so that memory stays flat."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
