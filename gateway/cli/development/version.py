"""From a project's files to an install that answers: staged, packed, signed, published, upgraded.

Each round is a version of its own, `1.2.0-dev.1767225600123` for what will be 1.2.0, through the same doors as any other:
the registry checks it, the compiler compiles it, the gateway judges what it asks for. The project's files stay as they
are; the development version stands in a copy.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.cli import consent, installs, registry
from gateway.cli.build import copy_bundle_files
from gateway.cli.consent import Grants
from gateway.cli.failures import CliError, from_platform
from gateway.cli.installs import Install, Wish
from gateway.cli.project import MANIFEST, Project
from gateway.cli.providers import providers_here
from gateway.cli.rest import Gateway, decoded
from gateway.cli.terminal import Terminal
from shared.bundle_writer import FOLDERS, BundleDigest, write_bundle
from shared.errors import PlatformError
from shared.keys import PrivateKey
from shared.manifest import Manifest
from shared.permission_diff import permission_diff
from shared.signing import BundleStatement, Envelope, sign_statement

_QUIET: Final = True  # of steps within a round: the round itself is told


class Packed(msgspec.Struct, frozen=True):
    """A development version, packed and signed.

    Attributes:
        bundle: the archive; belongs to whoever gave the folder.
    """

    bundle: Path
    version: str
    envelope: Envelope


class _Upgrade(msgspec.Struct, frozen=True):
    version: str
    grants: Grants


def development_version(version: str, now_ms: int) -> str:
    """The version of a round: before the release it is going to be (SemVer 2.0 §11), after every earlier round.

    Args:
        version: of the manifest.
        now_ms: milliseconds since the epoch.
    """
    core = version.partition("+")[0]
    return f"{core}{'.' if '-' in core else '-'}dev.{now_ms}"


def pack(project: Project, key: PrivateKey, scratch: Path) -> Packed:
    """Pack what stands in the project as a development version. Blocks.

    Raises:
        CliError: it cannot be packed; the violations are its details.
        BuildError: a link stands among the pages.
        OSError: a file cannot be read, perhaps because it is being replaced at this moment.
    """
    version = development_version(project.manifest.version, time.time_ns() // 1_000_000)
    tree = Path(tempfile.mkdtemp(prefix="tree-", dir=scratch))
    try:
        _stage(project, tree, version)
        bundle = scratch / "development.tar.zst"
        digest = write_bundle(tree, bundle, known=providers_here().capabilities)
    except PlatformError as error:
        raise from_platform(error) from error
    finally:
        shutil.rmtree(tree, ignore_errors=True)
    return Packed(bundle, version, sign_statement(_statement(project.manifest, version, digest), key))


def _stage(project: Project, tree: Path, version: str) -> None:
    copy_bundle_files(project.folder, tree)
    manifest = msgspec.json.decode((tree / MANIFEST).read_bytes(), type=dict[str, Any])
    (tree / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode({**manifest, "version": version})))
    for name in (project.manifest.entry, project.manifest.sbom):
        if name is not None and (project.folder / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            _put(project.folder / name, tree / name)
    for folder in FOLDERS:
        if folder != "ui" and (project.folder / folder).is_dir():
            shutil.copytree(project.folder / folder, tree / folder, symlinks=True)


def _put(source: Path, target: Path) -> None:
    """The same file under another name, or a copy where that cannot be."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _statement(manifest: Manifest, version: str, digest: BundleDigest) -> BundleStatement:
    return BundleStatement(
        content_hash=digest.content_hash,
        name=manifest.name,
        publisher=manifest.publisher,
        version=version,
        manifest_sha256=digest.manifest_sha256,
        component_sha256=digest.component_sha256,
        issued_at=datetime.now(UTC),
    )


# ---- at the gateway -----------------------------------------------------------------------------------------


async def publish(gateway: Gateway, packed: Packed) -> registry.Version:
    """Publish it and wait until it is ready. Raises `CliError` with the reason when it is not."""
    silent = Terminal(json=_QUIET)
    answer = await registry.publish(gateway, packed.bundle, packed.envelope, silent, allow_unused_imports=False)
    return registry.read(answer)


async def put_in_place(gateway: Gateway, version: registry.Version, terminal: Terminal) -> Install:
    """Have the tenant run `version`: installed, or upgraded with what was granted before and what it asks for besides.

    The tenant is the author's own on the author's own stack, so a growing version is not held; what grew is told.

    Raises:
        CliError: the gateway refused.
    """
    manifest = version.parsed()
    present = await installs.of_extension(gateway, version.extension_id)
    if present is None:
        consent.show(manifest, terminal)
        wish = Wish(
            extension=version.extension_id,
            version=version.version,
            grants=consent.asked(manifest).everything(()),
        )
        return decoded(await installs.make(gateway, wish), Install)
    before = registry.read(await registry.version_by_id(gateway, present.version_id)).parsed()
    diff = permission_diff(before, manifest)
    more = consent.grown(diff)
    if diff.grew:
        names = (*more.capabilities, *more.egress, *more.secrets)
        terminal.note(f"it asks for more, which is granted here: {', '.join(names) or 'see alga-ext status'}", "yellow")
    grants = consent.added(consent.carried(manifest, present.granted), more)
    answer = await gateway.post(installs.path(present, "upgrade"), _Upgrade(version.version, grants))
    return decoded(answer, Install)


async def packed_in_thread(project: Project, key: PrivateKey, scratch: Path) -> Packed:
    """`pack`, beside the event loop; a file that is just being replaced is an error like any other."""
    try:
        return await asyncio.to_thread(pack, project, key, scratch)
    except OSError as error:
        raise CliError(f"{error.filename}: {error.strerror}", next_step="save the file again", code="cli_io") from error
