"""Software bills of materials: what an SPDX 2.x or CycloneDX 1.x document in JSON says is in a bundle. Strict and bounded.

Sources: SPDX 2.3 (`packages[].name, versionInfo, externalRefs`), CycloneDX 1.6 (`components[]`, nested, `group`, `purl`).
What is read is a name, a version and a package URL; everything else of the document stays in the archive. The
document comes from a publisher: it is read by the JSON reader that refuses what parsers disagree about, and no text
of it that a terminal, a log or a database would obey gets through.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from shared.digest import sha256_hex
from shared.errors import BundleInvalid
from shared.registry_limits import (
    SBOM_MAX_BYTES,
    SBOM_NAME_MAX_CHARS,
    SBOM_PACKAGES_MAX_COUNT,
    SBOM_PURL_MAX_CHARS,
    SBOM_VERSION_MAX_CHARS,
)
from shared.strict_json import JsonValue, StrictJsonError, is_object, loads
from shared.wire import Sbom, SbomPackage

SPDX_VERSIONS: Final = frozenset({"SPDX-2.2", "SPDX-2.3"})
CYCLONEDX_VERSIONS: Final = frozenset({"1.2", "1.3", "1.4", "1.5", "1.6", "1.7"})

_MAX_DEPTH: Final = 32  # CycloneDX nests components in components; real ones stay below 10
# `\Z`, since `$` lets a line feed at the end through. No C0 or C1 control, no line or paragraph separator, nothing that turns the direction of a line.
_PLAIN: Final = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]*\Z"
_Name = Annotated[str, Meta(min_length=1, max_length=SBOM_NAME_MAX_CHARS, pattern=_PLAIN)]
_Group = Annotated[str, Meta(max_length=SBOM_NAME_MAX_CHARS, pattern=_PLAIN)]
_Version = Annotated[str, Meta(max_length=SBOM_VERSION_MAX_CHARS, pattern=_PLAIN)]
_Purl = Annotated[str, Meta(max_length=SBOM_PURL_MAX_CHARS, pattern=r"^(pkg:[!-~]+)?\Z")]


class _Reference(msgspec.Struct, frozen=True):
    referenceType: str = ""  # noqa: N815  # the names of the SPDX specification
    referenceLocator: str = ""  # noqa: N815


class _SpdxPackage(msgspec.Struct, frozen=True):
    name: _Name
    versionInfo: _Version = ""  # noqa: N815
    externalRefs: tuple[_Reference, ...] = ()  # noqa: N815


class _Spdx(msgspec.Struct, frozen=True):
    packages: tuple[_SpdxPackage, ...] = ()


class _Component(msgspec.Struct, frozen=True):
    name: _Name
    group: _Group = ""
    version: _Version = ""
    purl: _Purl = ""
    components: tuple[_Component, ...] = ()


class _CycloneDx(msgspec.Struct, frozen=True):
    components: tuple[_Component, ...] = ()


class _Purls(msgspec.Struct, frozen=True):
    purl: _Purl


def parse_sbom(data: bytes, path: str) -> Sbom:
    """What the document says; packages in its order, each once.

    Args:
        data: the member's bytes.
        path: of the member in the bundle, for messages and the answer.

    Raises:
        BundleInvalid: not an SPDX 2.2/2.3 or CycloneDX 1.2–1.7 document in JSON, or beyond a limit; says which.
    """
    try:
        document = loads(data, max_bytes=SBOM_MAX_BYTES, max_depth=_MAX_DEPTH)
    except StrictJsonError as error:
        raise BundleInvalid(f"the SBOM is not acceptable JSON: {error}", path=path) from error
    if not is_object(document):
        raise _unknown(path)
    kind, spec = _kind(document, path)
    try:
        if kind == "spdx":
            found = _spdx(msgspec.convert(document, _Spdx))
        else:
            found = _cyclonedx(msgspec.convert(document, _CycloneDx).components)
        packages = _bounded(found, path)
    except msgspec.ValidationError as error:
        raise BundleInvalid(f"the SBOM is not valid: {error}", path=path) from error
    return Sbom(format=kind, spec_version=spec, path=path, sha256=sha256_hex(data), packages=packages)


def _kind(document: dict[str, JsonValue], path: str) -> tuple[Literal["spdx", "cyclonedx"], str]:
    """Which format it says it has, and which version of that."""
    if "spdxVersion" in document and "bomFormat" not in document:
        spec = document["spdxVersion"]
        if isinstance(spec, str) and spec in SPDX_VERSIONS:
            return "spdx", spec.removeprefix("SPDX-")
    elif document.get("bomFormat") == "CycloneDX" and "spdxVersion" not in document:
        spec = document.get("specVersion")
        if isinstance(spec, str) and spec in CYCLONEDX_VERSIONS:
            return "cyclonedx", spec
    raise _unknown(path)


def _spdx(document: _Spdx) -> Iterator[SbomPackage]:
    for package in document.packages:
        purl = next((one.referenceLocator for one in package.externalRefs if one.referenceType == "purl"), "")
        yield SbomPackage(
            name=package.name, version=package.versionInfo, purl=msgspec.convert({"purl": purl}, _Purls).purl
        )


def _cyclonedx(components: tuple[_Component, ...]) -> Iterator[SbomPackage]:
    for component in components:
        name = f"{component.group}/{component.name}" if component.group else component.name
        if len(name) > SBOM_NAME_MAX_CHARS:
            raise msgspec.ValidationError(f"group and name together have at most {SBOM_NAME_MAX_CHARS} characters")
        yield SbomPackage(name=name, version=component.version, purl=component.purl)
        yield from _cyclonedx(component.components)


def _bounded(found: Iterator[SbomPackage], path: str) -> tuple[SbomPackage, ...]:
    packages: dict[SbomPackage, None] = {}
    for package in found:
        packages[package] = None
        if len(packages) > SBOM_PACKAGES_MAX_COUNT:
            raise BundleInvalid(f"an SBOM names at most {SBOM_PACKAGES_MAX_COUNT} packages", path=path)
    return tuple(packages)


def _unknown(path: str) -> BundleInvalid:
    return BundleInvalid(
        "the SBOM must be JSON with `spdxVersion` SPDX-2.2 or SPDX-2.3, or `bomFormat` CycloneDX and"
        " `specVersion` 1.2 to 1.7",
        path=path,
    )
