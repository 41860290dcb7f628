"""What an account can find: its own extensions, those offered to it, those it has installed, and public ones.

An unlisted extension is found by its exact name only. What an account may not see does not exist for it: by id, by
name, by what it contains, always the same 404.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gateway.identity.actor import Actor
from gateway.store import audit_log, catalogue, publishers, registry, sboms
from gateway.store.catalogue import Listed, Visibility
from gateway.store.pool import Database, Tx
from gateway.store.registry import Version
from gateway.store.sboms import Containing, Summary
from shared import ids
from shared.errors import Forbidden, NotFound
from shared.registry_limits import ALLOWED_TENANTS_MAX_COUNT
from shared.wire import SbomPackage


class Place(msgspec.Struct, frozen=True):
    """Where a page of extensions ends."""

    publisher: str
    name: str


class Moment(msgspec.Struct, frozen=True):
    """Where a page that is ordered by time ends."""

    at: datetime
    id: str


class Line(msgspec.Struct, frozen=True):
    """Where a page of versions that contain a package ends."""

    version_id: str
    ordinal: int


START = Place("", "")


class ExtensionChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`PATCH /api/registry/extensions/{id}`: what is left out stays.

    Attributes:
        allowed_tenants: who sees it while it is private; of an unlisted one, the only tenants that find it by name.
    """

    visibility: Visibility | UnsetType = UNSET
    allowed_tenants: Annotated[tuple[str, ...], Meta(max_length=ALLOWED_TENANTS_MAX_COUNT)] | UnsetType = UNSET
    display_name: Annotated[str, Meta(max_length=100, pattern=r"^[^\x00-\x1f\x7f]*\Z")] | UnsetType = UNSET


class SbomView(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle says it contains; the document with this digest stands in it under `path`."""

    format: str
    spec_version: str
    path: str
    sha256: str
    packages: list[SbomPackage]


async def page(
    store: Database, actor: Actor, after: Place, limit: int, *, q: str | None = None, publisher: str | None = None
) -> list[Listed]:
    """At most `limit` extensions by publisher and name, strictly after `after`."""
    async with store.tenant(actor.tenant_id) as tx:
        return await catalogue.search(tx, after=(after.publisher, after.name), limit=limit, q=q, publisher=publisher)


async def extension(store: Database, actor: Actor, registry_id: str) -> Listed:
    """One extension. Raises `NotFound`."""
    async with store.tenant(actor.tenant_id) as tx:
        return await _seen(tx, registry_id)


async def change(store: Database, actor: Actor, registry_id: str, wanted: ExtensionChange) -> Listed:
    """Change who sees one's own extension, or what it is called.

    Raises:
        NotFound: no such extension, as far as this account knows.
        Forbidden: it is another account's, or `public` and its publisher is not approved or suspended.
        InvalidRequest: a tenant id is none.
    """
    tenants = None
    if wanted.allowed_tenants is not UNSET:
        tenants = sorted({str(ids.tenant_id(one)) for one in wanted.allowed_tenants})
    async with store.tenant(actor.tenant_id) as tx:
        found = await _seen(tx, registry_id)
        if not found.owned:
            raise Forbidden("only the account that owns an extension may change it")
        if wanted.visibility == "public":
            await _check_public(tx, found)
        await catalogue.change(
            tx,
            registry_id,
            visibility=None if wanted.visibility is UNSET else wanted.visibility,
            allowed_tenants=tenants,
            display_name=None if wanted.display_name is UNSET else wanted.display_name,
        )
        changed = await _seen(tx, registry_id)
        did = actor.did(
            "extension.changed",
            "extension",
            registry_id,
            visibility=changed.visibility,
            allowed_tenants=changed.allowed_tenants,
            display_name=changed.display_name,
        )
        await audit_log.record(tx, did)
        return changed


async def versions(store: Database, actor: Actor, registry_id: str, after: Moment | None, limit: int) -> list[Version]:
    """Versions of an extension, newest first, strictly after `after`. Raises `NotFound`."""
    async with store.tenant(actor.tenant_id) as tx:
        await _seen(tx, registry_id)
        return await registry.versions_of(tx, registry_id, None if after is None else (after.at, after.id), limit)


async def sbom(store: Database, actor: Actor, version_id: str) -> SbomView:
    """What a version says it contains. Raises `NotFound`: no such version, or its bundle has no SBOM."""
    async with store.tenant(actor.tenant_id) as tx:
        version = await registry.version_by_id(tx, version_id)
        if version is None:
            raise NotFound("no such version")
        if version.sbom is None:
            raise NotFound("this version's bundle has no SBOM; its manifest can name one as `sbom`")
        packages = await sboms.packages(tx, version_id)
    kept = msgspec.json.decode(version.sbom, type=Summary)
    return SbomView(
        format=kept.format, spec_version=kept.spec_version, path=kept.path, sha256=kept.sha256, packages=packages
    )


async def containing(
    store: Database, actor: Actor, package: str, version: str | None, after: Line | None, limit: int
) -> list[Containing]:
    """Versions this account can find that contain a package, by exact name and perhaps version."""
    place = None if after is None else (after.version_id, after.ordinal)
    async with store.tenant(actor.tenant_id) as tx:
        return await sboms.containing(tx, package, version, place, limit)


async def _seen(tx: Tx, registry_id: str) -> Listed:
    found = await catalogue.by_id(tx, registry_id)
    if found is None:
        raise NotFound("no such extension; `GET /api/registry/extensions` lists what can be found")
    return found


async def _check_public(tx: Tx, found: Listed) -> None:
    publisher = await publishers.by_name(tx, found.publisher)
    if publisher is None or not publisher.approved:
        raise Forbidden(
            f"a public listing needs an approved publisher; ask the platform's operator to approve {found.publisher}"
        )
    if publisher.suspended_at is not None:
        raise Forbidden(f"the publisher {found.publisher} is suspended; the platform's operator can restore it")
