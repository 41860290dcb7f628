"""The consent screen in the terminal: what an extension asks for, and what of it the administrator grants.

The same rule as in the browser: nothing is granted that was not named, except the defaults that are shown here and
can be withheld. What is asked comes from the registry, never from a file that lies around.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from gateway.cli.failures import CliError, Exit, usage
from gateway.cli.providers import providers_here
from gateway.cli.terminal import Terminal
from shared.capabilities import ALWAYS, DEFAULTS, INTERFACES, normalise
from shared.limits import MEMORY_DEFAULT_MB, TIMEOUT_DEFAULT_MS
from shared.manifest import Manifest
from shared.manifest_parts import SecretAsk
from shared.permission_diff import PermissionDiff

_MEANS: Final = {
    "cap:context.read": "knows which tenant and install it is called for",
    "cap:log.emit": "writes lines into its debug stream",
    "cap:user.read": "reads who is calling: name, e-mail address, client",
    "cap:secrets.get": "reads the secrets it was granted",
    "cap:http.fetch": "sends requests to the hosts it was granted",
    "cap:storage.kv": "keeps data of its own",
    "cap:ui.proxy": "calls routes of the host application",
    "cap:scheduler.manage": "has itself called at certain times",
    "cap:metrics.emit": "reports numbers about itself",
    "cap:config.read": "reads its settings",
    "cap:events.publish": "sends events to other extensions",
}
"""What a capability of the platform lets an extension do, for the person who decides."""

assert set(INTERFACES.values()) <= set(_MEANS)


class Grants(msgspec.Struct, frozen=True, kw_only=True):
    """What was granted, as `POST /api/installs` takes it."""

    capabilities: tuple[str, ...] = ()
    withhold: tuple[str, ...] = ()
    egress: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()


class Granted(msgspec.Struct, frozen=True):
    """What an install was granted, defaults among it."""

    capabilities: tuple[str, ...] = ()
    egress: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What an extension asks for beyond the defaults."""

    capabilities: tuple[str, ...] = ()
    egress: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()

    def everything(self, withhold: Sequence[str]) -> Grants:
        """All of it."""
        return Grants(
            capabilities=self.capabilities,
            egress=self.egress,
            secrets=self.secrets,
            withhold=tuple(map(normalise, withhold)),
        )


def asked(manifest: Manifest) -> Asked:
    """What the manifest asks for."""
    return Asked(
        capabilities=tuple(name for name in manifest.wanted_capabilities() if name not in DEFAULTS),
        egress=tuple(ask.host for ask in manifest.egress_entries()),
        secrets=tuple(ask.name for ask in manifest.permissions.secrets),
    )


def show(manifest: Manifest, terminal: Terminal) -> None:
    """Print what `manifest` asks for, with the reasons its author gives."""
    terminal.note(f"{manifest.publisher}.{manifest.name} {manifest.version} asks for:", "bold")
    for line in lines(manifest):
        terminal.note(f"  {line}", "")
    if asked(manifest) == Asked():
        terminal.note("  nothing beyond the defaults", "")
    terminal.note("granted unless withheld:", "bold")
    for name in DEFAULTS:
        always = " (cannot be withheld)" if name == ALWAYS else ""
        terminal.note(f"  {name}  {_MEANS[name]}{always}", "")
    timeout_ms = manifest.limits.timeout_ms or TIMEOUT_DEFAULT_MS
    memory_mb = manifest.limits.memory_mb or MEMORY_DEFAULT_MB
    terminal.note(f"one call may take {timeout_ms} ms and {memory_mb} MiB of memory, or what the platform allows", "")


def lines(manifest: Manifest) -> list[str]:
    """What `manifest` asks for beyond the defaults, one line each, with the reasons its author gives."""
    capabilities = (f"{name}  {means(name)}" for name in manifest.wanted_capabilities() if name not in DEFAULTS)
    hosts = (f"host {ask.host}  {reason(ask.reason)}" for ask in manifest.egress_entries())
    return [*capabilities, *hosts, *map(secret_line, manifest.permissions.secrets)]


def secret_line(ask: SecretAsk) -> str:
    """One secret that is asked for."""
    bound = f", put into requests to {', '.join(ask.hosts)} only" if ask.hosts else ""
    return f"secret {ask.name} ({'required' if ask.required else 'optional'}{bound})  {reason(ask.description)}"


def means(capability: str) -> str:
    """What it lets an extension do; of the host application's services their files say so."""
    provider = providers_here().of_capability(capability)
    if provider is not None:
        return f"{provider.description} (a service of the host application)"
    return _MEANS.get(capability, "uses a service of the host application")


def reason(text: str) -> str:
    """Why an author says something is needed."""
    return f"“{text}”" if text else "(no reason given)"


