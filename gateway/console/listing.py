"""What the console says about an install: a name for people, its state, and where its page, icon and log are."""

from __future__ import annotations

from urllib.parse import quote

import msgspec

from gateway.installs.views import manifest_of
from gateway.store.installs import Install


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One install, ready for a template.

    Attributes:
        title: what people call it.
        name: `publisher.name`, which is unique.
        icon_url: at the asset origin; empty when there is none.
        page_url: its own page in the console; empty when it has none, or may not run.
        debug_url: its live log.
        upgrade_url: where a version is shown that waits for consent; empty when none does.
    """

    install_id: str
    extension_id: str
    title: str
    name: str
    version: str
    description: str
    enabled: bool
    icon_url: str
    page_url: str
    debug_url: str
    upgrade_url: str


def listed(install: Install, public_base: str) -> Listed:
    """The install as a page shows it. `public_base` is where the runners serve UIs."""
    manifest = manifest_of(install.manifest)
    base = f"/msp/extensions/{install.id}"
    name = f"{install.publisher}.{install.name}"
    enabled = install.status == "enabled"
    labels = [] if manifest.ui is None else [hook.label for hook in manifest.ui.hooks.values()]
    return Listed(
        install_id=install.id,
        extension_id=install.registry_id,
        title=labels[0] if labels else install.name,
        name=name,
        version=install.version,
        description=manifest.description,
        enabled=enabled,
        icon_url=_icon(install, manifest.icon, public_base) if enabled else "",
        page_url=base if enabled and manifest.ui is not None else "",
        debug_url=f"{base}/debug",
        upgrade_url="" if install.pending is None else f"{base}/upgrade",
    )


def _icon(install: Install, icon: str | None, public_base: str) -> str:
    if not icon or not icon.startswith("ui/"):
        return ""  # nothing else of a bundle is served
    digest = quote(install.content_hash, safe="")
    return f"{public_base.rstrip('/')}/ext-ui/{install.registry_id}/{digest}/{quote(icon)}"
