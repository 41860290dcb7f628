"""The local stack, as its `stack.json` describes it: found upwards from here, or where one is told to look.

The file is written by the stack when it is ready and removed at its end. Its form is a contract: fields are added,
never renamed; only what a command needs is read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from gateway.cli.failures import CliError

VARIABLE: Final = "ALGA_STACK"
PLACE: Final = Path(".local") / "stack.json"
TENANT: Final = "acme"  # of the two demo tenants, the one whose administrator the command line is


class Tenant(msgspec.Struct, frozen=True):
    """A demo tenant: `api_key` is its administrator's."""

    id: str
    api_key: str


class Stack(msgspec.Struct, frozen=True):
    """A running local stack.

    Attributes:
        gateway_url: the public listener of its gateway.
        trust_bundle: path of the file with the keys it trusts.
    """

    gateway_url: str
    trust_bundle: str
    tenants: tuple[Tenant, ...]

    def api_key(self) -> str:
        """The credential commands use when none is given. Raises `CliError` when the demo tenant is missing."""
        for tenant in self.tenants:
            if tenant.id == TENANT:
                return tenant.api_key
        raise CliError(
            f"the local stack has no tenant {TENANT}",
            next_step="stop the stack and start it again: make run",
            code="cli_stack_unreadable",
        )


def find_stack(given: Path | None, environment: Mapping[str, str], start: Path) -> Stack | None:
    """The stack that `--stack` or `ALGA_STACK` names, else the nearest `.local/stack.json` from `start` upwards.

    Args:
        given: the file, or the folder it lies in.
        environment: usually `os.environ`.
        start: usually the current folder.

    Returns:
        `None` when no stack is named and none is found.

    Raises:
        CliError: a named one is not there, or a file is not a `stack.json`.
    """
    named = given or (Path(environment[VARIABLE]) if environment.get(VARIABLE) else None)
    if named is not None:
        path = named / "stack.json" if named.is_dir() else named
        if not path.is_file():
            raise _none(f"no stack is ready at {path}")
        return read_stack(path)
    here = start.resolve()
    for folder in (here, *here.parents):
        path = folder / PLACE
        if path.is_file():
            return read_stack(path)
    return None


def need_stack(given: Path | None) -> Stack:
    """The stack, which must be there. Raises `CliError`."""
    found = find_stack(given, os.environ, Path.cwd())
    if found is None:
        raise _none(f"no local stack was found: there is no {PLACE} here or further up")
    return found


def _none(what: str) -> CliError:
    return CliError(
        what,
        next_step=f"start one (make run), or name its stack.json with --stack or {VARIABLE}",
        code="cli_no_stack",
    )


def read_stack(path: Path) -> Stack:
    """The stack in a file. Raises `CliError` when it is none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Stack)
    except (OSError, msgspec.MsgspecError) as error:
        raise CliError(
            f"{path} cannot be read: {error}",
            next_step="stop the stack and start it again: make run",
            code="cli_stack_unreadable",
        ) from error
