"""`alga-ext enable`, `disable` and `uninstall`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from gateway.cli import installs
from gateway.cli.access import NEAREST, Access
from gateway.cli.failures import CliError, Exit
from gateway.cli.installs import Install
from gateway.cli.project import named_or_here
from gateway.cli.rest import Answer, Gateway, connected, decoded
from gateway.cli.terminal import Terminal

Flag = Annotated[bool, Parameter(negative="")]
Change = Callable[[Gateway, Install], Awaitable[Answer]]


def enable(extension: str | None = None, /, *, access: Access = NEAREST) -> Exit:
    """Let a disabled install run again.

    Args:
        extension: NAME, publisher.NAME or an id; by default the manifest here.
    """
    terminal = access.terminal()

    async def change(gateway: Gateway, install: Install) -> Answer:
        return await gateway.post(installs.path(install, "enable"))

    return _changed(access, extension, change, "runs", terminal)


def disable(extension: str | None = None, /, *, access: Access = NEAREST) -> Exit:
    """Stop an install: nobody can call it, its page and its schedules rest. Data, settings and grants stay.

    Args:
        extension: NAME, publisher.NAME or an id; by default the manifest here.
    """
    terminal = access.terminal()

    async def change(gateway: Gateway, install: Install) -> Answer:
        return await gateway.post(installs.path(install, "disable"))

    return _changed(access, extension, change, "is stopped; alga-ext enable lets it run again", terminal)


def uninstall(
    extension: str | None = None, /, *, purge: Flag = False, yes: Flag = False, access: Access = NEAREST
) -> Exit:
    """Uninstall an extension. Its data are kept for 30 days, for an install that comes back; --purge erases them now.

    Args:
        extension: NAME, publisher.NAME or an id; by default the manifest here. With --purge, the install's own id also
            names one that was uninstalled before.
        purge: erase storage, secrets, schedules and settings, too. It cannot be undone.
        yes: do not ask before erasing.
    """
    terminal = access.terminal()
    if purge and not yes:
        _sure(terminal)

    async def change(gateway: Gateway, install: Install) -> Answer:
        return await gateway.delete(installs.path(install) + ("?purge=true" if purge else ""))

    said = "is uninstalled and its data are erased" if purge else "is uninstalled; its data are kept for 30 days"
    return _changed(access, extension, change, said, terminal, gone=purge)


def _sure(terminal: Terminal) -> None:
    if terminal.can_ask and terminal.ask("Erase all its data, secrets and settings for good? [y/N]").lower() in (
        "y",
        "yes",
    ):
        return
    raise CliError(
        "nothing was erased and nothing was uninstalled",
        next_step="say --yes when you are sure; without --purge its data are kept for 30 days",
        code="cli_consent_needed",
        exit_status=Exit.REFUSED,
    )


def _changed(
    access: Access, extension: str | None, change: Change, said: str, terminal: Terminal, *, gone: bool = False
) -> Exit:
    reference, _ = named_or_here(extension)
    answer = asyncio.run(_change(access, reference, change, terminal, gone=gone))
    now = msgspec.convert(answer, Install)
    terminal.say(f"{now.reference} {said}", "green")
    terminal.document(answer)
    return Exit.OK


async def _change(access: Access, reference: str, change: Change, terminal: Terminal, *, gone: bool) -> dict[str, Any]:
    async with connected(access.target(terminal)) as gateway:
        install = await installs.present(gateway, reference, uninstalled=gone)
        return decoded(await change(gateway, install), dict[str, Any])
