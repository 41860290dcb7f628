"""A tenant's installs as its administrator sees them through the REST API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import msgspec

from gateway.cli.consent import Granted, Grants
from gateway.cli.failures import CliError
from gateway.cli.registry import Deprecated
from gateway.cli.rest import Answer, Gateway, RefusedError, decoded
from shared.capabilities import DEFAULTS
from shared.ids import is_uuid
from shared.permission_diff import PermissionDiff


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """An upgrade that waits for an administrator's consent while the old version serves."""

    state: str = ""
    version_id: str = ""
    version: str = ""
    diff: PermissionDiff | None = None
    requested_at: str = ""
    requested_by: str = ""


class Install(msgspec.Struct, frozen=True, kw_only=True):
    """One install, as far as commands need it."""

    install_id: str
    extension_id: str
    version_id: str = ""
    publisher: str
    name: str
    version: str
    content_hash: str
    status: str
    asked: dict[str, Any] = {}
    granted: Granted = Granted()
    upgrade: Pending | None = None
    deprecated: Deprecated | None = None
    created_at: str = ""
    updated_at: str = ""

    @property
    def remark(self) -> str:
        """What its administrator should know at a glance: an upgrade that waits, a version that is deprecated."""
        waits = f"{self.upgrade.version} waits for consent" if self.upgrade is not None else ""
        old = f"deprecated: {self.deprecated.message}" if self.deprecated is not None else ""
        return "; ".join(filter(None, (waits, old)))

    @property
    def reference(self) -> str:
        """`publisher.name`."""
        return f"{self.publisher}.{self.name}"


class Page(msgspec.Struct, frozen=True):
    """All of a list, in the form of one page."""

    items: list[dict[str, Any]]
    next_cursor: str | None = None


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What `POST /api/installs` takes."""

    extension: str
    version: str
    grants: Grants
    config: dict[str, Any] = {}


class _Config(msgspec.Struct, frozen=True):
    config: dict[str, Any]


async def every(gateway: Gateway) -> AsyncIterator[dict[str, Any]]:
    """Every install of the tenant, as the API writes it."""
    cursor = ""
    while True:
        page = decoded(await gateway.get(f"/api/installs?limit=200{cursor}"), Page)
        for item in page.items:
            yield item
        if page.next_cursor is None:
            return
        cursor = f"&cursor={quote(page.next_cursor, safe='')}"


async def present(gateway: Gateway, reference: str, *, uninstalled: bool = False) -> Install:
    """The install that `reference` means: its id, the extension's id, `publisher.name`, or the bare name.

    Args:
        gateway: as somebody of the tenant.
        reference: one of these.
        uninstalled: whether its id may also name one that was uninstalled before.

    Raises:
        CliError: none, or several.
    """
    found = [
        one
        async for item in every(gateway)
        if reference in ((one := msgspec.convert(item, Install)).install_id, one.extension_id, one.name, one.reference)
        and one.status != "uninstalled"
    ]
    if not found and uninstalled and is_uuid(reference):
        return decoded(await gateway.get(f"/api/installs/{reference}"), Install)
    if not found:
        raise CliError(
            f"{reference} is not installed here",
            next_step="alga-ext list shows what is; alga-ext install NAME installs",
            code="not_installed",
        )
    if len(found) > 1:
        raise CliError(
            f"{reference} fits several installs: {', '.join(one.reference for one in found)}",
            next_step="name one of them with its publisher",
            code="ambiguous_extension",
        )
    return found[0]


async def of_extension(gateway: Gateway, extension_id: str) -> Install | None:
    """The install of an extension, `None` when there is none."""
    async for item in every(gateway):
        one = msgspec.convert(item, Install)
        if one.extension_id == extension_id and one.status != "uninstalled":
            return one
    return None


async def make(gateway: Gateway, wish: Wish) -> Answer:
    """`POST /api/installs`. Raises `RefusedError`."""
    return await gateway.post("/api/installs", wish)


def path(install: Install, *more: str) -> str:
    """`/api/installs/{id}`, and what stands below it."""
    return "/".join((f"/api/installs/{quote(install.install_id, safe='')}", *more))


async def replace(gateway: Gateway, present: Install, wish: Wish) -> Answer:
    """Uninstall `present` and make `wish` in its place, with its settings unless the wish has some.

    There is no route that does both at once. When the second step is refused, the first is undone: what served
    before serves again, with the grants and settings it had.

    Raises:
        RefusedError: the gateway refused; nothing has changed then.
        CliError: it went away in between.
    """
    kept = decoded(await gateway.get(f"/api/installs/{present.install_id}/config"), _Config).config
    before = Wish(
        extension=present.extension_id,
        version=present.version,
        config=kept,
        grants=Grants(
            capabilities=present.granted.capabilities,
            egress=present.granted.egress,
            secrets=present.granted.secrets,
            withhold=tuple(name for name in DEFAULTS if name not in present.granted.capabilities),
        ),
    )
    await gateway.delete(f"/api/installs/{present.install_id}")
    try:
        return await make(gateway, wish if wish.config else msgspec.structs.replace(wish, config=kept))
    except RefusedError:
        await make(gateway, before)
        raise
