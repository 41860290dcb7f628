"""The explicit list of capabilities; a test compares it with `shared/capabilities.py` and the WIT files."""

from __future__ import annotations

from typing import Final

from runner.capabilities import config, context, logging, user
from runner.capabilities.capability import Capability
from shared.capabilities import KNOWN, PROVIDED
from shared.errors import UnknownCapabilities

CAPABILITIES: Final[tuple[Capability, ...]] = (
    context.CAPABILITY,
    logging.CAPABILITY,
    user.CAPABILITY,
    user.CAPABILITY_V2,
    config.CAPABILITY,
    Capability(name="cap:secrets.get", interface="secrets"),
    Capability(name="cap:http.fetch", interface="http"),
    Capability(name="cap:storage.kv", interface="storage"),
    Capability(name="cap:ui.proxy", interface="ui-proxy"),
    Capability(name="cap:scheduler.manage", interface="scheduler"),
    Capability(name="cap:metrics.emit", interface="metrics"),
    Capability(name="cap:events.publish", interface="events"),
)

BY_INTERFACE: Final = {capability.interface: capability for capability in CAPABILITIES}


def granted_capabilities(providers: tuple[str, ...]) -> frozenset[str]:
    """The grants of a request. Raises `UnknownCapabilities` with the names this runner does not know."""
    granted = frozenset(providers)
    unknown = sorted(granted - KNOWN)
    if unknown:
        raise UnknownCapabilities(
            f"unknown capabilities: {', '.join(unknown)}; known are {', '.join(sorted(KNOWN - set(PROVIDED.values())))}",
            names=unknown,
        )
    return granted
