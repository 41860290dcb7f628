"""Bundles as publish leaves them in the store: packed by the real writer, signed by a real key."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from wasmtime import wat2wasm

from shared.bundle_writer import write_bundle
from shared.ids import ContentHash, digest_hex
from shared.keys import PrivateKey
from shared.signing import BundleStatement, encode_envelope, sign_statement
from shared.trust import TrustStore

WAT = Path(__file__).parent / "sandbox" / "behaviours.wat"
PAGE = b"<!doctype html><title>hello</title><script type=module src=./app.js></script>"
SCRIPT = b"console.log('hello');\n" * 200
ISSUED_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """One bundle. `objects` is what the store holds of it; `size_bytes` of the archive."""

    content_hash: ContentHash
    statement: BundleStatement
    objects: dict[str, bytes]

    @property
    def archive_key(self) -> str:
        return f"sha256/{digest_hex(self.content_hash)}/bundle.tar.zst"

    @property
    def signature_key(self) -> str:
        return f"sha256/{digest_hex(self.content_hash)}/SIGNATURE.json"


def component(mark: bytes = b"") -> bytes:
    """A small component of our world; it imports logging and storage. `mark` makes another one of it (< 100 bytes)."""
    custom = b"\x04mark" + mark
    return bytes(wat2wasm(WAT.read_text())) + b"\x00" + bytes([len(custom)]) + custom


def manifest(**changes: Any) -> dict[str, Any]:
    """A manifest for `component()` with a UI; `None` leaves a member out."""
    whole = {
        "name": "com.acme.hello",
        "publisher": "acme",
        "version": "1.0.0",
        "runtime": "wasm-component@1",
        "capabilities": ["storage.kv"],
        "ui": {"type": "iframe", "entry": "ui/dist/index.html", "csp": {"imgSrc": ["https://img.example.com"]}},
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not None}


def publish(folder: Path, key: PrivateKey, files: Mapping[str, bytes] | None = None, **changes: Any) -> Published:
    """Pack and sign a bundle.

    Args:
        folder: an empty one for the sources.
        key: signs.
        files: members beside the manifest; by default a component and a small UI.
        changes: of the manifest.
    """
    members = files or {"dist/main.wasm": component(), "ui/dist/index.html": PAGE, "ui/dist/app.js": SCRIPT}
    tree = folder / "tree"
    for name, data in {**members, "manifest.json": msgspec.json.encode(manifest(**changes))}.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    archive = folder / "bundle.tar.zst"
    packed = write_bundle(tree, archive)
    said = manifest(**changes)
    statement = BundleStatement(
        content_hash=packed.content_hash,
        name=said["name"],
        publisher=said["publisher"],
        version=said["version"],
        manifest_sha256=packed.manifest_sha256,
        component_sha256=packed.component_sha256,
        issued_at=ISSUED_AT,
    )
    found = Published(content_hash=packed.content_hash, statement=statement, objects={})
    found.objects[found.archive_key] = archive.read_bytes()
    found.objects[found.signature_key] = encode_envelope(sign_statement(statement, key))
    return found


def trusting(*keys: PrivateKey) -> TrustStore:
    """A trust store that accepts these keys for every publisher."""
    return TrustStore("".join(key.public.pem() for key in keys))
