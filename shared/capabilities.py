"""The names of the capabilities and which interface each one opens. Source: the host API contract, `shared/wit`.

The runner's list (`runner/capabilities`) must equal this one; a test keeps it so. Publish, consent and the CLI
read it without importing the runner.
"""

from __future__ import annotations

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

PROVIDED: Final[dict[str, str]] = {
    "invoicing": "cap:invoice.manual.create",
    "clients": "cap:client.read",
    "services": "cap:service.read",
}
"""Interfaces that a host application provides; data under `shared/providers` describes them."""

DEFAULTS: Final[tuple[str, ...]] = (
    "cap:config.read",
    "cap:context.read",
    "cap:log.emit",
    "cap:metrics.emit",
    "cap:user.read",
)
"""Granted without being asked for; shown at consent, and all but `cap:context.read` can be withheld."""

ALWAYS: Final = "cap:context.read"

KNOWN: Final[frozenset[str]] = frozenset(INTERFACES.values()) | frozenset(PROVIDED.values())


def normalise(name: str) -> str:
    """`http.fetch` and `cap:http.fetch` are the same capability; the prefixed form is written."""
    return name if name.startswith("cap:") else f"cap:{name}"
