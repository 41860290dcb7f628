"""Which gateway a command speaks to and as whom, and the options that say so.

In this order: `--url` with `--token`, `--stack`, `ALGA_EXT_URL` with `ALGA_EXT_TOKEN`, `ALGA_STACK`, what `login`
remembers, a local stack that is found. An address that was given never gets another one's credential: a token goes to
the gateway it belongs to and nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import SplitResult, urlsplit

import msgspec
from cyclopts import Parameter

from gateway.cli import credentials
from gateway.cli.failures import CliError, Exit, usage
from gateway.cli.stack import TENANT, Stack, find_stack
from gateway.cli.stack import VARIABLE as STACK_VARIABLE
from gateway.cli.terminal import Terminal

URL_VARIABLE: Final = "ALGA_EXT_URL"
TOKEN_VARIABLE: Final = "ALGA_EXT_TOKEN"

OutFile = Annotated[Path | None, Parameter(name=["--out", "-o"])]


@Parameter(name="*")
@dataclass(frozen=True)
class Output:
    """How a command answers."""

    json: Annotated[bool, Parameter(negative="", show_default=False)] = False
    "Print JSON instead of text."

    def terminal(self) -> Terminal:
        """The streams to answer on."""
        return Terminal(json=self.json)


@Parameter(name="*")
@dataclass(frozen=True)
class Access(Output):
    """Whom a command speaks to."""

    url: str | None = None
    "Address of the gateway; also ALGA_EXT_URL. Without one: that of login, or the local stack's."

    token: str | None = None
    "Session token or API key; also ALGA_EXT_TOKEN. Without one: that of login, or the local stack's administrator."

    stack: Path | None = None
    "The local stack's stack.json; also ALGA_STACK. Without one: .local/stack.json, searched upwards."

    def target(self, terminal: Terminal) -> Target:
        """The gateway and the credential, with a remark when they are the local stack's. Raises `CliError`."""
        found = choose(self, os.environ, Path.cwd())
        if found.stack is not None:
            whom = "" if self.token else f" as the administrator of {TENANT}"
            terminal.note(f"using the local stack at {found.url}{whom}")
            return found
        if found.remembered:
            terminal.note(f"using {found.url}, where you are logged in")
        if not found.private:
            terminal.warn(f"{found.url} is not https: the credential travels for everyone to read")
        return found


AS_TEXT: Final = Output()
NEAREST: Final = Access()


class Target(msgspec.Struct, frozen=True):
    """A gateway and who calls it.

    Attributes:
        url: without a slash at its end.
        token: the bearer credential.
        stack: the local stack that both came from.
        remembered: whether `login` remembered it.
    """

    url: str
    token: str
    stack: Stack | None = None
    remembered: bool = False

    @property
    def private(self) -> bool:
        """Whether nobody on the way can read the credential: https, or this machine."""
        parts = urlsplit(self.url)
        return parts.scheme == "https" or is_loopback(parts.hostname or "")


def choose(given: Access, environment: Mapping[str, str], here: Path) -> Target:
    """The gateway and the credential.

    Args:
        given: the options of the command.
        environment: usually `os.environ`.
        here: where the search for a local stack begins.

    Raises:
        CliError: an address is not one, a credential is missing, or there is no local stack either.
    """
    named = given.stack if given.url is None else None
    url = given.url or (None if named else environment.get(URL_VARIABLE))
    token = given.token or (None if named else environment.get(TOKEN_VARIABLE))
    if url is not None and token is not None:
        return Target(checked_address(url), token)
    remembered = None if named else credentials.read(environment)
    if url is not None:
        if remembered is not None and remembered.url == checked_address(url):
            return Target(remembered.url, remembered.token, remembered=True)
        raise CliError(
            f"there is no credential for {url}",
            next_step=f"give a session token or API key with --token or {TOKEN_VARIABLE}, or alga-ext login {url}",
            code="unauthenticated",
            exit_status=Exit.REFUSED,
        )
    if remembered is not None and not environment.get(STACK_VARIABLE):
        return Target(checked_address(remembered.url), token or remembered.token, remembered=True)
    stack = find_stack(named, environment, here)
    if stack is None:
        raise CliError(
            "no gateway was named and no local stack was found",
            next_step=f"give --url and --token ({URL_VARIABLE}, {TOKEN_VARIABLE}), start a stack (make run), "
            "name its stack.json with --stack, or alga-ext login URL",
            code="cli_no_gateway",
        )
    return Target(checked_address(stack.gateway_url), token or stack.api_key(), stack)


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine, by name or by address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def checked_address(url: str) -> str:
    """`url` without a slash at its end. Raises `CliError` when it is no gateway's address."""
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = SplitResult("", "", "", "", "")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or "@" in url:
        raise usage(f"{url!r} is not the address of a gateway", next_step="write https://host or http://127.0.0.1:8000")
    return url.rstrip("/")
