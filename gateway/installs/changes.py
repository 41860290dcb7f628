"""What every change of an install needs: the row, held until commit, and telling others about it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.identity.actor import Actor
from gateway.store import installs, notices, registry
from gateway.store.installs import Install
from gateway.store.platform import feed as platform_feed
from gateway.store.pool import Database, Tx
from gateway.store.registry import Version
from shared.errors import Conflict, NotFound, NotInstalled, Revoked


@asynccontextmanager
async def changing(store: Database, actor: Actor, install_id: str) -> AsyncIterator[tuple[Tx, Install]]:
    """A transaction that holds an install of the caller's tenant. Raises `NotInstalled`."""
    async with store.tenant(actor.tenant_id) as tx:
        yield tx, present(await installs.by_id(tx, install_id, lock=True))


def present(install: Install | None) -> Install:
    """The install, which is there and not uninstalled. Raises `NotInstalled`."""
    if install is None or install.status == "uninstalled":
        raise not_installed()
    return install


def not_installed() -> NotInstalled:
    """The one refusal for an install that is nobody's, somebody else's, or gone."""
    return NotInstalled("no such extension is installed for this tenant")


async def found(tx: Tx, install_id: str) -> Install:
    """The row of an install that is held."""
    install = await installs.by_id(tx, install_id)
    assert install is not None
    return install


async def announce(tx: Tx, install: Install) -> None:
    """Tell other gateways, at commit."""
    change = notices.InstallChanged(tenant_id=install.tenant_id, registry_id=install.registry_id, install_id=install.id)
    await notices.announce(tx, change)


def ui_subject(install: Install) -> str:
    """What the state feed calls the UI of the installed version."""
    return f"{install.registry_id}/{install.content_hash}"


async def retire_ui(store: Database, install: Install) -> None:
    """Retire the UI of this bundle, if nobody uses it any more: a question about all tenants, asked after the commit."""
    async with store.platform() as tx:
        await platform_feed.retire_ui(tx, install.registry_id, install.content_hash)


async def installable(tx: Tx, registry_id: str, name: str | None) -> Version:
    """A version of an extension that can be installed: the named one, or the newest.

    Raises:
        NotFound: there is none.
        Revoked, Conflict: there is, and it cannot.
    """
    if name is None:
        version = await registry.newest_ready(tx, registry_id)
    else:
        version = await registry.version_by_name(tx, registry_id, name)
    if version is None:
        raise NotFound("no such version can be installed; `GET /api/registry/extensions` lists what can")
    return usable(version)


def usable(version: Version) -> Version:
    """The version, which is ready and not revoked. Raises `Revoked`, `Conflict`."""
    if version.revoked_at is not None:
        raise Revoked(f"version {version.version} was revoked; choose another one")
    if version.state != "ready":
        raise Conflict(f"version {version.version} is {version.state}, only a ready one can be installed")
    return version
