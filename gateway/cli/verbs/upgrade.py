"""`alga-ext upgrade` and `rollback`: another version for an install, after showing what changes."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from gateway.cli import consent, differences, installs, registry
from gateway.cli.access import NEAREST, Access
from gateway.cli.consent import Grants
from gateway.cli.failures import CliError, Exit, usage
from gateway.cli.installs import Install
from gateway.cli.project import named_or_here
from gateway.cli.registry import Version
from gateway.cli.rest import Gateway, connected, decoded
from gateway.cli.terminal import Terminal
from shared.permission_diff import Held, PermissionDiff, needs_consent, permission_diff

Flag = Annotated[bool, Parameter(negative="")]
Names = Annotated[list[str] | None, Parameter(negative="")]


class _Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says about consent."""

    everything: bool
    named: tuple[str, ...]
    unasked: bool
    later: bool


class _Upgrade(msgspec.Struct, frozen=True, omit_defaults=True):
    version: str
    grants: Grants | None = None


class _Rollback(msgspec.Struct, frozen=True, omit_defaults=True):
    version: str | None = None


def upgrade(
    extension: str | None = None,
    /,
    *,
    grant_all: Flag = False,
    grant: Names = None,
    yes: Flag = False,
    ask: Flag = False,
    decline: Flag = False,
    access: Access = NEAREST,
) -> Exit:
    """Upgrade an install, after showing what changes. Data, settings and grants stay.

    A version that could do more than was granted needs consent: at the terminal, or by --grant-all or --grant, or with
    --ask by an administrator later, in the console.

    Args:
        extension: NAME, publisher.NAME or an id, perhaps with @VERSION; by default the manifest here. Without a
            version: the newest.
        grant_all: grant everything the new version asks for and the old one did not.
        grant: grant this of it and nothing else: a capability, host:NAME or secret:NAME. Repeatable.
        yes: upgrade without a question, which is refused when it needs consent.
        ask: have a version that needs consent wait for an administrator; the old one goes on meanwhile.
        decline: decline the upgrade that waits for consent; the old version stays.
    """
    terminal = access.terminal()
    if sum((grant_all, bool(grant), yes, ask, decline)) > 1:
        raise usage(
            "--grant-all, --grant, --yes, --ask and --decline say different things", next_step="keep one of them"
        )
    reference, version = named_or_here(extension)
    if decline:
        answer = asyncio.run(_decline(access, reference, terminal))
    else:
        choice = _Choice(everything=grant_all, named=tuple(grant or ()), unasked=yes, later=ask)
        answer = asyncio.run(_upgrade(access, reference, version, choice, terminal))
    now = msgspec.convert(answer, Install)
    if now.upgrade is not None:
        terminal.say(f"{now.reference} {now.version} goes on; {now.upgrade.version} waits for consent", "yellow")
        terminal.note(f"next: alga-ext upgrade {now.reference}@{now.upgrade.version} --grant-all", "cyan")
    else:
        terminal.say(f"{now.reference} is {now.version}", "green")
    terminal.document(answer)
    return Exit.OK


def rollback(extension: str | None = None, /, *, access: Access = NEAREST) -> Exit:
    """Go back to the version that ran before, with the grants it had then. Data stay as they are now.

    Args:
        extension: NAME, publisher.NAME or an id, perhaps with @VERSION of one that ran here; by default the manifest
            here.
    """
    terminal = access.terminal()
    reference, version = named_or_here(extension)
    answer = asyncio.run(_rollback(access, reference, version, terminal))
    now = msgspec.convert(answer, Install)
    terminal.say(f"{now.reference} is {now.version} again", "green")
    terminal.document(answer)
    return Exit.OK


async def _upgrade(
    access: Access, reference: str, number: str | None, choice: _Choice, terminal: Terminal
) -> dict[str, Any]:
    async with connected(access.target(terminal)) as gateway:
        install = await installs.present(gateway, reference)
        listed = await registry.find(gateway, install.extension_id)
        target = await registry.version_of(gateway, listed, number)
        if install.version_id == target.version_id:
            terminal.note(f"{target.version} is installed already")
            return decoded(await gateway.get(installs.path(install)), dict[str, Any])
        if target.deprecated is not None:
            terminal.warn(f"{target.version} is deprecated: {target.deprecated.message}")
        diff = await _compared(gateway, install, target)
        differences.show(diff, install.reference, terminal)
        wish = _Upgrade(target.version, _grants(install, target, diff, choice, terminal))
        return decoded(await gateway.post(installs.path(install, "upgrade"), wish), dict[str, Any])


async def _compared(gateway: Gateway, install: Install, target: Version) -> PermissionDiff:
    present = registry.read(await registry.version_by_id(gateway, install.version_id))
    return permission_diff(present.parsed(), target.parsed())


def _grants(
    install: Install, target: Version, diff: PermissionDiff, choice: _Choice, terminal: Terminal
) -> Grants | None:
    """The consent; `None` when none is needed, or it is to be given later. Raises `CliError` when it is not given."""
    manifest, held = target.parsed(), install.granted
    kept = consent.carried(manifest, held)
    if choice.named:
        return consent.added(kept, consent.named(manifest, choice.named, ()))
    needed = needs_consent(diff, Held(capabilities=held.capabilities, egress=held.egress, secrets=held.secrets))
    if choice.later or not needed:
        return None
    if choice.everything:
        return consent.added(kept, consent.grown(diff))
    named = f"{install.reference}@{target.version}"
    if choice.unasked or not terminal.can_ask:
        raise CliError(
            f"{named} could do more than was granted"
            + (
                "; --yes goes only where nothing more is asked for" if choice.unasked else ", and nobody is here to ask"
            ),
            next_step="say what is granted of it: --grant-all, or --grant for each capability, host:NAME, secret:NAME; "
            "or --ask, and an administrator decides in the console",
            code="cli_consent_needed",
            exit_status=Exit.REFUSED,
            members={"diff": msgspec.to_builtins(diff)},
        )
    answer = terminal.ask("Grant what is more? [y]es, [n]o:").lower()
    if answer not in ("y", "yes"):
        raise CliError(
            f"nothing was granted; {install.version} goes on",
            next_step="upgrade again when you want to grant it",
            code="cli_consent_refused",
            exit_status=Exit.REFUSED,
        )
    return consent.added(kept, consent.grown(diff))


async def _decline(access: Access, reference: str, terminal: Terminal) -> dict[str, Any]:
    async with connected(access.target(terminal)) as gateway:
        install = await installs.present(gateway, reference)
        return decoded(await gateway.delete(installs.path(install, "consent")), dict[str, Any])


async def _rollback(access: Access, reference: str, number: str | None, terminal: Terminal) -> dict[str, Any]:
    async with connected(access.target(terminal)) as gateway:
        install = await installs.present(gateway, reference)
        return decoded(await gateway.post(installs.path(install, "rollback"), _Rollback(number)), dict[str, Any])
