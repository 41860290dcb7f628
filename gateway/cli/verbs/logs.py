"""`alga-ext logs`: the debug stream in the terminal."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
from cyclopts import Parameter

from gateway.cli import installs
from gateway.cli.access import NEAREST, Access
from gateway.cli.failures import Exit
from gateway.cli.following import Follower, Interrupted, LogLine, Wanted, line_of
from gateway.cli.project import reference_here
from gateway.cli.rest import Gateway, connected
from gateway.cli.sse import ServerEvent
from gateway.cli.terminal import Terminal, as_text
from shared.debug_event import Level

_SHOWN_CHARS: Final = 200  # of an event that cannot be read
_UNREMARKABLE: Final = ({"state": "live"}, {"state": "reconnect"})
STYLES: Final[dict[str, str]] = {"warn": "yellow", "error": "red", "debug": "dim", "trace": "dim", "info": ""}


def logs(
    *,
    extension: str | None = None,
    follow: Annotated[bool, Parameter(name=["--follow", "-f"], negative="")] = False,
    level: Level | None = None,
    request: str | None = None,
    access: Access = NEAREST,
) -> Exit:
    """Show what an extension and the platform said lately: one line for each event.

    With --json each event is a line of JSON: {"event": "log", "id": …, "data": {…}}.

    Args:
        extension: NAME, publisher.NAME or an id; by default the manifest here.
        follow: go on with what comes; lost connections are made again from where they broke off.
        level: this and worse.
        request: only of the call with this request id.
    """
    terminal = access.terminal()
    wanted = Wanted(request_id=request, level=level)
    asyncio.run(_logs(access, extension or reference_here(), wanted, terminal, follow=follow))
    return Exit.OK


async def _logs(access: Access, reference: str, wanted: Wanted, terminal: Terminal, *, follow: bool) -> None:
    async with connected(access.target(terminal)) as gateway:
        follower = Follower(gateway, await _narrowed(gateway, reference, wanted))
        if follow:
            await follow_for_ever(follower, terminal)
        else:
            await _lately(follower, terminal, one_call=wanted.request_id is not None)


async def _narrowed(gateway: Gateway, reference: str, wanted: Wanted) -> Wanted:
    found = await installs.present(gateway, reference)
    return msgspec.structs.replace(wanted, install_id=found.install_id)


async def follow_for_ever(follower: Follower, terminal: Terminal) -> None:
    """Show what comes until cancelled. Raises as `Follower.for_ever`."""
    async with contextlib.aclosing(follower.for_ever()) as events:
        async for event in events:
            if isinstance(event, Interrupted):
                terminal.note(f"{event.reason}; trying again in {event.pause_s:.0f} s")
            else:
                _show(event, terminal)


async def _lately(follower: Follower, terminal: Terminal, *, one_call: bool) -> None:
    shown: list[str] = []

    def take(event: ServerEvent) -> None:
        _show(event, terminal)
        shown.append(event.event)

    await follower.lately(take, one_call=one_call)
    if "log" not in shown:
        terminal.note("nothing was said lately (-f waits for what comes), or the install's calls are not recorded")


def _show(event: ServerEvent, terminal: Terminal) -> None:
    try:
        data: Any = msgspec.json.decode(event.data)
        line = line_of(event)
    except msgspec.MsgspecError:
        terminal.warn(f"an event could not be read: {event.data[:_SHOWN_CHARS]}")
        return
    terminal.line({"event": event.event, "id": event.id, "data": data})
    if line is not None:
        terminal.say(sentence(line), STYLES[line.level])
    elif event.event == "gap":
        terminal.note(f"— something is missing here ({_told(data)})", "yellow")
    elif event.event == "status" and data not in _UNREMARKABLE:
        terminal.note(f"— the stream ({_told(data)})")


def sentence(line: LogLine) -> str:
    """A line of the stream, for people."""
    at = datetime.fromtimestamp(line.ts / 1000, UTC).strftime("%H:%M:%S.%f")[:-3]
    source = "" if line.stream == "log" else f"[{line.stream}] "
    more = "".join(f" {name}={value}" for name, value in (line.data or {}).items())
    cut = " …" if line.truncated else ""
    return f"{at} {line.level:<5} {line.request_id[:8]} {source}{line.message}{cut}{more}"


def _told(data: Any) -> str:
    if not isinstance(data, dict):
        return as_text(data)
    return ", ".join(f"{name}: {as_text(value)}" for name, value in data.items())
