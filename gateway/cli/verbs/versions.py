"""`alga-ext versions`, `deprecate` and `revoke`: what a publisher says about what it published."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from cyclopts import Parameter

from gateway.cli import registry
from gateway.cli.access import NEAREST, Access
from gateway.cli.failures import CliError, Exit, usage
from gateway.cli.installs import Page, of_extension
from gateway.cli.project import named_or_here
from gateway.cli.registry import Version
from gateway.cli.rest import Answer, Gateway, connected, decoded
from gateway.cli.terminal import Terminal
from shared.limits import MIB

Flag = Annotated[bool, Parameter(negative="")]


class _Message(msgspec.Struct, frozen=True):
    message: str


class _Reason(msgspec.Struct, frozen=True):
    reason: str


def versions(extension: str | None = None, /, *, access: Access = NEAREST) -> Exit:
    """List the versions of an extension, newest first; the one your tenant has is marked.

    Args:
        extension: NAME, publisher.NAME or an id; by default the manifest here.
    """
    terminal = access.terminal()
    reference, _ = named_or_here(extension)
    found, installed = asyncio.run(_versions(access, reference, terminal))
    rows = [msgspec.convert(item, Version) for item in found]
    if rows:
        terminal.table(
            ("", "VERSION", "STATE", "PUBLISHED", "SIZE", "NOTE"),
            [
                (
                    "*" if one.version_id == installed else "",
                    one.version,
                    "revoked" if one.revoked else one.state,
                    one.created_at[:16].replace("T", " "),
                    f"{one.size_bytes / MIB:.1f} MiB",
                    _note(one),
                )
                for one in rows
            ],
        )
    else:
        terminal.say(f"{reference} has no versions")
        terminal.note("next: alga-ext publish", "cyan")
    terminal.document(Page(items=found))
    return Exit.OK


def deprecate(version: str, message: str | None = None, /, *, undo: Flag = False, access: Access = NEAREST) -> Exit:
    """Say that a version should not be used any more. It goes on running; those who have it are told.

    Args:
        version: NAME@VERSION.
        message: what they should do instead.
        undo: take it back.
    """
    terminal = access.terminal()
    if undo == (message is not None):
        raise usage("give a message, or --undo", next_step='alga-ext deprecate NAME@VERSION "use 2.0.0"')
    body = None if message is None else _Message(message)
    changed = asyncio.run(_change(access, version, "deprecate", body, terminal))
    terminal.say(f"{version} is {'no longer ' if undo else ''}deprecated", "green")
    terminal.document(decoded(changed, dict))
    return Exit.OK


def revoke(version: str, /, *, reason: str, yes: Flag = False, access: Access = NEAREST) -> Exit:
    """Stop a version everywhere within seconds. It cannot be undone: publish another version instead.

    Args:
        version: NAME@VERSION.
        reason: for everybody who had it installed.
        yes: do not ask.
    """
    terminal = access.terminal()
    reference, number = _whole(version)
    if not yes:
        _sure(f"{reference}@{number}", terminal)
    changed = asyncio.run(_change(access, version, "revoke", _Reason(reason), terminal))
    terminal.say(f"{version} is revoked: it stops everywhere within seconds", "green")
    terminal.note("next: publish a version without the fault; installs go there with upgrade or rollback", "cyan")
    terminal.document(decoded(changed, dict))
    return Exit.OK


def _sure(named: str, terminal: Terminal) -> None:
    if not terminal.can_ask:
        raise CliError(
            f"revoking {named} stops it everywhere and cannot be undone, and nobody is here to be asked",
            next_step="say --yes when you are sure; deprecate leaves it running",
            code="cli_consent_needed",
            exit_status=Exit.REFUSED,
        )
    if terminal.ask(f"It stops everywhere and cannot be undone. Type {named} to revoke it:") != named:
        raise CliError(
            "nothing was revoked", next_step="say it again when you are sure", code="cli_consent_refused",
            exit_status=Exit.REFUSED,
        )  # fmt: skip


def _note(version: Version) -> str:
    if version.deprecated is not None:
        return f"deprecated: {version.deprecated.message}"
    if version.reason is not None:
        return f"{version.reason.code}: {version.reason.message}"
    return ""


def _whole(version: str) -> tuple[str, str]:
    reference, number = named_or_here(version)
    if number is None:
        raise usage(f"which version of {reference}?", next_step=f"write {reference}@1.2.3")
    return reference, number


async def _versions(access: Access, reference: str, terminal: Terminal) -> tuple[list[dict[str, Any]], str | None]:
    async with connected(access.target(terminal)) as gateway:
        listed = await registry.find(gateway, reference)
        found = [item async for item in registry.versions(gateway, listed.extension_id)]
        install = await of_extension(gateway, listed.extension_id)
        return found, install.version_id if install else None


async def _change(access: Access, version: str, what: str, body: msgspec.Struct | None, terminal: Terminal) -> Answer:
    reference, number = _whole(version)
    async with connected(access.target(terminal)) as gateway:
        return await _say(gateway, await registry.version_named(gateway, reference, number), what, body)


async def _say(gateway: Gateway, version: Version, what: str, body: msgspec.Struct | None) -> Answer:
    path = f"/api/registry/versions/{quote(version.version_id, safe='')}/{what}"
    return await (gateway.delete(path) if body is None else gateway.post(path, body))
