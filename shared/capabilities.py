"""The names of the capabilities and which interface each one opens. Source: the host API contract, `shared/wit`.

The runner's list (`runner/capabilities`) must equal this one; a test keeps it so. Publish, consent and the CLI
read it without importing the runner. Services of the host application are not here: they are data, `shared/providers`.
"""

from __future__ import annotations

import re
from typing import Final

INTERFACES: Final[dict[str, str]] = {
    "context": "cap:context.read",
    "logging": "cap:log.emit",
    "user": "cap:user.read",
    "user-v2": "cap:user.read",
    "secrets": "cap:secrets.get",
    "http": "cap:http.fetch",
    "storage": "cap:storage.kv",
    "ui-proxy": "cap:ui.proxy",
    "scheduler": "cap:scheduler.manage",
    "metrics": "cap:metrics.emit",
    "config": "cap:config.read",
    "events": "cap:events.publish",
}
"""Interface of package `alga:extension` → the capability that opens it."""

DEFAULTS: Final[tuple[str, ...]] = (
    "cap:config.read",
    "cap:context.read",
    "cap:log.emit",
    "cap:metrics.emit",
    "cap:user.read",
)
"""Granted without being asked for; shown at consent, and all but `cap:context.read` can be withheld."""

ALWAYS: Final = "cap:context.read"

KNOWN: Final[frozenset[str]] = frozenset(INTERFACES.values())
"""The platform's own; those of the host application's services are read from their files (`shared.provider_files`)."""


NAME: Final = re.compile(r"cap:[a-z0-9-]+(\.[a-z0-9-]+)+")
"""How any capability is called, known here or not."""


def normalise(name: str) -> str:
    """`http.fetch` and `cap:http.fetch` are the same capability; the prefixed form is written."""
    return name if name.startswith("cap:") else f"cap:{name}"
