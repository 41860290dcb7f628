"""`alga-ext diff`: what changes for an administrator between two versions, wherever each of them lies."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import msgspec

from gateway.cli import differences, installs, registry
from gateway.cli.access import NEAREST, Access
from gateway.cli.failures import Exit, usage
from gateway.cli.looking import look_at_bundle
from gateway.cli.project import bundle_or_packed, reference_here
from gateway.cli.rest import connected
from gateway.cli.terminal import Terminal
from shared.manifest import Manifest
from shared.permission_diff import PermissionDiff, permission_diff

INSTALLED: Final = "installed"


class _Side(msgspec.Struct, frozen=True):
    """One of the two; `imports` is `None` where there is no component to look at."""

    manifest: Manifest
    imports: tuple[str, ...] | None

    @property
    def reference(self) -> str:
        """`publisher.name`."""
        return f"{self.manifest.publisher}.{self.manifest.name}"


def diff(before: str, after: str | None = None, /, *, access: Access = NEAREST) -> Exit:
    """Show what changes between two versions: permissions, limits, endpoints, events and, of two bundles, imports.

    Args:
        before: a bundle, NAME@VERSION of the registry, or `installed`: what your tenant has of the other one.
        after: likewise; by default what pack wrote for the project here.
    """
    terminal = access.terminal()
    if before == after == INSTALLED:
        raise usage("both sides are what is installed", next_step="compare it with a bundle or NAME@VERSION")
    found = asyncio.run(_diff(access, (before, after or str(bundle_or_packed(None))), terminal))
    source, target = found
    compared = _compared(source, target)
    if source.reference != target.reference:
        terminal.warn(f"these are two extensions: {source.reference} and {target.reference}")
    if source.imports is None or target.imports is None:
        terminal.note("imports are compared between two bundles only")
    differences.show(compared, target.reference, terminal)
    terminal.document(compared)
    return Exit.OK


def _compared(source: _Side, target: _Side) -> PermissionDiff:
    looked = source.imports is not None and target.imports is not None
    return permission_diff(
        source.manifest,
        target.manifest,
        source_interfaces=(source.imports or ()) if looked else (),
        target_interfaces=(target.imports or ()) if looked else (),
    )


async def _diff(access: Access, named: tuple[str, str], terminal: Terminal) -> tuple[_Side, _Side]:
    sides = {text: _of_file(Path(text), terminal) for text in named if text != INSTALLED and _is_file(text)}
    if len(sides) < len(set(named)):
        async with connected(access.target(terminal)) as gateway:
            for text in named:
                if text not in sides and text != INSTALLED:
                    reference, _, version = text.partition("@")
                    found = await registry.version_named(gateway, reference, version or None)
                    sides[text] = _Side(found.parsed(), None)
            if INSTALLED in named:
                other = next((side.reference for side in sides.values()), None) or reference_here()
                install = await installs.present(gateway, other)
                known = await registry.version_by_id(gateway, install.version_id)
                sides[INSTALLED] = _Side(registry.read(known).parsed(), None)
    return sides[named[0]], sides[named[1]]


def _is_file(text: str) -> bool:
    if Path(text).is_file():
        return True
    if text.endswith(".zst") or "/" in text:
        bundle_or_packed(Path(text))  # which says that there is none
    return False


def _of_file(path: Path, terminal: Terminal) -> _Side:
    with terminal.working(f"reading {path.name}"):
        bundle = look_at_bundle(path)
    if bundle.component_problem:
        terminal.warn(f"the component of {path.name} is not acceptable: {bundle.component_problem}")
    return _Side(bundle.manifest, bundle.component.imports if bundle.component else ())
