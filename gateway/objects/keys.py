"""Where things are in the bucket. Contracts: runners and the compiler read the same names."""

from __future__ import annotations

from shared.ids import ContentHash, digest_hex


def staging(upload_id: str) -> str:
    """An upload nobody vouched for yet."""
    return f"staging/{upload_id}/bundle.tar.zst"


def bundle(digest: ContentHash) -> str:
    """The archive; written once."""
    return f"sha256/{digest_hex(digest)}/bundle.tar.zst"


def manifest(digest: ContentHash) -> str:
    """The manifest the compiler found in the archive; written once."""
    return f"sha256/{digest_hex(digest)}/manifest.json"


def signature(digest: ContentHash) -> str:
    """The DSSE envelope; signatures can be added."""
    return f"sha256/{digest_hex(digest)}/SIGNATURE.json"
