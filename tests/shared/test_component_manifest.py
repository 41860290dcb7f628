"""A component and its manifest: every import is declared, linked and granted memory, or refused with both ways out."""

from __future__ import annotations

import json

import pytest

from shared.component import ComponentFacts, check_against_manifest
from shared.errors import ComponentInvalid, ManifestInvalid
from shared.limits import MEMORY_DEFAULT_MB, MEMORY_MAX_MB, MIB
from shared.manifest import Manifest, parse_manifest


def manifest(**fields) -> Manifest:
    small = {"name": "com.acme.tickets", "publisher": "acme", "version": "1.0.0", "runtime": "wasm-component@1"}
    return parse_manifest(json.dumps(small | fields).encode())


def facts(*imports: str, memory_bytes: int = 65_536) -> ComponentFacts:
    return ComponentFacts(imports, ("handler",), memory_bytes, 1_000)


def test_what_is_granted_by_default_needs_no_declaration():
    wanted = ("context", "logging", "user", "user-v2", "metrics", "config", "types")
    found = facts(*(f"alga:extension/{name}" for name in wanted))
    assert check_against_manifest(found, manifest(), allow_unused_imports=False) == []


@pytest.mark.parametrize(
    ("name", "capability"),
    [
        ("http", "cap:http.fetch"),
        ("secrets", "cap:secrets.get"),
        ("storage", "cap:storage.kv"),
        ("ui-proxy", "cap:ui.proxy"),
        ("scheduler", "cap:scheduler.manage"),
        ("events", "cap:events.publish"),
        ("invoicing", "cap:invoice.manual.create"),
        ("clients", "cap:client.read"),
        ("services", "cap:service.read"),
    ],
)
def test_an_import_without_its_capability_is_refused_and_the_message_names_both_ways_out(name, capability):
    found = facts(f"alga:extension/{name}")
    assert check_against_manifest(found, manifest(capabilities=[capability]), allow_unused_imports=False) == []
    with pytest.raises(ManifestInvalid) as caught:
        check_against_manifest(found, manifest(), allow_unused_imports=False)
    (violation,) = caught.value.extra["violations"]
    assert (violation["path"], violation["code"]) == ("$.capabilities", "capability_undeclared")
    assert capability in violation["message"]
    assert f"`import {name};`" in violation["message"]


def test_every_undeclared_import_is_reported_at_once():
    with pytest.raises(ManifestInvalid) as caught:
        check_against_manifest(
            facts("alga:extension/http", "alga:extension/storage", memory_bytes=65 * MIB),
            manifest(),
            allow_unused_imports=False,
        )
    assert [found["code"] for found in caught.value.extra["violations"]] == [
        "capability_undeclared",
        "capability_undeclared",
        "memory_too_small",
    ]


def test_unused_imports_can_be_allowed_and_are_then_warnings():
    warnings = check_against_manifest(facts("alga:extension/http"), manifest(), allow_unused_imports=True)
    assert len(warnings) == 1
    assert "cap:http.fetch" in warnings[0]


def test_a_capability_that_nothing_uses_is_a_warning():
    declared = manifest(capabilities=["http.fetch", "storage.kv", "user.read"])
    warnings = check_against_manifest(facts("alga:extension/http"), declared, allow_unused_imports=False)
    assert warnings == ["cap:storage.kv is declared, but the component imports nothing that needs it"]


@pytest.mark.parametrize(
    "name",
    [
        "wasi:cli/stdout@0.2.0",
        "wasi:clocks/wall-clock@0.2.6",
        "wasi:filesystem/preopens@0.2.12",
        "wasi:http/outgoing-handler@0.2.9",
        "wasi:io/streams@0.2.9",
        "wasi:random/random@0.2.9",
        "wasi:sockets/tcp@0.2.9",
    ],
)
def test_wasi_of_the_linked_version_needs_no_declaration(name):
    assert check_against_manifest(facts(name), manifest(), allow_unused_imports=False) == []


@pytest.mark.parametrize(
    "name",
    [
        "wasi:nn/graph@0.2.0",
        "wasi:keyvalue/store@0.2.0",
        "wasi:cli/stdout@0.3.0",
        "wasi:cli/stdout@0.2.0-rc-2023-11-10",
        "wasi:cli/stdout",
        "wasi:cli",
        "acme:parcels/track",
        "alga:other/http",
        "alga:extension/http@1.0.0",
        "alga:extension/shell",
        "alga:extension",
        "handler",
        "",
    ],
)
def test_an_import_that_is_not_linked_is_refused_by_name(name):
    for allow in (False, True):
        with pytest.raises(ComponentInvalid) as caught:
            check_against_manifest(facts(name), manifest(), allow_unused_imports=allow)
        assert caught.value.detail.startswith(f"import {name}")


def test_an_operators_interface_is_accepted_where_it_is_known():
    found, known = facts("alga:extension/parcels"), {"parcels": "cap:parcel.track"}
    asking = parse_manifest(
        b'{"name":"a.b","publisher":"p","version":"1.0.0","runtime":"wasm-js@1","capabilities":["parcel.track"]}',
        known=frozenset(known.values()),
    )
    assert check_against_manifest(found, asking, allow_unused_imports=False, interfaces=known) == []


@pytest.mark.parametrize(("asked", "most"), [(None, MEMORY_DEFAULT_MB), (16, 16), (MEMORY_MAX_MB, MEMORY_MAX_MB)])
def test_initial_memory_fits_into_what_is_asked_for_and_no_more(asked, most):
    asking = manifest(limits={"memoryMb": asked}) if asked else manifest()
    assert check_against_manifest(facts(memory_bytes=most * MIB), asking, allow_unused_imports=False) == []
    error = ComponentInvalid if most == MEMORY_MAX_MB else ManifestInvalid
    with pytest.raises(error, match=str(most + 1)):
        check_against_manifest(facts(memory_bytes=most * MIB + 1), asking, allow_unused_imports=True)
