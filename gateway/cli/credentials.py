"""What `login` remembers: the address of one gateway and the credential for it, in a file for its owner alone.

The credential is written nowhere else, never printed, and goes to this address only. A file that others may read is
refused, since a credential that others may have read is not one's own any more.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from gateway.cli.failures import CliError, Exit

_NAME: Final = "credentials.json"


class Login(msgspec.Struct, frozen=True):
    """A gateway and the credential for it."""

    url: str
    token: str

    def __repr__(self) -> str:
        return f"Login(url={self.url!r}, token=…)"


def configuration(environment: Mapping[str, str]) -> Path:
    """The folder of the user's own files: `alga-ext` below `XDG_CONFIG_HOME`, else below `~/.config`."""
    return Path(environment.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")) / "alga-ext"


def place(environment: Mapping[str, str]) -> Path:
    """Where the credential lies."""
    return configuration(environment) / _NAME


def read(environment: Mapping[str, str]) -> Login | None:
    """What was remembered, `None` when nothing was. Raises `CliError` for a file that others may read, or is none."""
    path = place(environment)
    try:
        exposed = stat.S_IMODE(path.stat().st_mode) & 0o077
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    if exposed:
        raise CliError(
            f"others than you may read or change {path}",
            next_step="alga-ext logout, take a new credential, and log in with it",
            code="cli_credential_exposed",
            exit_status=Exit.REFUSED,
        )
    try:
        return msgspec.json.decode(data, type=Login)
    except msgspec.MsgspecError as error:
        raise CliError(
            f"{path} cannot be read: {error}", next_step="alga-ext login writes it anew", code="cli_no_credential"
        ) from error


def remember(environment: Mapping[str, str], login: Login) -> Path:
    """Write the file (mode 0600, its folder 0700 if made), complete or not at all. Returns its path."""
    path = place(environment)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name(f".{_NAME}.{secrets.token_hex(8)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(login) + b"\n")
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    return path


def forget(environment: Mapping[str, str]) -> bool:
    """Remove the file; whether there was one."""
    path = place(environment)
    there = path.is_file()
    path.unlink(missing_ok=True)
    return there
