"""Bundles as the gateway sees them: bytes it never opens, a signature over a statement, and what a compiler says."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from shared.digest import content_hash_of, sha256_hex
from shared.ids import ContentHash
from shared.keys import PrivateKey
from shared.signing import BundleStatement, sign_statement
from shared.wire import PrepareResponse

COMPONENT = sha256_hex(b"component")


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """One bundle: archive bytes, manifest, and its author's key."""

    data: bytes
    manifest: dict[str, Any]
    component_sha256: str | None = COMPONENT

    @property
    def digest(self) -> ContentHash:
        return content_hash_of(self.data)

    def statement(self, **changes: Any) -> BundleStatement:
        fields: dict[str, Any] = {
            "content_hash": self.digest,
            "name": self.manifest["name"],
            "publisher": self.manifest["publisher"],
            "version": self.manifest["version"],
            "manifest_sha256": sha256_hex(msgspec.json.encode(self.manifest)),
            "component_sha256": self.component_sha256,
            "issued_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        }
        return BundleStatement(**(fields | changes))

    def signature(self, key: PrivateKey, **changes: Any) -> Any:
        return msgspec.json.decode(msgspec.json.encode(sign_statement(self.statement(**changes), key)))

    def found(self, **changes: Any) -> PrepareResponse:
        fields: dict[str, Any] = {
            "content_hash": self.digest,
            "component_sha256": self.component_sha256,
            "imports": (),
            "exports": ("handler",),
            "initial_memory_bytes": 65536,
            "sizes": {},
            "manifest": msgspec.json.encode(self.manifest),
            "artefact": "compiled" if self.component_sha256 else "none",
        }
        return PrepareResponse(**(fields | changes))


def bundle(
    name: str = "acme.crm", version: str = "1.0.0", publisher: str = "acme", salt: str = "", **manifest: Any
) -> Bundle:
    """A bundle whose bytes differ for each name, version and salt."""
    document: dict[str, Any] = {
        "name": name,
        "publisher": publisher,
        "version": version,
        "runtime": "wasm-component@1",
        "api": {"endpoints": [{"method": "GET", "path": "/agreements/:id", "timeoutMs": 1000}]},
    } | manifest
    return Bundle(data=f"archive {publisher} {name} {version} {salt}".encode(), manifest=document)
