"""SBOMs: what SPDX and CycloneDX documents say, and everything else refused by name."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.digest import sha256_hex
from shared.errors import BundleInvalid
from shared.registry_limits import (
    SBOM_MAX_BYTES,
    SBOM_NAME_MAX_CHARS,
    SBOM_PACKAGES_MAX_COUNT,
    SBOM_PURL_MAX_CHARS,
    SBOM_VERSION_MAX_CHARS,
)
from shared.sbom import CYCLONEDX_VERSIONS, SPDX_VERSIONS, parse_sbom
from shared.wire import SbomPackage

PATH = "sbom.json"


def spdx(*packages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "packages": list(packages), **more}


def cyclonedx(*components: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"bomFormat": "CycloneDX", "specVersion": "1.5", "components": list(components), **more}


def read(document: Any) -> tuple[SbomPackage, ...]:
    return parse_sbom(msgspec.json.encode(document), PATH).packages


def refused(data: bytes) -> str:
    with pytest.raises(BundleInvalid) as caught:
        parse_sbom(data, PATH)
    assert caught.value.extra["path"] == PATH
    return caught.value.detail


def test_an_spdx_documents_packages_are_read():
    purl = {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": "pkg:npm/ms@2.1.3"}
    other = {"referenceCategory": "SECURITY", "referenceType": "cpe23Type", "referenceLocator": "cpe:2.3:a:x"}
    document = spdx(
        {"name": "ms", "versionInfo": "2.1.3", "externalRefs": [other, purl], "licenseConcluded": "MIT"},
        {"name": "wit-bindgen"},
    )
    data = msgspec.json.encode(document)
    found = parse_sbom(data, PATH)
    assert (found.format, found.spec_version, found.path, found.sha256) == ("spdx", "2.3", PATH, sha256_hex(data))
    assert found.packages == (
        SbomPackage(name="ms", version="2.1.3", purl="pkg:npm/ms@2.1.3"),
        SbomPackage(name="wit-bindgen"),
    )


def test_a_cyclonedx_documents_components_are_read_nested_ones_too():
    document = cyclonedx(
        {
            "type": "library",
            "group": "@scope",
            "name": "left",
            "version": "1.0.0",
            "purl": "pkg:npm/%40scope/left@1.0.0",
            "components": [{"name": "inner", "version": "2"}],
        }
    )
    assert read(document) == (
        SbomPackage(name="@scope/left", version="1.0.0", purl="pkg:npm/%40scope/left@1.0.0"),
        SbomPackage(name="inner", version="2"),
    )


@pytest.mark.parametrize("version", sorted(SPDX_VERSIONS))
def test_every_spdx_version_that_is_named_is_read(version):
    assert parse_sbom(msgspec.json.encode(spdx(spdxVersion=version)), PATH).packages == ()


@pytest.mark.parametrize("version", sorted(CYCLONEDX_VERSIONS))
def test_every_cyclonedx_version_that_is_named_is_read(version):
    assert parse_sbom(msgspec.json.encode(cyclonedx(specVersion=version)), PATH).spec_version == version


@pytest.mark.parametrize(
    "document",
    [
        [],
        "SPDX-2.3",
        {},
        spdx(spdxVersion="SPDX-3.0"),
        spdx(spdxVersion=2.3),
        spdx(spdxVersion=["SPDX-2.3"]),
        cyclonedx(specVersion="2.0"),
        cyclonedx(specVersion=1.5),
        cyclonedx(bomFormat="cyclonedx"),
        spdx() | cyclonedx(),
    ],
    ids=str,
)
def test_a_document_that_is_neither_or_both_is_refused_with_what_would_be_valid(document):
    assert "CycloneDX" in refused(msgspec.json.encode(document))


@pytest.mark.parametrize(
    "package",
    [
        {},
        {"name": ""},
        {"name": None},
        {"name": 1},
        {"name": "a\nb"},
        {"name": "a\n"},
        {"name": "a", "purl": "pkg:npm/a\n"},
        {"name": "a\x1b[31m"},
        {"name": "a\u202eb"},
        {"name": "a\x00"},
        {"name": "a", "version": 1},
        {"name": "a", "version": "1\r"},
        {"name": "a", "purl": "http://a.example"},
        {"name": "a", "purl": "pkg:npm/a b"},
        {"name": "a", "components": {}},
        "a",
    ],
    ids=repr,
)
def test_a_component_with_a_wrong_member_is_refused(package):
    assert "not valid" in refused(msgspec.json.encode(cyclonedx(package)))


@pytest.mark.parametrize(
    ("member", "most", "first"),
    [
        ("name", SBOM_NAME_MAX_CHARS, "n"),
        ("version", SBOM_VERSION_MAX_CHARS, "v"),
        ("purl", SBOM_PURL_MAX_CHARS, "pkg:a"),
    ],
)
def test_a_text_is_read_up_to_its_limit_and_refused_beyond(member, most, first):
    fits = first + "x" * (most - len(first))
    assert getattr(read(cyclonedx({"name": "a", member: fits}))[0], member) == fits
    refused(msgspec.json.encode(cyclonedx({"name": "a", member: fits + "x"})))


def test_group_and_name_share_one_limit():
    read(cyclonedx({"group": "g", "name": "n" * (SBOM_NAME_MAX_CHARS - 2)}))
    refused(msgspec.json.encode(cyclonedx({"group": "g", "name": "n" * (SBOM_NAME_MAX_CHARS - 1)})))


def test_so_many_packages_are_read_and_one_more_is_refused():
    packages = [{"name": f"p{number}"} for number in range(SBOM_PACKAGES_MAX_COUNT)]
    assert len(read(spdx(*packages))) == SBOM_PACKAGES_MAX_COUNT
    assert len(read(spdx(*packages, *packages))) == SBOM_PACKAGES_MAX_COUNT  # each counts once
    assert str(SBOM_PACKAGES_MAX_COUNT) in refused(msgspec.json.encode(spdx(*packages, {"name": "more"})))


def test_a_document_that_is_too_large_is_refused_before_it_is_read():
    data = msgspec.json.encode(spdx(comment="x" * SBOM_MAX_BYTES))
    assert str(SBOM_MAX_BYTES) in refused(data)


def test_components_are_nested_only_so_deep():
    component: dict[str, Any] = {"name": "leaf"}
    for _ in range(20):
        component = {"name": "n", "components": [component]}
    assert "deeper" in refused(msgspec.json.encode(cyclonedx(component)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff",
        b"\xef\xbb\xbf{}",
        b'{"spdxVersion": "SPDX-2.3", "spdxVersion": "SPDX-2.2", "packages": []}',
        b'{"spdxVersion": "SPDX-2.3", "n": NaN, "packages": []}',
        b'{"spdxVersion": "SPDX-2.3", "n": "\\ud800", "packages": []}',
    ],
)
def test_what_parsers_disagree_about_is_refused(data):
    assert "JSON" in refused(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_by_name(data):
    with pytest.raises(BundleInvalid):
        parse_sbom(data, PATH)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, st.sampled_from(["name", "group", "version", "purl", "components"]))
def test_any_value_of_any_member_is_read_or_refused_by_name(value, member):
    try:
        found = read(cyclonedx({"name": "a"} | {member: value}))
    except BundleInvalid:
        return
    for package in found:
        assert package.name.isprintable() or not set(package.name) & set(map(chr, range(32)))
        assert "\x00" not in package.name + package.version + package.purl
