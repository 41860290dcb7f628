"""`alga-ext status`: one install on one screen."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec

from gateway.cli import differences, installs
from gateway.cli.access import NEAREST, Access
from gateway.cli.failures import Exit
from gateway.cli.installs import Install
from gateway.cli.project import named_or_here
from gateway.cli.rest import connected, decoded
from gateway.cli.terminal import Terminal
from shared.capabilities import DEFAULTS

_SHOWN: Final = 5  # entries of the history
_LABEL_CHARS: Final = 11


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened to an install."""

    action: str
    version: str
    actor: str = ""
    at: str = ""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What `status --json` prints: the REST objects."""

    install: dict[str, Any]
    history: list[dict[str, Any]]


class _History(msgspec.Struct, frozen=True):
    items: list[dict[str, Any]]
    next_cursor: str | None = None


def status(extension: str | None = None, /, *, access: Access = NEAREST) -> Exit:
    """Show one install: version, what it was granted, whether an upgrade waits, what happened lately.

    Args:
        extension: NAME, publisher.NAME or an id; by default the manifest here.
    """
    terminal = access.terminal()
    reference, _ = named_or_here(extension)
    found = asyncio.run(_status(access, reference, terminal))
    _show(msgspec.convert(found.install, Install), [msgspec.convert(one, Entry) for one in found.history], terminal)
    terminal.document(found)
    return Exit.OK


async def _status(access: Access, reference: str, terminal: Terminal) -> Status:
    async with connected(access.target(terminal)) as gateway:
        install = await installs.present(gateway, reference)
        answer = decoded(await gateway.get(installs.path(install)), dict[str, Any])
        history = decoded(await gateway.get(installs.path(install, f"history?limit={_SHOWN}")), _History)
        return Status(install=answer, history=history.items)


def _show(install: Install, history: list[Entry], terminal: Terminal) -> None:
    terminal.say(f"{install.reference} {install.version}", "bold")
    _row("status", install.status, terminal, "green" if install.status == "enabled" else "yellow")
    if install.deprecated is not None:
        _row("deprecated", install.deprecated.message, terminal, "yellow")
    _row("install", f"{install.install_id}, since {_time(install.created_at)}", terminal)
    _row("bundle", install.content_hash, terminal)
    held = install.granted
    hosts, secrets = (f"host {name}" for name in held.egress), (f"secret {name}" for name in held.secrets)
    granted = [*(name for name in held.capabilities if name not in DEFAULTS), *hosts, *secrets]
    withheld = [name for name in DEFAULTS if name not in held.capabilities]
    _row("granted", ", ".join(granted) or "nothing beyond the defaults", terminal)
    if withheld:
        _row("withheld", ", ".join(withheld), terminal)
    if install.upgrade is not None:
        _row("waiting", f"{install.upgrade.version} waits for consent", terminal, "yellow")
        if install.upgrade.diff is not None:
            for line in differences.lines(install.upgrade.diff):
                terminal.say(f"{'':<{_LABEL_CHARS}}{line.mark} {line.text}", "yellow" if line.grew else "")
        terminal.note(f"next: alga-ext upgrade {install.reference}@{install.upgrade.version}, or --decline", "cyan")
    for at, entry in enumerate(history):
        by = f" by {entry.actor}" if entry.actor else ""
        _row("" if at else "history", f"{_time(entry.at)}  {entry.action} {entry.version}{by}", terminal)


def _row(label: str, text: str, terminal: Terminal, style: str = "") -> None:
    terminal.say(f"{label:<{_LABEL_CHARS}}{text}", style)


def _time(text: str) -> str:
    return text[:16].replace("T", " ")
