"""What can be published: only a well-formed bundle that a trusted key signed, byte for byte."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard

from deploy.local.record import Stack
from shared.bundle_writer import BundleDigest
from shared.digest import content_hash_of, sha256_hex
from shared.keys import PrivateKey
from tests.system.acting import Visitor, manifest, packed, signed


@pytest.fixture
def key(stack: Stack) -> PrivateKey:
    """The publisher's key, which the platform trusts."""
    return PrivateKey.from_pem(Path(stack.signing_key).read_text())


def smuggled(described: dict[str, Any]) -> tuple[bytes, BundleDigest]:
    """A bundle our own writer would refuse to write: only a manifest, whatever it says."""
    text = msgspec.json.encode(described)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in (("manifest.json", text), ("ui/index.html", b"<!doctype html>")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    data = zstandard.ZstdCompressor().compress(archive.getvalue())
    return data, BundleDigest(
        content_hash=content_hash_of(data),
        manifest_sha256=sha256_hex(text),
        component_sha256=None,
        size_bytes=len(data),
    )


async def test_a_ui_only_extension_is_published_without_a_compilation(
    admin: Visitor, key: PrivateKey, tmp_path: Path
) -> None:
    described = manifest("tests.ui-only", ui={"type": "iframe", "entry": "ui/index.html"})
    data, digest = packed(tmp_path, described, None)
    answer = await admin.publish(data, signed(described, digest, key))
    assert (answer.status, answer.json()["state"]) == (200, "ready")
    again = await admin.publish(data, signed(described, digest, key))
    assert again.json()["version_id"] == answer.json()["version_id"]


async def test_other_bytes_under_the_same_version_are_refused(admin: Visitor, key: PrivateKey, tmp_path: Path) -> None:
    described = manifest("tests.immutable", ui={"type": "iframe", "entry": "ui/index.html"})
    data, digest = packed(tmp_path, described, None)
    assert (await admin.publish(data, signed(described, digest, key))).status == 200
    changed = {**described, "description": "other bytes"}
    data, digest = packed(tmp_path, changed, None)
    answer = await admin.publish(data, signed(changed, digest, key))
    assert (answer.status, answer.code) == (409, "version_exists")


async def test_a_key_nobody_trusts_is_refused(admin: Visitor, tmp_path: Path) -> None:
    described = manifest("tests.stranger", ui={"type": "iframe", "entry": "ui/index.html"})
    data, digest = packed(tmp_path, described, None)
    answer = await admin.publish(data, signed(described, digest, PrivateKey.generate()))
    assert (answer.status, answer.code) == (422, "signature_untrusted_key")


async def test_a_publisher_the_key_is_not_for_is_refused(admin: Visitor, key: PrivateKey, tmp_path: Path) -> None:
    described = {**manifest("tests.impostor", ui={"type": "iframe", "entry": "ui/index.html"}), "publisher": "other"}
    data, digest = packed(tmp_path, described, None)
    answer = await admin.publish(data, signed(described, digest, key))
    assert (answer.status, answer.code) == (422, "signature_publisher_mismatch")


async def test_an_unsigned_bundle_is_refused(admin: Visitor, tmp_path: Path) -> None:
    described = manifest("tests.unsigned", ui={"type": "iframe", "entry": "ui/index.html"})
    data, _ = packed(tmp_path, described, None)
    answer = await admin.publish(data, None)
    assert (answer.status, answer.code) == (422, "signature_missing")


async def test_a_bundle_changed_after_signing_is_refused(admin: Visitor, key: PrivateKey, tmp_path: Path) -> None:
    described = manifest("tests.tampered", ui={"type": "iframe", "entry": "ui/index.html"})
    data, digest = packed(tmp_path, described, None)
    tampered = data[:-1] + bytes([data[-1] ^ 1])
    answer = await admin.publish(tampered, signed(described, digest, key))
    assert (answer.status, answer.code) == (422, "content_hash_mismatch")


async def test_a_wrong_declared_digest_is_refused(admin: Visitor, key: PrivateKey, tmp_path: Path) -> None:
    described = manifest("tests.misdeclared", ui={"type": "iframe", "entry": "ui/index.html"})
    data, digest = packed(tmp_path, described, None)
    answer = await admin.publish(data, signed(described, digest, key), declared_hash="sha256:" + "0" * 64)
    assert (answer.status, answer.code) == (422, "content_hash_mismatch")


async def test_a_signed_archive_that_is_none_is_rejected_with_a_reason(
    admin: Visitor, key: PrivateKey, tmp_path: Path
) -> None:
    described = manifest("tests.broken", ui={"type": "iframe", "entry": "ui/index.html"})
    _, digest = packed(tmp_path, described, None)
    garbage = b"this is no archive"
    answer = await admin.publish(garbage, signed(described, digest, key, content_hash=content_hash_of(garbage)))
    assert answer.json()["state"] == "rejected"
    assert answer.json()["reason"]["code"] == "bundle_invalid"


async def test_what_is_no_component_is_rejected_with_a_reason(admin: Visitor, key: PrivateKey, tmp_path: Path) -> None:
    described = manifest("tests.no-component")
    data, digest = packed(tmp_path, described, b"\0asm\x01\0\0\0")
    answer = await admin.publish(data, signed(described, digest, key))
    assert answer.json()["state"] == "rejected"
    assert answer.json()["reason"]["code"] == "component_invalid"


async def test_a_manifest_that_asks_too_much_is_rejected_with_its_path(
    admin: Visitor, key: PrivateKey, tmp_path: Path
) -> None:
    described = manifest("tests.greedy", limits={"memoryMb": 4096}, ui={"type": "iframe", "entry": "ui/index.html"})
    data, digest = smuggled(described)
    answer = await admin.publish(data, signed(described, digest, key))
    assert answer.json()["state"] == "rejected"
    assert answer.json()["reason"]["code"] == "manifest_invalid"
    assert "memoryMb" in str(answer.json()["reason"])


async def test_a_rejected_version_cannot_be_installed(admin: Visitor, key: PrivateKey, tmp_path: Path) -> None:
    described = manifest("tests.never")
    data, digest = packed(tmp_path, described, b"\0asm\x01\0\0\0")
    await admin.publish(data, signed(described, digest, key))
    answer = await admin.post("/api/installs", {"extension": "tests.never", "version": "1.0.0"})
    assert answer.status in (404, 409)
