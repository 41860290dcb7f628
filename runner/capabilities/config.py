"""config: a guest reads its install's settings. WIT: shared/wit/config.wit."""

from __future__ import annotations

from runner.capabilities.capability import Capability
from shared.wire import ExecuteRequest

CAPABILITY = Capability(name="cap:config.read", interface="config", travels=True)


def config_pairs(request: ExecuteRequest, granted: frozenset[str]) -> list[tuple[str, str]]:
    """The settings in key order; nothing travels without the grant."""
    if CAPABILITY.name not in granted:
        return []
    return sorted(request.install_config().items())
