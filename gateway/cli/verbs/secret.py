"""`alga-ext secret set|unset|list`: what an install keeps sealed. A value comes from standard input or a prompt, since
what stands on a command line is seen by every process of the machine and kept by the shell.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

import msgspec
from cyclopts import Parameter

from gateway.cli import installs
from gateway.cli.access import NEAREST, Access
from gateway.cli.failures import Exit, usage
from gateway.cli.installs import Install
from gateway.cli.project import reference_here
from gateway.cli.rest import Gateway, connected, decoded
from gateway.cli.terminal import Terminal
from gateway.cli.typed_in import hidden
from shared.limits import SECRET_REDACTED_MIN_BYTES, SECRET_VALUE_MAX_BYTES

_TABLE: Final = ("NAME", "SET", "EXPIRES", "HOSTS", "CHANGED", "BY")

Hosts = Annotated[list[str] | None, Parameter(name="--host", negative="")]


class _Secret(msgspec.Struct, frozen=True, kw_only=True):
    """One secret, as far as the table needs it."""

    name: str
    is_set: bool = msgspec.field(name="set")
    granted: bool = True
    hosts: tuple[str, ...] = ()
    expires_at: str | None = None
    expired: bool = False
    updated_at: str | None = None
    updated_by: str | None = None


class _Secrets(msgspec.Struct, frozen=True):
    secrets: tuple[_Secret, ...]


class _Write(msgspec.Struct, frozen=True, omit_defaults=True):
    """What `set` sends under a name."""

    value: str
    expires_at: str | None = None
    hosts: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET

    def __repr__(self) -> str:
        return "_Write(…)"


def secret(
    action: Literal["set", "unset", "list"],
    name: str | None = None,
    /,
    *,
    extension: str | None = None,
    expires: str | None = None,
    host: Hosts = None,
    access: Access = NEAREST,
) -> Exit:
    """Set, remove or list the secrets of an install. Nobody can read a value back, neither here nor elsewhere.

    Args:
        action: set (the value comes from standard input, or is asked for), unset, or list.
        name: of the secret; not with list.
        extension: NAME, publisher.NAME or an id; by default the manifest here.
        expires: with set, when the value ends: 2030-01-31T00:00:00Z.
        host: with set, a host the value may be injected for. Repeatable; by default those of before, or of the manifest.
    """
    terminal = access.terminal()
    if (name is None) != (action == "list"):
        said = f"secret {action} takes {'no name' if action == 'list' else 'the name of a secret'}"
        raise usage(said, next_step=f"alga-ext secret {action}{'' if action == 'list' else ' NAME'}")
    if action != "set" and (expires is not None or host):
        raise usage("--expires and --host go with set", next_step=f"leave them out: alga-ext secret {action}")
    reference = extension or reference_here()
    wanted: dict[str, _Write | None] = {}
    if name is not None:
        wanted[name] = _write(name, expires, host, terminal) if action == "set" else None
    answer = asyncio.run(_ask(access, reference, wanted, terminal))
    if name is not None:
        terminal.say(f"{name} is {'set' if action == 'set' else 'removed'}", "green")
    else:
        _show(msgspec.convert(answer, _Secrets).secrets, terminal)
    terminal.document(answer)
    return Exit.OK


async def _ask(access: Access, reference: str, wanted: dict[str, _Write | None], terminal: Terminal) -> dict[str, Any]:
    async with connected(access.target(terminal)) as gateway:
        install = await installs.present(gateway, reference)
        return await _secrets(gateway, install, wanted)


async def _secrets(gateway: Gateway, install: Install, wanted: dict[str, _Write | None]) -> dict[str, Any]:
    path = f"/api/installs/{quote(install.install_id, safe='')}/secrets"
    answer = gateway.put(path, wanted) if wanted else gateway.get(path)
    return decoded(await answer, dict[str, Any])


def _write(name: str, expires: str | None, hosts: list[str] | None, terminal: Terminal) -> _Write:
    if expires is not None:
        try:
            ends = datetime.fromisoformat(expires)
        except ValueError:
            ends = None
        if ends is None or ends.tzinfo is None:
            raise usage(f"--expires {expires} is not a time with a zone", next_step="write 2030-01-31T00:00:00Z")
        expires = ends.isoformat()
    value = hidden(
        f"the value of {name}",
        terminal,
        max_bytes=SECRET_VALUE_MAX_BYTES,
        otherwise=f"give it on standard input: alga-ext secret set {name} < FILE; unset removes a secret",
    )
    if len(value.encode()) < SECRET_REDACTED_MIN_BYTES:
        terminal.warn(
            f"a value below {SECRET_REDACTED_MIN_BYTES} bytes is not taken out of logs: it stands in every other line"
        )
    return _Write(value, expires, msgspec.UNSET if hosts is None else tuple(hosts))


def _show(secrets: tuple[_Secret, ...], terminal: Terminal) -> None:
    if not secrets:
        terminal.say("no secrets are set, and none are asked for")
        return
    rows = [
        (
            one.name,
            ("yes" if one.granted else "not granted") if one.is_set else "no",
            f"{one.expires_at or ''}{' (past)' if one.expired else ''}",
            " ".join(one.hosts),
            one.updated_at or "",
            one.updated_by or "",
        )
        for one in secrets
    ]
    terminal.table(_TABLE, rows)
