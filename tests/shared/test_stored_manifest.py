"""Manifests of published versions: names of capabilities were judged then; a service that is gone hides no install."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shared.bundle_writer import write_bundle
from shared.errors import ManifestInvalid
from shared.manifest import parse_manifest, stored_manifest
from shared.provider_files import read_providers, shipped
from tests.shared.provider_sources import provider_files


def written(**more: Any) -> bytes:
    document = {
        "name": "com.acme.notes",
        "publisher": "acme",
        "version": "1.0.0",
        "runtime": "wasm-component@1",
        **more,
    }
    return json.dumps(document).encode()


DECLARED = written(capabilities=["cap:crm.read", "client.read"])


def test_a_service_of_the_operators_may_be_asked_for_where_it_is_known(tmp_path: Path) -> None:
    known = read_providers(str(provider_files(tmp_path))).capabilities
    assert parse_manifest(DECLARED, known=known).capabilities == ("cap:crm.read", "cap:client.read")
    with pytest.raises(ManifestInvalid) as refused:
        parse_manifest(DECLARED)
    assert refused.value.extra["violations"][0]["code"] == "capability_unknown"


@pytest.mark.parametrize("capability", sorted(shipped().capabilities))
def test_the_reference_services_may_always_be_asked_for(capability: str) -> None:
    assert parse_manifest(written(capabilities=[capability])).capabilities == (capability,)


def test_a_published_one_is_read_whatever_is_known_now() -> None:
    assert stored_manifest(DECLARED).wanted_capabilities()[:2] == ("cap:client.read", "cap:config.read")
    assert "cap:crm.read" in stored_manifest(DECLARED).capabilities


@pytest.mark.parametrize(
    "data", [b"{", written(name="x"), written(capabilities=["cap:crm.read", "crm.read"]), written(capabilities=["no"])]
)
def test_everything_else_about_it_is_judged_all_the_same(data: bytes) -> None:
    with pytest.raises(ManifestInvalid):
        stored_manifest(data)


def test_a_bundle_is_packed_where_its_services_are_known(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "ui").mkdir(parents=True)
    (tree / "ui" / "index.html").write_text("<!doctype html>")
    page = {"type": "iframe", "entry": "ui/index.html"}
    (tree / "manifest.json").write_bytes(written(capabilities=["cap:crm.read"], ui=page))
    with pytest.raises(ManifestInvalid):
        write_bundle(tree, tmp_path / "bundle.tar.zst")
    write_bundle(tree, tmp_path / "bundle.tar.zst", known=frozenset({"cap:crm.read"}))
