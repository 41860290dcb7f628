"""One extension's UI, ready to serve: a map from exact path to file, made once from the verified bundle.

Everything an answer needs is decided here: type, policy, caching, entity tags, compressed forms and whole header
lists, so that serving a file is a dictionary look-up and a slice. Bodies lie one behind the other in a nameless file
(memory while small); nobody else can open it, so what was verified on the way in needs no second check.

Paths, in the order in which they win when two files could be meant:

    index.html          always the manifest's `ui.entry`
    <path>              below the entry's folder, which is what relative links of the entry document mean
    <path>              below `ui/`
    ui/<path>           as in the bundle

Compressed forms are zstd and gzip, made when they save a tenth; brotli would need another library for a few per cent.
"""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Iterable
from typing import BinaryIO, Final, Literal

import msgspec
import zstandard

from runner.assets.policy import ALWAYS, ENTRY_CACHE, FILE_CACHE, Header, UiPolicy
from runner.assets.types import content_type, is_document, shrinks
from runner.bundles.scratch import Scratch
from shared.bundle_reader import read_bundle
from shared.digest import sha256_hex
from shared.errors import BundleRefused, BundleUntrusted, NotFound
from shared.limits import MIB
from shared.manifest_parts import Ui

MANIFEST: Final = "manifest.json"
ROOT: Final = "ui/"
INDEX: Final = "index.html"
_COMPRESS_MIN_BYTES: Final = 1_024  # one packet carries it anyway
_COMPRESS_MAX_BYTES: Final = 16 * MIB  # of one file; more would keep a core busy for seconds
_ZSTD_LEVEL: Final = 12  # 2 MiB of JavaScript in 0.07 s
_GZIP_LEVEL: Final = 6  # the same in 0.05 s; level 9 saves 1 %

Coding = Literal["identity", "zstd", "gzip"]


class Form(msgspec.Struct, frozen=True):
    """One stored form of a file.

    Attributes:
        offset, length: where its bytes are.
        etag: strong, another one for each form (RFC 9110 §8.8.3.3).
        found: the headers of a 200.
        unchanged: the headers of a 304.
    """

    offset: int
    length: int
    etag: bytes
    found: tuple[Header, ...]
    unchanged: tuple[Header, ...]


class Asset(msgspec.Struct, frozen=True):
    """One file with its forms; `identity` is always there."""

    forms: dict[Coding, Form]


class Pack:
    """The UI of one bundle. Made by `build`.

    Args:
        assets: exact, decoded path → file.
        entry: the entry document.
        file: where the bodies are; may be closed afterwards.
        size_bytes: its length.
    """

    def __init__(self, assets: dict[str, Asset], entry: Asset, file: BinaryIO, size_bytes: int) -> None:
        self.assets = assets
        self.entry = entry
        self.size_bytes = size_bytes
        self._bodies = mmap.mmap(file.fileno(), size_bytes, access=mmap.ACCESS_READ)

    def read(self, offset: int, length: int) -> bytes:
        """A piece of a body."""
        return self._bodies[offset : offset + length]


class _Page(msgspec.Struct, frozen=True):
    """What serving needs of the manifest; the whole of it was judged at publish."""

    ui: Ui | None = None


class _Stored(msgspec.Struct, frozen=True):
    """A file's bytes in the scratch: form → (offset, length)."""

    sha256: str
    places: dict[Coding, tuple[int, int]]


def build(archive: BinaryIO, manifest_sha256: str, policy: UiPolicy, scratch: Scratch) -> Pack:
    """Unpack the UI of a bundle whose digest and signature were verified. Blocks; call it in a thread.

    Args:
        archive: at its first byte.
        manifest_sha256: from the signed statement.
        policy: what the operator decided.
        scratch: empty; receives the bodies.

    Raises:
        NotFound: the extension has no UI.
        BundleUntrusted: not a bundle after all, or its manifest is not the signed one.
        CacheFull: there is no room for the files.
    """
    manifest: bytes | None = None
    stored: dict[str, _Stored] = {}
    try:
        for member in read_bundle(archive, lambda name: name == MANIFEST or name.startswith(ROOT)):
            if member.name == MANIFEST:
                manifest = member.data
            else:
                stored[member.name] = _store(member.name, member.data, scratch)
    except BundleRefused as error:
        raise BundleUntrusted(f"the stored bundle cannot be read: {error.detail}") from error
    if manifest is None or sha256_hex(manifest) != manifest_sha256:
        raise BundleUntrusted("the manifest in the bundle is not the one that was signed")
    return _packed(manifest, stored, policy, scratch)


