"""What bundles contain, as their SBOMs say: rows of a version, and which versions contain a package."""

from __future__ import annotations

import msgspec
from psycopg.rows import class_row

from gateway.store.catalogue import LISTED
from gateway.store.pool import Tx
from shared.wire import Sbom, SbomPackage


class Containing(msgspec.Struct, frozen=True, kw_only=True):
    """One version that contains a package."""

    extension_id: str
    version_id: str
    publisher: str
    name: str
    version: str
    content_hash: str
    ordinal: int
    package: str
    package_version: str
    purl: str


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What stands beside the bundle: everything about the document but its packages."""

    format: str
    spec_version: str
    path: str
    sha256: str
    packages: int


def summary(sbom: Sbom) -> Summary:
    """What is kept about a document."""
    return Summary(
        format=sbom.format,
        spec_version=sbom.spec_version,
        path=sbom.path,
        sha256=sbom.sha256,
        packages=len(sbom.packages),
    )


async def insert(tx: Tx, version_id: str, sbom: Sbom) -> None:
    """Keep what the SBOM of one's own version says."""
    await tx.execute(
        "update extension_bundle set sbom = %s where version_id = %s",
        (msgspec.json.encode(summary(sbom)).decode(), version_id),
    )
    packages = sbom.packages
    await tx.execute(
        """insert into extension_sbom_package (version_id, ordinal, name, version, purl)
           select %s, ordinal, name, version, purl
             from unnest(%s::text[], %s::text[], %s::text[]) with ordinality as p(name, version, purl, ordinal)""",
        (version_id, [one.name for one in packages], [one.version for one in packages], [one.purl for one in packages]),
    )


async def packages(tx: Tx, version_id: str) -> list[SbomPackage]:
    """The packages of a version that this account may see, in the document's order."""
    async with tx.cursor(row_factory=class_row(SbomPackage)) as cursor:
        await cursor.execute(
            "select name, version, purl from extension_sbom_package where version_id = %s order by ordinal",
            (version_id,),
        )
        return await cursor.fetchall()


async def containing(
    tx: Tx, package: str, version: str | None, after: tuple[str, int] | None, limit: int
) -> list[Containing]:
    """Versions that contain a package, in the order of their ids, strictly after `after` (version, ordinal).

    Only those this account could find in the list of extensions: an unlisted extension is not found by what it contains.
    """
    async with tx.cursor(row_factory=class_row(Containing)) as cursor:
        await cursor.execute(
            f"""select r.id as extension_id, p.version_id, r.publisher, r.name, v.version, b.content_hash,
                       p.ordinal, p.name as package, p.version as package_version, p.purl
                  from extension_sbom_package p
                  join extension_version v on v.id = p.version_id
                  join extension_registry r on r.id = v.registry_id
                  join extension_bundle b on b.version_id = v.id
                 where p.name = %(package)s and (%(version)s::text is null or p.version = %(version)s)
                   and (%(after)s::uuid is null or (p.version_id, p.ordinal) > (%(after)s::uuid, %(ordinal)s::integer))
                   and ({LISTED})
                 order by p.version_id, p.ordinal limit %(limit)s""".encode(),  # noqa: S608 - a constant
            {
                "package": package,
                "version": version,
                "after": after[0] if after else None,
                "ordinal": after[1] if after else None,
                "limit": limit,
            },
        )
        return await cursor.fetchall()
