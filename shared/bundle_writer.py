"""Writes a bundle: a POSIX tar (ustar with pax, IEEE 1003.1) inside one zstd frame (RFC 8878), reproducibly.

Packing the same tree twice, on two machines, gives the same bytes, so that a digest can be recomputed from sources.
Everything a file system or a machine adds is therefore left out or fixed: members are sorted by the bytes of their
names, names are in NFC, owner is 0, mode 0644, time 0, and there are no directory entries. The zstd level and its
parameters are fixed; a new libzstd may write other bytes, which is why its version is locked.

What is packed is what a bundle may contain: `manifest.json`, the component, `ui/`, `wit/`, `precompiled/`, the SBOM.
Everything else in the folder (sources, dependencies, keys) stays out.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
import zstandard

from shared.bundle_names import MANIFEST_NAME, MemberNameError, Names, member_max_bytes
from shared.digest import CHUNK_BYTES, sha256_hex
from shared.errors import BundleInvalid, BundleLimits
from shared.ids import ContentHash
from shared.limits import (
    BUNDLE_MAX_BYTES,
    BUNDLE_MAX_FILES,
    BUNDLE_UNPACKED_MAX_BYTES,
    MANIFEST_MAX_BYTES,
    ZSTD_RATIO_FREE_BYTES,
    ZSTD_RATIO_MAX,
)
from shared.manifest import Manifest, parse_manifest, refusal
from shared.manifest_rules import check_members

FOLDERS: Final = ("precompiled", "ui", "wit")

_BLOCK: Final = 512
_LEVEL: Final = 12  # 18 MiB of componentize-py in 0.6 s; level 19 saves 12 % and takes eleven times as long


class BundleDigest(msgspec.Struct, frozen=True):
    """What was packed.

    Attributes:
        content_hash: of the compressed archive.
        manifest_sha256: hex, over `manifest.json`.
        component_sha256: hex, over the component; `None` when the bundle is UI-only.
        size_bytes: of the compressed archive.
    """

    content_hash: ContentHash
    manifest_sha256: str
    component_sha256: str | None
    size_bytes: int


def write_bundle(tree: Path, out: Path, *, known: frozenset[str] | None = None) -> BundleDigest:
    """Pack the folder `tree` into the file `out`, which appears complete or not at all.

    Args:
        tree: the bundle's content.
        out: the file to write.
        known: capabilities the manifest may ask for, as `parse_manifest` takes them.

    Raises:
        ManifestInvalid: `manifest.json` is not valid, or names a file that is not there.
        BundleInvalid: there is no manifest; a member is not a regular file, has a name no bundle can have, or changed
            while it was read.
        BundleLimits: too many files, or too large.
    """
    manifest_bytes = _read_manifest(tree)
    manifest = parse_manifest(manifest_bytes, known=known)
    members = _members(tree, manifest)
    missing = check_members(manifest, members)
    if missing:
        raise refusal(missing)
    temporary = out.with_name(f".{out.name}.{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file:
            digest = _write(members, manifest.entry, file)
        if digest.manifest_sha256 != sha256_hex(manifest_bytes):
            raise BundleInvalid("the file changed while it was packed; pack again", path=MANIFEST_NAME)
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)
    return digest


# ---- what is packed -----------------------------------------------------------------------------------------


def _read_manifest(tree: Path) -> bytes:
    try:
        with (tree / MANIFEST_NAME).open("rb") as file:
            return file.read(MANIFEST_MAX_BYTES + 1)
    except OSError as error:
        raise BundleInvalid(f"the folder needs a {MANIFEST_NAME}: {error.strerror}", path=MANIFEST_NAME) from error


def _members(tree: Path, manifest: Manifest) -> dict[str, Path]:
    """Name in the archive → file, sorted by the bytes of the name."""
    single = (MANIFEST_NAME, manifest.entry, manifest.sbom)
    files = {name: tree / name for name in single if name is not None and os.path.lexists(tree / name)}
    for path in (found for folder in FOLDERS if os.path.lexists(tree / folder) for found in _walk(tree / folder)):
        name = unicodedata.normalize("NFC", path.relative_to(tree).as_posix())
        if files.setdefault(name, path) != path:
            raise BundleInvalid("two names are equal after Unicode normalisation", path=_printable(name))
    if len(files) > BUNDLE_MAX_FILES:
        raise BundleLimits(f"a bundle has at most {BUNDLE_MAX_FILES} files; the folder has {len(files)}")
    names = Names()
    for name in files:
        try:
            names.add(name)
        except MemberNameError as error:
            raise BundleInvalid(str(error), path=_printable(name)) from error
    return dict(sorted(files.items(), key=lambda item: item[0].encode()))


def _walk(folder: Path) -> Iterator[Path]:
    pending = [folder]
    while pending:
        path = pending.pop()
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            pending.extend(path.iterdir())
        else:
            yield path  # what is no regular file is refused when it is opened


# ---- tar ----------------------------------------------------------------------------------------------------


class _Output:
    """Tar bytes in, compressed bytes out to a file; keeps the digest and the size."""

    def __init__(self, file: BinaryIO, tar_bytes: int) -> None:
        self._file = file
        compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True, write_content_size=True)
        self._frame = compressor.compressobj(size=tar_bytes)
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    def write(self, data: bytes) -> None:
        self._emit(self._frame.compress(data))

    def finish(self) -> ContentHash:
        self._emit(self._frame.flush())
        return ContentHash(f"sha256:{self._digest.hexdigest()}")

    def _emit(self, data: bytes) -> None:
        self.size_bytes += len(data)
        if self.size_bytes > BUNDLE_MAX_BYTES:
            raise BundleLimits(f"a bundle has at most {BUNDLE_MAX_BYTES} bytes, compressed")
        self._digest.update(data)
        self._file.write(data)


def _write(members: Mapping[str, Path], entry: str, file: BinaryIO) -> BundleDigest:
    sizes = {name: _size(name, path) for name, path in members.items()}
    headers = {name: _header(name, size, index) for index, (name, size) in enumerate(sizes.items())}
    tar_bytes = sum(len(headers[name]) + size + -size % _BLOCK for name, size in sizes.items()) + 2 * _BLOCK
    if tar_bytes > BUNDLE_UNPACKED_MAX_BYTES:
        raise BundleLimits(
            f"a bundle has at most {BUNDLE_UNPACKED_MAX_BYTES} bytes unpacked; the folder has {tar_bytes}"
        )
    output = _Output(file, tar_bytes)
    digests: dict[str, str] = {}
    for name, path in members.items():
        output.write(headers[name])
        digests[name] = _copy(name, path, sizes[name], output)
        output.write(bytes(-sizes[name] % _BLOCK))
    output.write(bytes(2 * _BLOCK))
    content_hash = output.finish()
    if tar_bytes > ZSTD_RATIO_FREE_BYTES and tar_bytes > ZSTD_RATIO_MAX * output.size_bytes:
        raise BundleLimits(
            f"a bundle may not compress more than {ZSTD_RATIO_MAX} times; a file is nearly empty of content"
        )
    return BundleDigest(
        content_hash=content_hash,
        manifest_sha256=digests[MANIFEST_NAME],
        component_sha256=digests.get(entry),
        size_bytes=output.size_bytes,
    )


def _size(name: str, path: Path) -> int:
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise BundleInvalid("a member is a regular file: no link, device or pipe", path=name)
    if status.st_size > member_max_bytes(name):
        raise BundleLimits(f"the file has {status.st_size} bytes; at most {member_max_bytes(name)} fit", path=name)
    return status.st_size


def _copy(name: str, path: Path, size: int, output: _Output) -> str:
    digest, left = hashlib.sha256(), size
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)  # a swapped-in pipe must not hang us
    with os.fdopen(descriptor, "rb") as file:
        while chunk := file.read(min(CHUNK_BYTES, left + 1)):
            left -= len(chunk)
            if left < 0:
                break
            digest.update(chunk)
            output.write(chunk)
    if left != 0:
        raise BundleInvalid("the file changed while it was packed; pack again", path=name)
    return digest.hexdigest()


def _header(name: str, size: int, index: int) -> bytes:
    """The ustar header of one member, behind a pax header where ustar cannot hold the name."""
    raw = name.encode()
    if name.isascii():
        if len(raw) <= 100:
            return _ustar(raw, b"", size, b"0")
        cut = raw.rfind(b"/", 0, 156)
        if cut > 0 and len(raw) - cut - 1 <= 100:
            return _ustar(raw[cut + 1 :], raw[:cut], size, b"0")
    record = _pax_record(raw)
    extended = _ustar(b"././@PaxHeader", b"", len(record), b"x") + record + bytes(-len(record) % _BLOCK)
    return extended + _ustar(b"pax/%05d" % index, b"", size, b"0")


def _pax_record(path: bytes) -> bytes:
    """One `path` record; its leading decimal length counts itself."""
    body = b" path=" + path + b"\n"
    length = len(body) + 1
    while len(body) + len(str(length)) != length:
        length = len(body) + len(str(length))
    return str(length).encode() + body


def _ustar(name: bytes, prefix: bytes, size: int, kind: bytes) -> bytes:
    fields = (
        name.ljust(100, b"\0"),
        b"0000644\0",  # mode
        b"0000000\0",  # user
        b"0000000\0",  # group
        b"%011o\0" % size,
        b"00000000000\0",  # time
        b"        ",  # checksum, as blanks while it is computed
        kind,
        bytes(100),  # link target
        b"ustar\x0000",
        bytes(64),  # names of user and group
        b"0000000\0",
        b"0000000\0",  # device
        prefix.ljust(155, b"\0"),
        bytes(12),
    )
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _printable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()
