"""The registry as a publisher sees it: an archive goes up, a signature turns it into a version, the version gets ready."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec

from gateway.cli.archive import content_hash
from gateway.cli.failures import CliError, violation_lines
from gateway.cli.rest import Answer, Gateway, decoded
from gateway.cli.terminal import Terminal
from shared.ids import ContentHash
from shared.limits import CLI_PREPARE_MAX_S
from shared.manifest import Manifest, stored_manifest
from shared.signing import Envelope

UPLOADS: Final = "/api/registry/bundles"
_POLL_S: Final = 0.5  # how often a version that is being prepared is looked at


class Reason(msgspec.Struct, frozen=True):
    """Why a version was rejected."""

    code: str = ""
    message: str = ""
    path: str = ""
    violations: tuple[dict[str, Any], ...] = ()


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A version in the registry, as far as commands need it; `manifest` is there when it is ready."""

    extension_id: str
    version_id: str
    publisher: str
    name: str
    version: str
    content_hash: str
    state: str
    reason: Reason | None = None
    warnings: tuple[str, ...] = ()
    manifest: dict[str, Any] | None = None
    revoked: bool = False
    created_at: str = ""
    size_bytes: int = 0
    deprecated: Deprecated | None = None
    signers: tuple[str, ...] = ()

    def parsed(self) -> Manifest:
        """Its manifest. Raises `CliError` while there is none."""
        if self.manifest is None:
            raise CliError(
                f"{self.name} {self.version} is {self.state}, only a ready version can be installed",
                next_step="wait until it is ready: alga-ext publish BUNDLE follows it",
                code="conflict",
            )
        return stored_manifest(msgspec.json.encode(self.manifest))


class Deprecated(msgspec.Struct, frozen=True, kw_only=True):
    """What its publisher says to those who have it installed."""

    message: str
    since: str = ""


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """An extension in the catalogue."""

    extension_id: str
    publisher: str
    name: str
    latest: Latest | None = None


class Latest(msgspec.Struct, frozen=True, kw_only=True):
    """Its newest version that can be installed."""

    version_id: str
    version: str


class _Page(msgspec.Struct, frozen=True):
    items: tuple[Listed, ...]
    next_cursor: str | None = None


class _Versions(msgspec.Struct, frozen=True):
    items: list[dict[str, Any]]
    next_cursor: str | None = None


class _Receipt(msgspec.Struct, frozen=True):
    upload_id: str
    content_hash: str


class _Finalize(msgspec.Struct, frozen=True):
    signature: Envelope
    declared_hash: str
    allow_unused_imports: bool


async def publish(
    gateway: Gateway, bundle: Path, envelope: Envelope, terminal: Terminal, *, allow_unused_imports: bool
) -> Answer:
    """Bring a bundle into the registry and follow it until it is ready.

    Args:
        gateway: as someone with `extension:publish`.
        bundle: the archive.
        envelope: its signature.
        terminal: is told how far it is.
        allow_unused_imports: take imports whose capability is not declared.

    Returns:
        The answer that says `ready`; `Version` decodes it.

    Raises:
        RefusedError: the gateway refused a step.
        CliError: the version was rejected (its reason is the error), or not ready in time.
    """
    size_bytes, declared = await asyncio.to_thread(_measured, bundle)
    with terminal.sending(f"uploading {bundle.name}", size_bytes) as sent:
        receipt = decoded(await gateway.upload(UPLOADS, bundle, sent), _Receipt)
    body = _Finalize(signature=envelope, declared_hash=declared, allow_unused_imports=allow_unused_imports)
    with terminal.working("the platform checks and compiles it"):
        answer = await gateway.post(f"{UPLOADS}/{receipt.upload_id}/finalize", body)
        answer = await _settled(gateway, answer)
    version = decoded(answer, Version)
    if version.state != "ready":
        raise _rejected(version)
    return answer


async def version_by_id(gateway: Gateway, version_id: str) -> Answer:
    """`GET /api/registry/versions/{id}`. Raises `RefusedError`."""
    return await gateway.get(f"/api/registry/versions/{quote(version_id, safe='')}")