# ---- deciding -----------------------------------------------------------------------------------------------


def split(given: Sequence[str], withhold: Sequence[str]) -> Grants:
    """What the command line names, by kind.

    Args:
        given: capabilities (with or without `cap:`), `host:NAME` and `secret:NAME`.
        withhold: defaults that are not granted.
    """
    return Grants(
        capabilities=tuple(normalise(name) for name in given if not name.startswith(("host:", "secret:"))),
        egress=tuple(name.removeprefix("host:") for name in given if name.startswith("host:")),
        secrets=tuple(name.removeprefix("secret:") for name in given if name.startswith("secret:")),
        withhold=tuple(map(normalise, withhold)),
    )


def named(manifest: Manifest, given: Sequence[str], withhold: Sequence[str]) -> Grants:
    """Exactly what the command line names. Raises `CliError` when that is nothing the extension asks for."""
    wanted, grants = asked(manifest), split(given, withhold)
    for kind, chosen, valid in (
        ("capability", grants.capabilities, (*wanted.capabilities, *DEFAULTS)),
        ("host", grants.egress, wanted.egress),
        ("secret", grants.secrets, wanted.secrets),
    ):
        for name in chosen:
            if name not in valid:
                raise usage(
                    f"the extension does not ask for the {kind} {name}",
                    next_step=f"--grant takes {', '.join(valid) or 'none'} of this kind",
                )
    return grants


def carried(manifest: Manifest, held: Granted) -> Grants:
    """What an install holds already, as far as another version of it asks for that, too."""
    wanted = asked(manifest)
    return Grants(
        capabilities=tuple(name for name in wanted.capabilities if name in held.capabilities),
        egress=tuple(name for name in wanted.egress if name in held.egress),
        secrets=tuple(name for name in wanted.secrets if name in held.secrets),
        withhold=tuple(name for name in DEFAULTS if name not in held.capabilities),
    )


def added(kept: Grants, more: Grants) -> Grants:
    """Both together; what is withheld stays so unless `more` names it."""

    def both(one: Sequence[str], other: Sequence[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*one, *other)))

    return Grants(
        capabilities=both(kept.capabilities, [name for name in more.capabilities if name not in DEFAULTS]),
        egress=both(kept.egress, more.egress),
        secrets=both(kept.secrets, more.secrets),
        withhold=tuple(name for name in both(kept.withhold, more.withhold) if name not in more.capabilities),
    )


def grown(diff: PermissionDiff) -> Grants:
    """Everything that a version asks for and the one before did not."""
    return Grants(
        capabilities=diff.capabilities.added,
        egress=tuple(ask.host for ask in diff.egress.added),
        secrets=tuple(ask.name for ask in diff.secrets.added),
    )


def decide(manifest: Manifest, withhold: Sequence[str], terminal: Terminal) -> Grants:
    """Ask the person at the terminal.

    Raises:
        CliError: they said no, or nobody sits there to be asked.
    """
    wanted = asked(manifest)
    if wanted == Asked():
        return wanted.everything(withhold)
    if not terminal.can_ask:
        raise CliError(
            f"{manifest.publisher}.{manifest.name} asks for {_listed(wanted)}, and nobody is here to be asked",
            next_step="say what is granted: --grant-all, or --grant for each capability, host:NAME, secret:NAME",
            code="cli_consent_needed",
            exit_status=Exit.REFUSED,
            members={"asked": msgspec.to_builtins(wanted)},
        )
    answer = terminal.ask("Grant all of this? [y]es, [n]o, [c]hoose one by one:").lower()
    if answer in ("y", "yes"):
        return wanted.everything(withhold)
    if answer in ("c", "choose"):
        return _chosen(wanted, withhold, terminal)
    raise CliError(
        "nothing was granted and nothing was installed",
        next_step="install again when you want to grant it",
        code="cli_consent_refused",
        exit_status=Exit.REFUSED,
    )


def _chosen(wanted: Asked, withhold: Sequence[str], terminal: Terminal) -> Grants:
    def granted(names: Sequence[str], kind: str) -> tuple[str, ...]:
        return tuple(name for name in names if terminal.ask(f"  {kind} {name}? [y/N]").lower() in ("y", "yes"))

    return Grants(
        capabilities=granted(wanted.capabilities, "capability"),
        egress=granted(wanted.egress, "host"),
        secrets=granted(wanted.secrets, "secret"),
        withhold=tuple(map(normalise, withhold)),
    )


def _listed(wanted: Asked) -> str:
    hosts = (f"host {name}" for name in wanted.egress)
    secrets = (f"secret {name}" for name in wanted.secrets)
    return ", ".join((*wanted.capabilities, *hosts, *secrets))
