"""Bundles that were altered in one of the ways somebody could: the archive, the envelope, what is said, what is packed.

Every mutant is drawn from a seeded source of chance, so that a failure can be repeated, and is really another one: what
would have to be accepted (the same envelope with a blank in it, a changed page that its publisher signed) is drawn again.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import zstandard

from runner.aot.contents import read_contents
from shared.bundle_writer import BundleDigest
from shared.digest import content_hash_of, sha256_hex
from shared.errors import BundleRefused, ManifestInvalid, SignatureRefused
from shared.keys import PrivateKey
from shared.signing import BundleStatement, decode_envelope, encode_envelope, sign_statement
from tests.shared.tar_parts import bundle, member
from tests.system.acting import manifest, packed

PUBLISHER: Final = "mutants"
NOBODY: Final = "mutants-nobody"  # never registered, so that refused signatures are nobody's and suspend nobody
UI: Final = {"type": "iframe", "entry": "ui/index.html"}


class Mutant(msgspec.Struct, frozen=True):
    """What is sent: an archive, and the text that stands as `signature` in the second call."""

    kind: str
    archive: bytes
    envelope: bytes


class Mutants:
    """Draws mutants.

    Args:
        seed: of the chance.
        key: trusted for `PUBLISHER` and `NOBODY`.
        directory: an empty one, for sources.
    """

    def __init__(self, seed: int, key: PrivateKey, directory: Path) -> None:
        self._chance = random.Random(seed)
        self._key = key
        self._directory = directory
        self._kinds: tuple[Callable[[int], Mutant], ...] = (
            self._archive,
            self._envelope,
            self._statement,
            self._tar,
            self._manifest,
        )

    def sound(self, number: int, publisher: str = PUBLISHER) -> tuple[dict[str, Any], bytes, BundleDigest]:
        """A bundle that would be accepted: its manifest, its bytes, what they are."""
        described = manifest("tests.mutant", f"0.0.{number}", ui=UI) | {"publisher": publisher}
        data, digest = packed(self._directory, described, None)
        return described, data, digest

    def draw(self, number: int) -> Mutant:
        """One mutant; its version is its own."""
        return self._kinds[number % len(self._kinds)](number)

    def signed(self, described: dict[str, Any], digest: BundleDigest, **changes: Any) -> bytes:
        """An envelope for a bundle, as JSON; `changes` make its statement wrong."""
        statement: dict[str, Any] = {
            "content_hash": digest.content_hash,
            "name": described["name"],
            "publisher": described["publisher"],
            "version": described["version"],
            "manifest_sha256": digest.manifest_sha256,
            "component_sha256": digest.component_sha256,
            "issued_at": datetime.now(UTC),
        }
        return encode_envelope(sign_statement(BundleStatement(**(statement | changes)), self._key))

    # ---- one kind each --------------------------------------------------------------------------------------

    def _archive(self, number: int) -> Mutant:
        """Bytes that nobody signed."""
        described, data, digest = self.sound(number, NOBODY)
        return Mutant("archive", self._altered(data), self.signed(described, digest))

    def _envelope(self, number: int) -> Mutant:
        """An envelope that is not what the publisher wrote."""
        described, data, digest = self.sound(number, NOBODY)
        envelope = self.signed(described, digest).rstrip()
        while True:
            altered = self._altered(envelope)
            try:
                same = decode_envelope(altered) == decode_envelope(envelope)
            except SignatureRefused:
                same = False
            if not same:
                return Mutant("envelope", data, altered)

    def _statement(self, number: int) -> Mutant:
        """A good signature over a statement that the bundle contradicts."""
        described, data, digest = self.sound(number)
        wrong = self._chance.choice(
            (
                {"name": "tests.mutant-other"},
                {"version": f"1.0.{number}"},
                {"manifest_sha256": sha256_hex(data)},
                {"component_sha256": sha256_hex(data)},
            )
        )
        return Mutant("statement", data, self.signed(described, digest, **wrong))

    def _tar(self, number: int) -> Mutant:
        """A good signature over an archive whose tar is damaged, and which its own publisher could not mean."""
        described, data, digest = self.sound(number)
        tar = zstandard.ZstdDecompressor().decompress(data)
        while True:
            altered = zstandard.ZstdCompressor(level=1).compress(self._altered(tar))
            said = {"content_hash": content_hash_of(altered)}
            envelope = self.signed(described, digest, **said)
            payload = msgspec.json.decode(envelope)["payload"]
            statement = msgspec.json.decode(msgspec.json.decode(f'"{payload}"', type=bytes), type=BundleStatement)
            try:
                read_contents(io.BytesIO(altered), statement)
            except (BundleRefused, ManifestInvalid):
                return Mutant("tar", altered, envelope)

    def _manifest(self, number: int) -> Mutant:
        """A bundle that is signed as it is, with a manifest against the rules."""
        described, _, digest = self.sound(number)
        broken = self._chance.choice(
            (
                {"runtime": "wasm@9"},
                {"limits": {"memoryMb": -1}},
                {"limits": {"timeoutMs": None}},
                {"capabilities": ["http.fetch", "cap:http.fetch"]},
                {"capabilities": ["cap:root"]},
                {"homepage": "http://acme.example"},
                {"unknown": True},
                {"entry": "../main.wasm"},
                {"ui": {"type": "iframe", "entry": "ui/missing.html"}},
                {"permissions": {"egress": ["169.254.169.254"]}},
                {"api": {"endpoints": [{"method": "GET", "path": "x"}]}},
                {"manifestVersion": 3},
            )
        )
        text = msgspec.json.encode(described | broken)
        archive = bundle(member(b"manifest.json", text), member(b"ui/index.html", b"<!doctype html>"))
        said = {"content_hash": content_hash_of(archive), "manifest_sha256": sha256_hex(text)}
        return Mutant("manifest", archive, self.signed(described, digest, **said))

    def _altered(self, data: bytes) -> bytes:
        """`data` with a few bits turned, bytes dropped, doubled or put in, or cut short."""
        found = bytearray(data)
        for _ in range(self._chance.randint(1, 3)):
            at = self._chance.randrange(len(found))
            match self._chance.randrange(5):
                case 0:
                    del found[at : at + self._chance.randint(1, 64)]
                case 1:
                    found[at:at] = self._chance.randbytes(self._chance.randint(1, 64))
                case 2 if len(found) > 2:
                    del found[max(1, at) :]
                case _:
                    found[at] ^= 1 << self._chance.randrange(8)
            if not found:
                found += b"\0"
        return bytes(found) if bytes(found) != data else bytes([data[0] ^ 1]) + data[1:]
