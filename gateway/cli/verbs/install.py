"""`alga-ext install` and `list`: with the consent screen in the terminal."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from cyclopts import Parameter

from gateway.cli import consent, installs, registry
from gateway.cli.access import NEAREST, Access
from gateway.cli.consent import Grants
from gateway.cli.failures import CliError, Exit, usage
from gateway.cli.installs import Install, Page, Wish
from gateway.cli.project import open_project
from gateway.cli.rest import connected, decoded
from gateway.cli.terminal import Terminal
from shared.manifest import Manifest

_HASH_CHARS: Final = 19  # of a digest in a table: enough to tell two apart

Names = Annotated[list[str] | None, Parameter(negative="")]


class _Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says about granting."""

    everything: bool
    named: tuple[str, ...]
    withhold: tuple[str, ...]
    replace: bool
    config: dict[str, Any]


def install(
    extension: str | None = None,
    /,
    *,
    grant_all: bool = False,
    grant: Names = None,
    withhold: Names = None,
    config: Path | None = None,
    replace: bool = False,
    access: Access = NEAREST,
) -> Exit:
    """Install an extension for your tenant, after showing what it asks for.

    Args:
        extension: NAME, publisher.NAME or an id, perhaps with @VERSION; by default the manifest here. Without a
            version: the newest.
        grant_all: grant everything it asks for, without a question.
        grant: grant this and nothing else beyond the defaults: a capability, host:NAME or secret:NAME. Repeatable.
        withhold: do not grant this default. Repeatable.
        config: a JSON file with the install's settings.
        replace: when another version is installed, uninstall it first; its data stay and belong to the new one.
    """
    terminal = access.terminal()
    if grant_all and grant:
        raise usage("--grant-all and --grant say different things", next_step="keep one of them")
    choice = _Choice(
        everything=grant_all,
        named=tuple(grant or ()),
        withhold=tuple(withhold or ()),
        replace=replace,
        config=_settings(config),
    )
    reference, _, version = (extension or _here()).partition("@")
    made = asyncio.run(_install(access, reference, version or None, choice, terminal))
    installed = msgspec.convert(made, Install)
    terminal.say(f"{installed.reference} {installed.version} is installed: {installed.install_id}", "green")
    terminal.note(f"next: alga-ext call --extension {installed.reference} GET /…", "cyan")
    terminal.document(made)
    return Exit.OK


def list_installs(*, access: Access = NEAREST) -> Exit:
    """List what is installed for your tenant."""
    terminal = access.terminal()
    found = asyncio.run(_all(access, terminal))
    terminal.document(Page(items=found))
    rows = [msgspec.convert(item, Install) for item in found]
    if rows:
        terminal.table(
            ("PUBLISHER", "NAME", "VERSION", "STATUS", "INSTALL", "BUNDLE", "NOTE"),
            [
                (
                    one.publisher,
                    one.name,
                    one.version,
                    one.status,
                    one.install_id,
                    one.content_hash[:_HASH_CHARS],
                    one.remark,
                )
                for one in rows
            ],
        )
        waiting = next((one for one in rows if one.upgrade is not None), None)
        if waiting is not None:
            terminal.note(f"next: alga-ext upgrade {waiting.reference} shows what waits for consent", "cyan")
    else:
        terminal.say("nothing is installed")
        terminal.note("next: alga-ext install NAME", "cyan")
    return Exit.OK


def _settings(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError) as error:
        raise usage(f"{file} holds no settings: {error}", next_step='write a JSON object: {"name": value}') from error


def _here() -> str:
    project = open_project(Path.cwd())
    return f"{project.reference}@{project.manifest.version}"


async def _all(access: Access, terminal: Terminal) -> list[dict[str, Any]]:
    async with connected(access.target(terminal)) as gateway:
        return [item async for item in installs.every(gateway)]


async def _install(
    access: Access, reference: str, version: str | None, choice: _Choice, terminal: Terminal
) -> dict[str, Any]:
    async with connected(access.target(terminal)) as gateway:
        listed = await registry.find(gateway, reference)
        present = await installs.of_extension(gateway, listed.extension_id)
        found = await registry.version_of(gateway, listed, version)
        wanted = found.version
        if present is not None and present.version == wanted:
            terminal.note("this version is installed already; its grants stay as they are")
            return decoded(await gateway.get(f"/api/installs/{present.install_id}"), dict[str, Any])
        if present is not None and not choice.replace:
            raise _another_version(present, wanted)
        wish = Wish(
            extension=listed.extension_id,
            version=wanted,
            grants=_grants(found.parsed(), choice, terminal),
            config=choice.config,
        )
        made = installs.make(gateway, wish) if present is None else installs.replace(gateway, present, wish)
        return decoded(await made, dict[str, Any])


def _grants(manifest: Manifest, choice: _Choice, terminal: Terminal) -> Grants:
    """What is granted, after showing what is asked."""
    consent.show(manifest, terminal)
    if choice.named:
        return consent.named(manifest, choice.named, choice.withhold)
    if choice.everything:
        return consent.asked(manifest).everything(choice.withhold)
    return consent.decide(manifest, choice.withhold, terminal)


def _another_version(present: Install, wanted: str) -> CliError:
    return CliError(
        f"{present.reference} is installed in version {present.version}; you asked for {wanted}",
        next_step=f"alga-ext upgrade {present.reference}@{wanted} keeps its data and shows what changes; --replace asks "
        "anew for everything",
        code="conflict",
        members={"install_id": present.install_id, "version": present.version},
    )
