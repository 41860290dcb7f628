"""The explicit list of capabilities; a test compares it with `shared/capabilities.py` and the WIT files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from runner.capabilities import (
    config,
    context,
    events,
    http,
    logging,
    metrics,
    scheduler,
    secrets,
    storage,
    ui_proxy,
    user,
)
from runner.capabilities.capability import Capability
from shared.errors import ProviderMismatch, UnknownCapabilities

CAPABILITIES: Final[tuple[Capability, ...]] = (
    context.CAPABILITY,
    logging.CAPABILITY,
    user.CAPABILITY,
    user.CAPABILITY_V2,
    config.CAPABILITY,
    secrets.CAPABILITY,
    http.CAPABILITY,
    storage.CAPABILITY,
    ui_proxy.CAPABILITY,
    scheduler.CAPABILITY,
    metrics.CAPABILITY,
    events.CAPABILITY,
)

BY_INTERFACE: Final = {capability.interface: capability for capability in CAPABILITIES}


def with_services(*answered: Capability) -> Mapping[str, Capability]:
    """The list by interface, with `answered` in the places of entries that need something of the process to answer.

    Args:
        answered: made once for each process by the capability's own file, over a client or a key; those of the host
            application's services have no place of their own and come last.
    """
    return BY_INTERFACE | {capability.interface: capability for capability in answered}


def granted_capabilities(providers: tuple[str, ...], table: Mapping[str, Capability] = BY_INTERFACE) -> frozenset[str]:
    """The grants of a request. Raises `UnknownCapabilities` with the names this runner does not know."""
    granted = frozenset(providers)
    known = {capability.name for capability in table.values()}
    unknown = sorted(granted - known)
    if unknown:
        raise UnknownCapabilities(
            f"unknown capabilities: {', '.join(unknown)}; known are {', '.join(sorted(known))}", names=unknown
        )
    return granted


def check_digests(digests: Mapping[str, str], table: Mapping[str, Capability] = BY_INTERFACE) -> None:
    """Raise `ProviderMismatch` when a service of the host application is described otherwise to the caller than here."""
    for name, digest in sorted(digests.items()):
        capability = table.get(name)
        if capability is None or capability.digest != digest:
            known = "not known" if capability is None else "described otherwise"
            raise ProviderMismatch(
                f"provider {name} is {known} to this runner: EXT_PROVIDERS_DIR must be the same everywhere"
            )
