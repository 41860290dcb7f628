"""Exhaustively: whichever byte of a bundle, its envelope, its manifest, its component or its native code is altered, and
whichever bit of it, nothing of it is accepted."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from runner.aot import artefacts
from runner.aot.artefacts import ArtefactTamperedError, Expected
from runner.aot.contents import read_contents
from shared.bundle_reader import read_bundle
from shared.digest import content_hash_of
from shared.errors import BundleRefused, ManifestInvalid, PlatformError
from shared.keys import PrivateKey
from shared.signing import BundleStatement, decode_envelope, verify_envelope
from tests.runner.aot.signed_code import AOT, CPU, ENGINE, pair
from tests.runner.published import Published, publish, trusting
from tests.shared.tar_parts import bundle, member

KEY = PrivateKey(bytes([5]) * 32)
TRUST = trusting(KEY).current()
FILES = {"dist/main.wasm": b"\0asm\x0d\0\x01\0" + b"component" * 8, "ui/dist/index.html": b"<!doctype html>"}


@pytest.fixture(name="published", scope="module")
def a_published_bundle(tmp_path_factory: pytest.TempPathFactory) -> Published:
    folder: Path = tmp_path_factory.mktemp("flipped")
    return publish(folder, KEY, FILES)


def flips(data: bytes, *, every_bit: bool = False) -> Iterator[bytes]:
    """`data` with one bit turned: each bit, or one of each byte."""
    for at in range(len(data)):
        for bit in range(8) if every_bit else (at % 8,):
            yield data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :]


def vouched(archive: bytes, envelope: bytes) -> BundleStatement | None:
    """What a gateway or a runner would go on with; `None` when it is refused."""
    try:
        return verify_envelope(
            decode_envelope(envelope), TRUST, content_hash=content_hash_of(archive), judge_expiry_at=None
        )
    except BundleRefused:
        return None


def unpacked(archive: bytes, statement: BundleStatement) -> bool:
    """Whether the compiler role would go on with it. Raises nothing but what is typed."""
    try:
        read_contents(io.BytesIO(archive), statement)
    except (BundleRefused, ManifestInvalid):
        return False
    return True


def test_untouched_it_is_accepted(published: Published) -> None:
    archive, envelope = published.objects[published.archive_key], published.objects[published.signature_key]
    statement = vouched(archive, envelope)
    assert statement == published.statement
    assert unpacked(archive, published.statement)


def test_no_bit_of_the_archive_can_be_turned(published: Published) -> None:
    archive, envelope = published.objects[published.archive_key], published.objects[published.signature_key]
    for changed in flips(archive, every_bit=True):
        assert vouched(changed, envelope) is None


def test_no_bit_of_the_envelope_can_be_turned(published: Published) -> None:
    archive, envelope = published.objects[published.archive_key], published.objects[published.signature_key]
    for at, changed in enumerate(flips(envelope[:-1], every_bit=True)):  # behind it is one line break
        assert vouched(archive, changed + b"\n") is None, at
    for end in (bytes([ord("\n") ^ (1 << bit)]) for bit in range(8)):
        assert vouched(archive, envelope[:-1] + end) in (None, published.statement)  # a blank, or no JSON


@pytest.mark.parametrize("name", ["manifest.json", "dist/main.wasm"])
def test_no_bit_of_manifest_or_component_can_be_turned_under_a_digest_somebody_signed(
    published: Published, name: str
) -> None:
    """The archive is packed again and its digest signed, as a publisher's build server in wrong hands could; what was
    signed about the members does not fit them any more."""
    members = {one.name: one.data for one in read_bundle(io.BytesIO(published.objects[published.archive_key]))}
    again = bundle(*(member(key.encode(), data) for key, data in members.items()))
    assert unpacked(again, msgspec.structs.replace(published.statement, content_hash=content_hash_of(again)))
    for changed in flips(members[name]):
        packed = bundle(*(member(key.encode(), changed if key == name else data) for key, data in members.items()))
        statement = msgspec.structs.replace(published.statement, content_hash=content_hash_of(packed))
        assert not unpacked(packed, statement)


def test_no_bit_of_native_code_or_of_its_signature_can_be_turned(published: Published) -> None:
    component = published.statement.component_sha256
    assert component is not None
    expected = Expected(component_sha256=component, engine_id=ENGINE, cpu_target=CPU)
    objects = pair(published, b"native code " * 20)
    stored, signature = (
        objects[artefacts.object_key(ENGINE, component)],
        objects[artefacts.signature_key(ENGINE, component)],
    )
    artefacts.verify(signature, stored, expected, [AOT.public])
    for changed in flips(stored, every_bit=True):
        with pytest.raises(ArtefactTamperedError):
            artefacts.verify(signature, changed, expected, [AOT.public])
    for changed in flips(signature, every_bit=True):
        with pytest.raises(ArtefactTamperedError):
            artefacts.verify(changed, stored, expected, [AOT.public])


def test_no_refusal_is_an_untyped_one(published: Published) -> None:
    """Verification says no with an error of ours for every cut of every part."""
    archive, envelope = published.objects[published.archive_key], published.objects[published.signature_key]
    for length in range(len(archive)):
        with pytest.raises(PlatformError):
            read_contents(io.BytesIO(archive[:length]), published.statement)
    for length in range(len(envelope) - 1):
        assert vouched(archive, envelope[:length]) is None
