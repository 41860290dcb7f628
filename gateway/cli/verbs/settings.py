"""`alga-ext config get|set`: the settings of an install, typed as its manifest declares them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from cyclopts import Parameter

from gateway.cli import installs, registry
from gateway.cli.access import NEAREST, Access
from gateway.cli.failures import CliError, Exit, usage
from gateway.cli.project import reference_here
from gateway.cli.rest import Gateway, connected, decoded
from gateway.cli.terminal import Terminal, as_text
from shared.manifest_parts import ConfigProperty

Names = Annotated[list[str] | None, Parameter(negative="")]


class _Config(msgspec.Struct, frozen=True):
    config: dict[str, Any]


class Settings(msgspec.Struct, frozen=True):
    """What is set, and what the installed version declares."""

    answer: dict[str, Any]
    declared: Mapping[str, ConfigProperty]

    @property
    def values(self) -> dict[str, Any]:
        """The settings."""
        return dict(self.answer.get("config") or {})


def config(
    action: Literal["get", "set"],
    names: list[str] | None = None,
    /,
    *,
    unset: Names = None,
    extension: str | None = None,
    access: Access = NEAREST,
) -> Exit:
    """Show or change the settings of an install. What is a secret belongs into alga-ext secret.

    Args:
        action: get (all, or those named), or set.
        names: with get: names of settings; with set: NAME=VALUE, the value as the manifest's schema types it.
        unset: with set, remove this setting. Repeatable.
        extension: NAME, publisher.NAME or an id; by default the manifest here.
    """
    terminal = access.terminal()
    given = names or []
    if action == "set" and not given and not unset:
        raise usage("what is to be set?", next_step="alga-ext config set NAME=VALUE, or --unset NAME")
    if action == "get" and unset:
        raise usage("--unset goes with set", next_step="alga-ext config set --unset NAME")
    pairs = [_pair(text) for text in given] if action == "set" else []
    reference = extension or reference_here()
    found = asyncio.run(
        _settings(access, reference, (pairs, tuple(unset or ())) if action == "set" else None, terminal)
    )
    shown = given if action == "get" else []
    missing = [name for name in shown if name not in found.values and name not in found.declared]
    if missing:
        raise CliError(
            f"there is no setting {', '.join(missing)}",
            next_step=f"{reference} has {', '.join(sorted({*found.values, *found.declared})) or 'none'}",
            code="not_found",
        )
    _show(found, shown, terminal)
    terminal.document(found.answer)
    return Exit.OK


def _show(found: Settings, names: Sequence[str], terminal: Terminal) -> None:
    rows = []
    for name in names or sorted({*found.values, *found.declared}):
        declared = found.declared.get(name)
        value = found.values.get(name, msgspec.UNSET)
        if value is msgspec.UNSET:
            default = declared.default if declared is not None else None
            shown = "" if default is None else f"{as_text(default)} (default)"
        else:
            shown = as_text(value)
        about = declared.title or declared.description if declared is not None else ""
        rows.append((name, shown, declared.type if declared is not None else "", about))
    if rows:
        terminal.table(("NAME", "VALUE", "TYPE", "ABOUT"), rows)
    else:
        terminal.say("it has no settings")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise usage(f"{text!r} is no setting", next_step="write NAME=VALUE")
    return name, value


def typed(name: str, text: str, declared: ConfigProperty | None) -> Any:
    """A value as its schema types it; without a schema JSON where it is some, else text. Raises `CliError`."""
    kind = declared.type if declared is not None else None
    if kind == "string":
        return text
    try:
        value = msgspec.json.decode(text)
    except msgspec.MsgspecError:
        value = text
    fits = {
        None: True,
        "boolean": isinstance(value, bool),
        "integer": isinstance(value, int) and not isinstance(value, bool),
        "number": isinstance(value, (int, float)) and not isinstance(value, bool),
    }
    if not fits.get(kind, True):
        raise usage(f"{name} is of type {kind}; {text!r} is not", next_step=f"write {name}={_example(kind)}")
    return value


def _example(kind: str | None) -> str:
    return {"boolean": "true", "integer": "3", "number": "1.5"}.get(kind or "", "…")


async def _settings(
    access: Access, reference: str, change: tuple[list[tuple[str, str]], tuple[str, ...]] | None, terminal: Terminal
) -> Settings:
    async with connected(access.target(terminal)) as gateway:
        install = await installs.present(gateway, reference)
        declared = await _declared(gateway, install.version_id)
        path = installs.path(install, "config")
        answer = decoded(await gateway.get(path), dict[str, Any])
        if change is None:
            return Settings(answer, declared)
        pairs, unset = change
        kept = {name: value for name, value in Settings(answer, declared).values.items() if name not in unset}
        wanted = kept | {name: typed(name, text, declared.get(name)) for name, text in pairs}
        return Settings(decoded(await gateway.put(path, _Config(wanted)), dict[str, Any]), declared)


async def _declared(gateway: Gateway, version_id: str) -> Mapping[str, ConfigProperty]:
    manifest = registry.read(await registry.version_by_id(gateway, version_id)).parsed()
    return manifest.config.properties if manifest.config is not None else {}