async def versions(gateway: Gateway, extension_id: str) -> AsyncIterator[dict[str, Any]]:
    """Every version of an extension, newest first, as the API writes it. Raises `RefusedError`."""
    cursor = ""
    while True:
        path = f"/api/registry/extensions/{quote(extension_id, safe='')}/versions?limit=200{cursor}"
        page = decoded(await gateway.get(path), _Versions)
        for item in page.items:
            yield item
        if page.next_cursor is None:
            return
        cursor = f"&cursor={quote(page.next_cursor, safe='')}"


async def version_named(gateway: Gateway, reference: str, version: str | None) -> Version:
    """As `version_of`, of the extension that `reference` means."""
    return await version_of(gateway, await find(gateway, reference), version)


async def version_of(gateway: Gateway, listed: Listed, version: str | None) -> Version:
    """One version of an extension: by its number, else the newest that can be installed.

    Args:
        gateway: as somebody who can see the extension.
        listed: the extension.
        version: as the manifest writes it.

    Raises:
        CliError: there is no such version.
    """
    if version is None and listed.latest is None:
        raise CliError(
            f"no version of {listed.publisher}.{listed.name} can be installed",
            next_step="publish one, or look why the last was rejected: alga-ext publish BUNDLE",
            code="not_found",
        )
    if listed.latest is not None and version in (None, listed.latest.version):
        return read(await version_by_id(gateway, listed.latest.version_id))
    async for item in versions(gateway, listed.extension_id):
        if item.get("version") == version:
            return msgspec.convert(item, Version)
    raise CliError(
        f"{listed.publisher}.{listed.name} has no version {version}",
        next_step=f"alga-ext versions {listed.publisher}.{listed.name} lists those there are",
        code="not_found",
    )


def read(answer: Answer) -> Version:
    """The version in an answer. Raises `CliError` when it is something else."""
    return decoded(answer, Version)


async def find(gateway: Gateway, reference: str) -> Listed:
    """The one extension of the catalogue that `reference` means: its id, `publisher.name`, or its bare name.

    Raises:
        CliError: none, or several.
    """
    found: list[Listed] = []
    cursor = ""
    while True:
        page = decoded(await gateway.get(f"/api/registry/extensions?limit=200{cursor}"), _Page)
        found += [item for item in page.items if _means(reference, item)]
        if page.next_cursor is None:
            break
        cursor = f"&cursor={quote(page.next_cursor, safe='')}"
    if len(found) > 1:
        names = ", ".join(f"{item.publisher}.{item.name}" for item in found)
        raise CliError(
            f"{reference} fits several extensions: {names}",
            next_step="name one of them with its publisher",
            code="ambiguous_extension",
        )
    if not found:
        raise CliError(
            f"the registry has no extension {reference} for you",
            next_step="publish it (alga-ext publish BUNDLE), or check the name",
            code="not_found",
        )
    return found[0]


def _measured(bundle: Path) -> tuple[int, ContentHash]:
    return bundle.stat().st_size, content_hash(bundle)


def _means(reference: str, item: Listed) -> bool:
    return reference in (item.extension_id, item.name, f"{item.publisher}.{item.name}")


async def _settled(gateway: Gateway, answer: Answer) -> Answer:
    """The answer about a version that is no longer being prepared."""
    try:
        async with asyncio.timeout(CLI_PREPARE_MAX_S):
            while (version := decoded(answer, Version)).state == "preparing":
                await asyncio.sleep(_POLL_S)
                answer = await version_by_id(gateway, version.version_id)
    except TimeoutError as error:
        raise CliError(
            f"the version is still being prepared after {CLI_PREPARE_MAX_S} s",
            next_step="publish the same file again later: that changes nothing and goes on waiting",
            code="cli_preparing",
        ) from error
    return answer


def _rejected(version: Version) -> CliError:
    reason = version.reason or Reason(code="internal", message="no reason was given")
    place = f"{reason.path}: " if reason.path and not reason.message.startswith(reason.path) else ""
    return CliError(
        f"{version.name} {version.version} was rejected: {reason.code}: {place}{reason.message}",
        next_step="correct it, raise `version` in manifest.json, then build, pack, sign and publish again",
        code=reason.code,
        details=tuple(violation_lines(reason.violations)),
        members={"state": version.state, "version_id": version.version_id, "violations": list(reason.violations)},
    )
