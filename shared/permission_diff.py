"""What changes for an administrator between two versions of an extension: what it asks for, answers and listens to. Pure.

Used wherever an upgrade is judged or shown: the gateway decides by it whether a new version may run without being asked
about, the console and the CLI print it. Texts are compared as the manifests write them: a host that is written in
another way is another host, since a grant names the text as well.

What makes an upgrade *grow* is everything by which the new version could do more than the administrator has seen:
a capability, a host, a secret, a secret bound to a further host, more time or memory for a call, a further origin its
pages may load from or send to, and its opening to the users of the client portal (decision 0022).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

import msgspec

from shared.capabilities import DEFAULTS
from shared.limits import MEMORY_DEFAULT_MB, TIMEOUT_DEFAULT_MS
from shared.manifest import Manifest
from shared.manifest_parts import EgressAsk, SecretAsk, Ui

CLIENT_PORTAL: Final = "clientPortalMenu"
"""The hook that opens an extension to people outside the tenant's own staff."""


class _View(msgspec.Struct, frozen=True, kw_only=True):
    """Base: immutable, names as they stand in the JSON of the gateway."""


class NamesDiff(_View, frozen=True, kw_only=True):
    """Names that came and went, sorted."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class EgressDiff(_View, frozen=True, kw_only=True):
    """Hosts that came, each with the reason its author gives, and hosts that went."""

    added: tuple[EgressAsk, ...] = ()
    removed: tuple[str, ...] = ()


class Rebound(_View, frozen=True, kw_only=True):
    """A secret both versions ask for, whose value may now be put into requests to other hosts.

    Attributes:
        name: of the secret.
        added: hosts it was not bound to before.
        removed: hosts it is not bound to any more.
    """

    name: str
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class SecretsDiff(_View, frozen=True, kw_only=True):
    """Secrets that came, names of those that went, and those bound to other hosts."""

    added: tuple[SecretAsk, ...] = ()
    removed: tuple[str, ...] = ()
    rebound: tuple[Rebound, ...] = ()


class LimitsDiff(_View, frozen=True, kw_only=True):
    """What a call may use: before, after. The platform's default where a manifest asks for nothing.

    Attributes:
        timeout_ms: milliseconds.
        memory_mb: MiB.
    """

    timeout_ms: tuple[int, int]
    memory_mb: tuple[int, int]

    @property
    def raised(self) -> bool:
        """Whether either is higher after than before."""
        return self.timeout_ms[1] > self.timeout_ms[0] or self.memory_mb[1] > self.memory_mb[0]


class PermissionDiff(_View, frozen=True, kw_only=True):
    """From one version to another.

    Attributes:
        grew: whether the target could do more than was asked for by the source.
        capabilities: beyond the defaults, which are neither added nor removed by a manifest.
        endpoints: `METHOD /path`.
        events: topics.
        interfaces: what the components import; empty where no component was looked at.
        pages: `DIRECTIVE SOURCE` of the pages' content security policy, such as `connect-src https://api.acme.example`.
        hooks: places in the host application where the extension appears.
    """

    from_version: str
    to_version: str
    grew: bool
    capabilities: NamesDiff
    egress: EgressDiff
    secrets: SecretsDiff
    limits: LimitsDiff
    endpoints: NamesDiff
    events: NamesDiff
    interfaces: NamesDiff = NamesDiff()
    pages: NamesDiff = NamesDiff()
    hooks: NamesDiff = NamesDiff()

    @property
    def empty(self) -> bool:
        """Whether nothing that is compared here changed."""
        named = (
            self.capabilities,
            self.egress,
            self.secrets,
            self.endpoints,
            self.events,
            self.interfaces,
            self.pages,
            self.hooks,
        )
        same_limits = len({*self.limits.timeout_ms}) == len({*self.limits.memory_mb}) == 1
        return same_limits and not self.secrets.rebound and not any(one.added or one.removed for one in named)


class Held(_View, frozen=True, kw_only=True):
    """What an administrator granted to an install; everything else is denied.

    Attributes:
        capabilities: with prefix, granted defaults among them.
        egress: hosts as the manifest writes them.
        secrets: names.
    """

    capabilities: Collection[str] = ()
    egress: Collection[str] = ()
    secrets: Collection[str] = ()


def permission_diff(
    source: Manifest,
    target: Manifest,
    *,
    source_interfaces: Iterable[str] = (),
    target_interfaces: Iterable[str] = (),
) -> PermissionDiff:
    """What changes from `source` to `target`.

    Args:
        source: the version that is there.
        target: the version that would be.
        source_interfaces, target_interfaces: full names of what the components import, where somebody looked.
    """
    capabilities = _names(_beyond_defaults(source), _beyond_defaults(target))
    egress = _egress(source, target)
    secrets = _secrets(source, target)
    limits = _limits(source, target)
    pages = _names(_sources(source.ui), _sources(target.ui))
    hooks = _names(_hooks(source.ui), _hooks(target.ui))
    return PermissionDiff(
        from_version=source.version,
        to_version=target.version,
        grew=_grew(capabilities, egress, secrets, pages, hooks) or limits.raised,
        capabilities=capabilities,
        egress=egress,
        secrets=secrets,
        limits=limits,
        endpoints=_names(_endpoints(source), _endpoints(target)),
        events=_names(_topics(source), _topics(target)),
        interfaces=_names(source_interfaces, target_interfaces),
        pages=pages,
        hooks=hooks,
    )


def needs_consent(diff: PermissionDiff, held: Held) -> bool:
    """Whether the target could do more than the administrator was asked about, of what is not granted already.

    Never true when nothing grew. What was asked for before and denied stays denied, and needs no new question.
    """
    capabilities = NamesDiff(added=tuple(name for name in diff.capabilities.added if name not in held.capabilities))
    egress = EgressDiff(added=tuple(ask for ask in diff.egress.added if ask.host not in held.egress))
    secrets = SecretsDiff(
        added=tuple(ask for ask in diff.secrets.added if ask.name not in held.secrets), rebound=diff.secrets.rebound
    )
    return _grew(capabilities, egress, secrets, diff.pages, diff.hooks) or diff.limits.raised


def _grew(
    capabilities: NamesDiff, egress: EgressDiff, secrets: SecretsDiff, pages: NamesDiff, hooks: NamesDiff
) -> bool:
    return bool(
        capabilities.added
        or egress.added
        or secrets.added
        or any(one.added for one in secrets.rebound)
        or pages.added
        or CLIENT_PORTAL in hooks.added
    )


def _names(source: Iterable[str], target: Iterable[str]) -> NamesDiff:
    before, after = set(source), set(target)
    return NamesDiff(added=tuple(sorted(after - before)), removed=tuple(sorted(before - after)))


def _egress(source: Manifest, target: Manifest) -> EgressDiff:
    before = {ask.host for ask in source.egress_entries()}
    # Of a host that is named twice the last reason stands; both name the same grant.
    after = {ask.host: ask for ask in target.egress_entries()}
    return EgressDiff(
        added=tuple(after[host] for host in sorted(after.keys() - before)),
        removed=tuple(sorted(before - after.keys())),
    )


def _secrets(source: Manifest, target: Manifest) -> SecretsDiff:
    before = {ask.name: ask for ask in source.permissions.secrets}
    after = {ask.name: ask for ask in target.permissions.secrets}
    rebound = (_rebound(before[name], after[name]) for name in sorted(before.keys() & after.keys()))
    return SecretsDiff(
        added=tuple(after[name] for name in sorted(after.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - after.keys())),
        rebound=tuple(one for one in rebound if one.added or one.removed),
    )


def _rebound(before: SecretAsk, after: SecretAsk) -> Rebound:
    hosts = _names(before.hosts, after.hosts)
    return Rebound(name=after.name, added=hosts.added, removed=hosts.removed)


def _limits(source: Manifest, target: Manifest) -> LimitsDiff:
    def timeout_ms(manifest: Manifest) -> int:
        return manifest.limits.timeout_ms or TIMEOUT_DEFAULT_MS

    def memory_mb(manifest: Manifest) -> int:
        return manifest.limits.memory_mb or MEMORY_DEFAULT_MB

    return LimitsDiff(
        timeout_ms=(timeout_ms(source), timeout_ms(target)), memory_mb=(memory_mb(source), memory_mb(target))
    )


def _beyond_defaults(manifest: Manifest) -> Iterable[str]:
    return (name for name in manifest.wanted_capabilities() if name not in DEFAULTS)


def _endpoints(manifest: Manifest) -> Iterable[str]:
    return (f"{endpoint.method} {endpoint.path}" for endpoint in manifest.api.endpoints)


def _topics(manifest: Manifest) -> Iterable[str]:
    return (interest.topic for interest in manifest.events)


def _hooks(ui: Ui | None) -> Iterable[str]:
    return ui.hooks if ui is not None else ()


def _sources(ui: Ui | None) -> Iterable[str]:
    if ui is None:
        return ()
    directives = (("connect-src", ui.csp.connect_src), ("img-src", ui.csp.img_src), ("font-src", ui.csp.font_src))
    return (f"{directive} {source}" for directive, sources in directives for source in sources)
