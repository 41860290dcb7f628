"""What changes between two versions, for the person who decides: what is more stands out, what is less stands beside it.

The comparison is the platform's own (`shared.permission_diff`): what is marked here is what the gateway would hold an
upgrade for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from gateway.cli import consent
from gateway.cli.terminal import Terminal
from shared.permission_diff import CLIENT_PORTAL, PermissionDiff

_PLAIN: Final = (("endpoints", "endpoint"), ("events", "event"), ("interfaces", "import"))


class Line(msgspec.Struct, frozen=True):
    """One change: `+`, `-` or `~`, and whether the extension could do more by it."""

    mark: str
    text: str
    grew: bool = False


def show(diff: PermissionDiff, name: str, terminal: Terminal) -> None:
    """Print what changes. `name`: whose versions these are, for people."""
    terminal.say(f"{name} {diff.from_version} → {diff.to_version}", "bold")
    for line in lines(diff):
        marked = "  ← more than before" if line.grew else ""
        terminal.say(f"  {line.mark} {line.text}{marked}", "yellow" if line.grew else "")
    if diff.empty:
        terminal.say("  asks for, answers and imports the same")
    elif diff.grew:
        terminal.say("it could do more than before: an administrator is asked first", "bold yellow")
    else:
        terminal.say("it could do no more than before: an upgrade needs no consent", "green")


def lines(diff: PermissionDiff) -> list[Line]:
    """Every change, what asks for most first."""
    return [*_asks(diff), *_limits(diff), *_named(diff)]


def _asks(diff: PermissionDiff) -> Iterator[Line]:
    for name in diff.capabilities.added:
        yield Line("+", f"{name}  {consent.means(name)}", grew=True)
    for host in diff.egress.added:
        yield Line("+", f"host {host.host}  {consent.reason(host.reason)}", grew=True)
    for secret in diff.secrets.added:
        yield Line("+", consent.secret_line(secret), grew=True)
    for one in diff.secrets.rebound:
        if one.added:
            yield Line("+", f"secret {one.name} also goes to {', '.join(one.added)}", grew=True)
        if one.removed:
            yield Line("-", f"secret {one.name} no longer goes to {', '.join(one.removed)}")
    yield from (Line("-", name) for name in diff.capabilities.removed)
    yield from (Line("-", f"host {name}") for name in diff.egress.removed)
    yield from (Line("-", f"secret {name}") for name in diff.secrets.removed)


def _limits(diff: PermissionDiff) -> Iterator[Line]:
    for (before, after), what, unit in (
        (diff.limits.timeout_ms, "time for a call", "ms"),
        (diff.limits.memory_mb, "memory", "MiB"),
    ):
        if before != after:
            yield Line("~", f"{what} {before} → {after} {unit}", grew=after > before)


def _named(diff: PermissionDiff) -> Iterator[Line]:
    yield from (Line("+", f"pages may use {source}", grew=True) for source in diff.pages.added)
    yield from (Line("-", f"pages may use {source}") for source in diff.pages.removed)
    yield from (Line("+", f"place {hook}", grew=hook == CLIENT_PORTAL) for hook in diff.hooks.added)
    yield from (Line("-", f"place {hook}") for hook in diff.hooks.removed)
    for member, what in _PLAIN:
        names = getattr(diff, member)
        yield from (Line("+", f"{what} {name}") for name in names.added)
        yield from (Line("-", f"{what} {name}") for name in names.removed)
