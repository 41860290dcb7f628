"""What an extension asks for, and what an administrator grants. Pure.

Nothing is granted that was not named, except the shown defaults; a default can be withheld, except the one every
guest needs to know whose call it serves. What is not asked for cannot be granted: an unknown name is refused with
what would be valid, so that a typing mistake never looks like a decision.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from gateway.store.installs import Granted
from shared.capabilities import ALWAYS, DEFAULTS, normalise
from shared.errors import InvalidRequest
from shared.manifest import Manifest
from shared.manifest_parts import EgressAsk, LimitsAsk, SecretAsk


class GrantRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the administrator decided.

    Attributes:
        capabilities: granted, with or without the `cap:` prefix.
        withhold: defaults that are not granted.
        egress: granted hosts, as the manifest writes them.
        secrets: names of granted secrets.
    """

    capabilities: tuple[str, ...] = ()
    withhold: tuple[str, ...] = ()
    egress: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What the consent screen shows.

    Attributes:
        capabilities: asked for beyond the defaults.
        defaults: granted unless withheld.
        egress: hosts with their reasons.
        secrets: names with descriptions.
        limits: time and memory a call may take.
    """

    capabilities: tuple[str, ...]
    defaults: tuple[str, ...]
    egress: tuple[EgressAsk, ...]
    secrets: tuple[SecretAsk, ...]
    limits: LimitsAsk


def asked(manifest: Manifest) -> Asked:
    """What the manifest asks an administrator for."""
    return Asked(
        capabilities=tuple(name for name in manifest.wanted_capabilities() if name not in DEFAULTS),
        defaults=DEFAULTS,
        egress=manifest.egress_entries(),
        secrets=manifest.permissions.secrets,
        limits=manifest.limits,
    )


def decide(manifest: Manifest, request: GrantRequest) -> Granted:
    """The complete grants of an install.

    Raises:
        InvalidRequest: something is granted or withheld that is not there to be; `extra["valid"]` lists what is.
    """
    wanted = asked(manifest)
    chosen = {normalise(name) for name in request.capabilities}
    withheld = {normalise(name) for name in request.withhold}
    _within("capabilities", chosen, (*wanted.capabilities, *wanted.defaults))
    _within("withhold", withheld, (name for name in wanted.defaults if name != ALWAYS))
    _within("egress", request.egress, (ask.host for ask in wanted.egress))
    _within("secrets", request.secrets, (ask.name for ask in wanted.secrets))
    if both := sorted(chosen & withheld):
        raise InvalidRequest(f"{', '.join(both)}: granted and withheld at once; keep one", path="$.grants.withhold")
    return Granted(
        capabilities=sorted(chosen | (set(wanted.defaults) - withheld)),
        egress=sorted(set(request.egress)),
        secrets=sorted(set(request.secrets)),
    )


def secret_granted(name: str, *, named: bool, asked: bool, granted: Collection[str]) -> bool:
    """Whether calls may have a secret that is set.

    A manifest that names no secrets leaves the names to the administrator, and what they set for it is granted by that.

    Args:
        name: of the secret.
        named: whether the manifest names the secrets it wants.
        asked: whether this one was set for a manifest that did. Such a one keeps needing the grant, or the next version
            would have it by naming none.
        granted: names granted to the install.
    """
    return name in granted or not (named or asked)


def _within(member: str, names: Iterable[str], valid: Iterable[str]) -> None:
    allowed = sorted(set(valid))
    unknown = sorted(set(names) - set(allowed))
    if unknown:
        listed = ", ".join(allowed) if allowed else "nothing"
        raise InvalidRequest(
            f"$.grants.{member}: {', '.join(unknown)} cannot stand there; this version allows {listed}",
            path=f"$.grants.{member}",
            valid=allowed,
        )
