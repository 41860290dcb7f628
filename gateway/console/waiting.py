"""A version that waits for consent, as the console shows it, and what its button grants: what is shown, nothing else."""

from __future__ import annotations

import msgspec

from gateway.installs.grants import GrantRequest
from gateway.installs.upgrade import ConsentRequest
from gateway.installs.views import manifest_of, pending_of
from gateway.store.installs import Install, Pending
from shared.capabilities import ALWAYS, DEFAULTS
from shared.errors import Conflict
from shared.manifest import Manifest
from shared.permission_diff import CLIENT_PORTAL, PermissionDiff, permission_diff


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Some changes of one kind: a heading and a sentence for each."""

    title: str
    lines: tuple[str, ...]


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """The version, ready for a template.

    Attributes:
        wanted: what is granted by allowing it.
        other: what else changes.
    """

    version: str
    requested_by: str
    wanted: tuple[Change, ...]
    other: tuple[Change, ...]


def shown(install: Install) -> Waiting:
    """What the page says. Raises `Conflict` when no version waits."""
    pending, _, diff = _difference(install)
    portal = CLIENT_PORTAL in diff.hooks.added
    wanted = (
        Change(title="Capabilities", lines=diff.capabilities.added),
        Change(title="Hosts it may reach", lines=tuple(_because(ask.host, ask.reason) for ask in diff.egress.added)),
        Change(
            title="Secrets it may use",
            lines=(
                *(_because(ask.name, ask.description, ask.hosts) for ask in diff.secrets.added),
                *(f"{one.name}, now also for {', '.join(one.added)}" for one in diff.secrets.rebound if one.added),
            ),
        ),
        Change(title="Limits of a call", lines=_limits(diff)),
        Change(title="Origins its pages may load from or send to", lines=diff.pages.added),
        Change(title="Who may use it", lines=("users of the client portal",) if portal else ()),
    )
    other = (
        Change(title="Not asked for any more", lines=_gone(diff)),
        Change(title="New endpoints", lines=diff.endpoints.added),
        Change(title="Endpoints that go", lines=diff.endpoints.removed),
        Change(title="Events it receives from now on", lines=diff.events.added),
        Change(title="Events it receives no more", lines=diff.events.removed),
    )
    return Waiting(
        version=pending.version,
        requested_by=pending.requested_by,
        wanted=tuple(change for change in wanted if change.lines),
        other=tuple(change for change in other if change.lines),
    )


def allowed(install: Install, version: str) -> ConsentRequest:
    """The consent to what was shown: what is granted already and still asked for, and what was new on the page.

    Args:
        version: the one the page showed; the answer refuses any other. Raises `Conflict` when none waits.
    """
    _, target, diff = _difference(install)
    wanted = {*target.wanted_capabilities()} - {*DEFAULTS}
    hosts = {ask.host for ask in target.egress_entries()}
    secrets = {ask.name for ask in target.permissions.secrets}
    grants = GrantRequest(
        capabilities=(*sorted(wanted.intersection(install.granted_caps)), *diff.capabilities.added),
        withhold=tuple(name for name in DEFAULTS if name != ALWAYS and name not in install.granted_caps),
        egress=(*sorted(hosts.intersection(install.granted_egress)), *(ask.host for ask in diff.egress.added)),
        secrets=(*sorted(secrets.intersection(install.granted_secrets)), *(ask.name for ask in diff.secrets.added)),
    )
    return ConsentRequest(grants=grants, version=version)


def _difference(install: Install) -> tuple[Pending, Manifest, PermissionDiff]:
    pending = pending_of(install)
    if pending is None:
        raise Conflict("no version of this extension waits for consent")
    target = manifest_of(bytes(pending.manifest))
    return pending, target, permission_diff(manifest_of(install.manifest), target)


def _because(name: str, reason: str, hosts: tuple[str, ...] = ()) -> str:
    bound = f" (for {', '.join(hosts)})" if hosts else ""
    return f"{name}{bound}: “{reason}”" if reason else f"{name}{bound}, no reason given"


def _limits(diff: PermissionDiff) -> tuple[str, ...]:
    found: list[str] = []
    for (before, after), unit in ((diff.limits.timeout_ms, "ms"), (diff.limits.memory_mb, "MiB of memory")):
        if after > before:
            found.append(f"{after} {unit} instead of {before}")
    return tuple(found)


def _gone(diff: PermissionDiff) -> tuple[str, ...]:
    return (*diff.capabilities.removed, *diff.egress.removed, *diff.secrets.removed, *diff.pages.removed)
