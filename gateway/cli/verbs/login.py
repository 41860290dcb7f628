"""`alga-ext login` and `logout`: a gateway and a credential that later commands use."""

from __future__ import annotations

import asyncio
import os
from typing import Annotated

import msgspec
from cyclopts import Parameter

from gateway.cli import credentials
from gateway.cli.access import AS_TEXT, TOKEN_VARIABLE, URL_VARIABLE, Output, Target, checked_address
from gateway.cli.credentials import Login
from gateway.cli.failures import CliError, Exit
from gateway.cli.rest import connected
from gateway.cli.terminal import Terminal
from gateway.cli.typed_in import hidden
from shared.limits import HEADER_BLOCK_MAX_BYTES

Force = Annotated[bool, Parameter(negative="")]


class LoggedIn(msgspec.Struct, frozen=True, kw_only=True):
    """What `login --json` prints; the credential is no part of it.

    Attributes:
        file: where both are kept.
        accepted: whether the gateway took the credential; `None` when it was not asked.
    """

    url: str
    file: str
    accepted: bool | None


class LoggedOut(msgspec.Struct, frozen=True):
    """What `logout --json` prints."""

    forgotten: bool


def login(url: str, /, *, unchecked: Force = False, output: Output = AS_TEXT) -> Exit:
    """Remember a gateway and a credential for it. The credential comes from standard input or is asked for.

    Other commands use it when neither --url, --stack, ALGA_EXT_URL nor ALGA_STACK name another gateway.

    Args:
        url: address of the gateway: https://extensions.example.com
        unchecked: do not ask the gateway whether it takes the credential.
    """
    terminal = output.terminal()
    address = checked_address(url)
    token = hidden(
        "the API key or session token",
        terminal,
        max_bytes=HEADER_BLOCK_MAX_BYTES,
        otherwise=f"give it on standard input: alga-ext login {url} < FILE",
    )
    if not token.isprintable() or " " in token:
        raise CliError(
            "a credential is one word without spaces", next_step="copy it again, whole", code="cli_usage",
            exit_status=Exit.USAGE,
        )  # fmt: skip
    target = Target(address, token)
    if not target.private:
        terminal.warn(f"{address} is not https: the credential travels for everyone to read")
    if not unchecked:
        asyncio.run(_try(target, terminal))
    file = credentials.remember(os.environ, Login(address, token))
    terminal.say(f"logged in to {address}", "green")
    terminal.note(f"kept in {file}, readable for you only; alga-ext logout forgets it")
    for variable in (URL_VARIABLE, TOKEN_VARIABLE):
        if os.environ.get(variable):
            terminal.warn(f"{variable} is set and wins over it")
    terminal.document(LoggedIn(url=address, file=str(file), accepted=None if unchecked else True))
    return Exit.OK


def logout(*, output: Output = AS_TEXT) -> Exit:
    """Forget the gateway and the credential of login. The credential itself stays valid until it is revoked."""
    terminal = output.terminal()
    forgotten = credentials.forget(os.environ)
    terminal.say("logged out" if forgotten else "nobody was logged in")
    terminal.document(LoggedOut(forgotten))
    return Exit.OK


async def _try(target: Target, terminal: Terminal) -> None:
    """Raise `CliError` when the gateway does not take the credential; what it may do is another matter (doctor)."""
    with terminal.working("asking the gateway"):
        async with connected(target) as gateway:
            answer = await gateway.call("GET", "/api/installs?limit=1")
    if answer.status == 401:
        raise CliError(
            f"{target.url} does not take this credential",
            next_step="take a new one from the console or your operator; nothing was remembered",
            code="unauthenticated",
            exit_status=Exit.REFUSED,
        )
    if answer.status not in (200, 403):
        raise CliError(
            f"{target.url} answered {answer.status}; is this the gateway's address?",
            next_step="check the address, or remember it as it is with --unchecked",
            code="cli_unexpected_answer",
        )