def build_unsigned(manifest: bytes, files: Iterable[tuple[str, bytes]], policy: UiPolicy, scratch: Scratch) -> Pack:
    """The same of files that lie in an author's own folder, for nobody but the author. Blocks.

    Args:
        manifest: the bytes of its file.
        files: name as in a bundle → bytes.
        policy, scratch: as for `build`.

    Raises:
        NotFound, BundleUntrusted, CacheFull: as `build`.
    """
    stored = {name: _store(name, data, scratch) for name, data in files if name.startswith(ROOT)}
    return _packed(manifest, stored, policy, scratch)


def _packed(manifest: bytes, stored: dict[str, _Stored], policy: UiPolicy, scratch: Scratch) -> Pack:
    try:
        page = msgspec.json.decode(manifest, type=_Page)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BundleUntrusted("the manifest's ui part is not valid") from error
    if page.ui is None or page.ui.entry not in stored:
        raise NotFound("the extension has no UI")
    if not scratch.size_bytes:
        scratch.write(b"\0")  # every file is empty, and nothing of no length can be mapped
    csp = policy.document_policy(page.ui.csp).encode()
    files = {name: _asset(name, file, csp, entry=name == page.ui.entry) for name, file in stored.items()}
    return Pack(_paths(files, page.ui.entry), files[page.ui.entry], scratch.file, scratch.size_bytes)


def _paths(files: dict[str, Asset], entry: str) -> dict[str, Asset]:
    folder = entry.rpartition("/")[0] + "/"
    paths = dict(files)
    for prefix in (ROOT, folder):  # the later one wins
        paths |= {name.removeprefix(prefix): file for name, file in files.items() if name.startswith(prefix)}
    paths[INDEX] = files[entry]
    return paths


def _store(name: str, data: bytes, scratch: Scratch) -> _Stored:
    places: dict[Coding, tuple[int, int]] = {}
    for coding, form in _forms(name, data):
        places[coding] = (scratch.size_bytes, len(form))
        scratch.write(form)
    return _Stored(sha256_hex(data), places)


def _forms(name: str, data: bytes) -> Iterable[tuple[Coding, bytes]]:
    yield "identity", data
    if not shrinks(name) or not _COMPRESS_MIN_BYTES <= len(data) <= _COMPRESS_MAX_BYTES:
        return
    worth = len(data) * 9 // 10
    small = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=False).compress(data)
    if len(small) <= worth:
        yield "zstd", small
    small = zlib.compress(data, _GZIP_LEVEL, wbits=16 + zlib.MAX_WBITS)  # 16: with a gzip header, time 0
    if len(small) <= worth:
        yield "gzip", small


def _asset(name: str, stored: _Stored, csp: bytes, *, entry: bool) -> Asset:
    common: list[Header] = [*ALWAYS, (b"cache-control", ENTRY_CACHE if entry else FILE_CACHE)]
    if is_document(name):
        common.append((b"content-security-policy", csp))
    if len(stored.places) > 1 or entry:
        # The entry document also answers for other paths, by what a request says about itself.
        asked = b"accept-encoding, accept, sec-fetch-dest" if entry else b"accept-encoding"
        common.append((b"vary", asked))
    forms: dict[Coding, Form] = {}
    for coding, (offset, length) in stored.places.items():
        suffix = "" if coding == "identity" else f"-{coding}"
        etag = f'"{stored.sha256}{suffix}"'.encode()
        unchanged = (*common, (b"etag", etag))
        found = (
            (b"content-type", content_type(name).encode()),
            (b"content-length", str(length).encode()),
            *unchanged,
            (b"accept-ranges", b"bytes"),
            *(() if coding == "identity" else ((b"content-encoding", coding.encode()),)),
        )
        forms[coding] = Form(offset, length, etag, found, unchanged)
    return Asset(forms)
