"""`alga-ext publish`: a signed bundle becomes a version in the registry."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gateway.cli.access import NEAREST, Access
from gateway.cli.failures import Exit
from gateway.cli.project import bundle_or_packed, signature_of
from gateway.cli.registry import Version
from gateway.cli.registry import publish as send
from gateway.cli.rest import Answer, connected, decoded
from gateway.cli.terminal import Terminal
from gateway.cli.verbs.keys import read_envelope
from shared.signing import Envelope


def publish(
    bundle: Path | None = None,
    /,
    *,
    signature: Path | None = None,
    allow_unused_imports: bool = False,
    access: Access = NEAREST,
) -> Exit:
    """Publish a signed bundle and follow it until it is ready, or rejected with a reason.

    The same bytes may be published again: the answer is the same version.

    Args:
        bundle: the archive; by default what pack wrote for the project here.
        signature: the envelope; by default NAME-VERSION.signature.json beside the archive.
        allow_unused_imports: take imports whose capability is not declared; the calls stay denied.
    """
    terminal = access.terminal()
    path = bundle_or_packed(bundle)
    envelope = read_envelope(signature or signature_of(path))
    answer = asyncio.run(_publish(access, path, envelope, terminal, allow_unused_imports=allow_unused_imports))
    version = decoded(answer, Version)
    for warning in version.warnings:
        terminal.warn(warning)
    terminal.say(f"{version.publisher}.{version.name} {version.version} is ready: {version.content_hash}", "green")
    terminal.note(f"next: alga-ext install {version.publisher}.{version.name}@{version.version}", "cyan")
    terminal.document(decoded(answer, dict))
    return Exit.OK


async def _publish(
    access: Access, bundle: Path, envelope: Envelope, terminal: Terminal, *, allow_unused_imports: bool
) -> Answer:
    async with connected(access.target(terminal)) as gateway:
        return await send(gateway, bundle, envelope, terminal, allow_unused_imports=allow_unused_imports)
